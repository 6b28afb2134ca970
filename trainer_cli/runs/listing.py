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
    table = Table("run", "status", "steps", "best", "age", title=f"{len(records)} runs below {root}")
    for record in records:
        table.add_row(*cells(record, root))
    console().print(table)


def cells(record: Record, root: Path) -> tuple[str, ...]:
    """A run's row of the table."""
    fields = record.fields
    best = fields.get("best") or {}
    score = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name != "step")
    steps = f"{fields.get('step', '-')}/{fields.get('total_steps', '-')}"
    return str(record.run_dir.relative_to(root)), record.status, steps, score or "-", age(fields["created"])


def age(created: str) -> str:
    """How long ago, in the largest whole unit."""
    seconds = (now() - datetime.datetime.fromisoformat(created)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
