"""`trainer-cli compare RUN RUN...`: what differs in configuration, code, environment and result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.runs.columns import GAP, STATUS, Cell, Column, cut, fit
from trainer_cli.runs.console import console
from trainer_cli.runs.listing import as_text, span
from trainer_cli.runs.named import runs_named
from trainer_cli.runs.select import Run, flat, is_number, tree
from trainer_cli.tracker.jsonl import plain

WHERE = ("args.output_dir", "args.log_level", "resume", "run", "sweep")
"""Keys of the configuration, with all below them, that say where a run goes and not what it is."""
SEEDS = {"args.seed", "args.data_seed"}
SPEED = ("seconds", "_per_second")
MOST = 8
"""Runs that stand side by side."""
NARROWEST = 14
"""Characters of a value that are shown at least."""

Values = dict[str, Any]


def print_comparison(words: Sequence[str], as_json: bool) -> None:
    """What differs between the runs, side by side, and what does not; raises UserError for fewer than two."""
    records = runs_named(words)
    if len(records) < 2:
        one = f", and {records[0].run_dir} is one" if records else ""
        raise UserError(
            f"compare takes two runs or more{one}",
            right="trainer-cli compare RUN RUN; trainer-cli runs lists them",
        )
    runs = [Run(record) for record in records]
    parts = [parts_of(run) for run in runs]
    found = {part: differing([of_run[part] for of_run in parts]) for part in parts[0]}
    equal = [part for part, values in found.items() if not values]
    if as_json:
        report = {
            "runs": [str(record.run_dir) for record in records],
            "equal": equal,
            "differing": {part: values for part, values in found.items() if values},
        }
        print(json.dumps(plain(report), indent=1, default=str, allow_nan=False))
        return
    if len(runs) > MOST:
        raise UserError(
            f"compare shows up to {MOST} runs side by side, not {len(runs)}",
            right="trainer-cli runs DIR lists many, a sweep's as its leaderboard; --json compares any number",
        )
    print_differences(runs, found)
    print_equal(found, equal)


def parts_of(run: Run) -> dict[str, Values]:
    """All that runs are compared by."""
    fields = run.record.fields
    scores = {name: value for name, value in (fields.get("best") or {}).items() if name != "step"}
    results = fields.get("results") or {}
    speed = {name: value for name, value in results.items() if name.endswith(SPEED)}
    return {
        "configuration": configuration(run),
        "code": code(run),
        "packages": dict(fields.get("packages") or {}),
        "machine": {**flat(fields.get("machine") or {}), "processes": fields.get("processes")},
        "data": {"fingerprint": fields.get("data_fingerprint")},
        "result": {
            "status": run.status,
            "steps": run.steps,
            **{f"best {name}": value for name, value in scores.items() if value != results.get(name)},
            **{name: value for name, value in results.items() if name not in speed},
        },
        "speed": {"took": run.seconds and round(run.seconds), **speed},
    }


def configuration(run: Run) -> Values:
    """The options that were chosen and all values, less those that say where the run goes."""
    try:
        config = tree(run.config_text)
    except ValueError as error:
        raise UserError(f"{run.record.run_dir}/config.yaml cannot be read: {error}") from error
    values = {**(run.record.fields.get("choices") or {}), **flat(config)}
    return {key: value for key, value in values.items() if not is_where(key)}


def is_where(key: str) -> bool:
    """Whether a key is one of WHERE, or below it."""
    return any(key == one or key.startswith(f"{one}.") for one in WHERE)


def code(run: Run) -> Values:
    """The commit, and what was not committed."""
    git = run.record.fields.get("git") or {}
    changes, name = git.get("changes"), git.get("diff") or "none"
    diff = run.record.run_dir / name
    if changes is not None and diff.is_file():
        lines = diff.read_bytes().count(b"\n")
        changes = f"{changes} ({name}, {lines} lines)"
    return {"commit": git.get("commit"), "uncommitted changes": changes}


def differing(of_runs: Sequence[Values]) -> dict[str, list[Any]]:
    """The keys whose values are not all equal, with each run's value; one that lacks it has None."""
    keys = dict.fromkeys(key for values in of_runs for key in values)
    found = {key: [values.get(key) for values in of_runs] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def print_differences(runs: Sequence[Run], found: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    """A section for each part that differs; numbers of two results with their difference."""
    out = console()
    names = short_names([run.record.run_dir for run in runs])
    width = out.width if out.is_terminal else None
    # Those of a key, so that the values have theirs.
    most = width and max(NARROWEST, width - len(names) * (NARROWEST + len(GAP)) - 2)
    rows: list[list[Cell]] = []
    for part, values in found.items():
        if values:
            rows.append([Cell(part, "bold"), *(Cell("") for _ in names), Cell("")])
        for key, of_runs in values.items():
            change = difference(of_runs) if part == "result" else ""
            cells = [Cell(text(key, value), STATUS.get(str(value), "")) for value in of_runs]
            rows.append([Cell(f"  {cut(key, most)}"), *cells, Cell(change)])
    keys = Column("", [row[0] for row in rows])
    room = None if width is None else max(NARROWEST, (width - keys.width - 12) // len(names) - 2)
    columns = [keys]
    for place, name in enumerate(names, start=1):
        cells = [Cell(cut(row[place].text, room), row[place].style) for row in rows]
        columns.append(Column(cut(name, room), cells))
    changes = [row[-1] for row in rows]
    columns.append(Column("difference", changes, keep=1, right=True))
    out.print(fit(columns, width), soft_wrap=True, end="")


def short_names(directories: Sequence[Path]) -> list[str]:
    """Where each run is, less what they share."""
    above = os.path.commonpath([path.resolve() for path in directories])
    return [str(path.resolve().relative_to(above)) for path in directories]


def text(key: str, value: Any) -> str:
    """A value as it is shown."""
    if key == "took":
        return span(value)
    if key == "memory" and is_number(value):
        return f"{value / 2**30:.1f} GiB"
    if key == "commit" and value:
        return str(value)[:12]
    return f"{value:.6g}" if isinstance(value, float) else as_text(value)


def difference(values: Sequence[Any]) -> str:
    """By how much the second of two numbers is greater."""
    numbers = [value for value in values if is_number(value)]
    return f"{numbers[1] - numbers[0]:+.4g}" if len(values) == len(numbers) == 2 else ""


def print_equal(found: Mapping[str, Mapping[str, Sequence[Any]]], equal: Sequence[str]) -> None:
    """What does not differ, in a line, and whether the runs differ by their seeds alone."""
    made_of = [part for part in found if part not in ("result", "speed")]
    out = console()
    keys = set(found["configuration"])
    if keys and keys <= SEEDS:
        out.print("configuration: equal but for the seed")
    if equal:
        out.print(f"equal: {', '.join(equal)}", soft_wrap=True)
    if all(part in equal for part in made_of) and "result" not in equal:
        out.print(
            "all that is recorded of what they are made of is equal, and the results differ", soft_wrap=True
        )
