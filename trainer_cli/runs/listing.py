"""`trainer-cli runs`: the runs below a directory as a table or as JSON."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from rich.table import Table

from trainer_cli.config.errors import UserError
from trainer_cli.runs.console import console
from trainer_cli.runs.find import all_runs
from trainer_cli.runs.record import Record, now


def print_runs(directory: str, as_json: bool) -> None:
    """Newest last; raises UserError where there is no such directory."""
    root = Path(directory)
    if not root.is_dir():
        raise UserError(
            f"there is no directory {root}", right="trainer-cli runs DIR lists the runs below DIR"
        )
    records = all_runs(root)
    if as_json:
        rows = [{**record.fields, "status": record.status, "dir": str(record.run_dir)} for record in records]
        print(json.dumps(rows, indent=1))
        return
    table = Table(
        "run", "status", "steps", "best", "at the end", "age", title=f"{len(records)} runs below {root}"
    )
    for record in records:
        table.add_row(*cells(record, root))
    console().print(table)


def cells(record: Record, root: Path) -> tuple[str, ...]:
    """A run's row of the table."""
    fields = record.fields
    steps = f"{fields.get('step', '-')}/{fields.get('total_steps', '-')}"
    where = str(record.run_dir.relative_to(root))
    return where, record.status, steps, best_score(record), final_scores(record), age(fields["created"])


def best_score(record: Record) -> str:
    """The score that picks the best model, at its best."""
    best = record.fields.get("best") or {}
    return ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name != "step") or "-"


def final_scores(record: Record) -> str:
    """The other scores of the model that was kept."""
    results = record.fields.get("results") or {}
    best = record.fields.get("best") or {}
    return (
        ", ".join(
            f"{name.removeprefix('eval/')} {value:.4g}"
            for name, value in results.items()
            if name.startswith("eval/") and name not in best and value is not None
        )
        or "-"
    )


def age(created: str) -> str:
    """How long ago, in the largest whole unit."""
    seconds = (now() - datetime.datetime.fromisoformat(created)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
