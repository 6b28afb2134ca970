"""`trainer-cli runs`: the runs below a directory as a table or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer_cli.config.errors import UserError
from trainer_cli.config.printable import say
from trainer_cli.runs import sweeps
from trainer_cli.runs.columns import STATUS, Cell, Column, cut, fit
from trainer_cli.runs.console import console
from trainer_cli.runs.find import all_runs, is_job
from trainer_cli.runs.named import OUTPUTS, runs_of
from trainer_cli.runs.record import FILE, Record
from trainer_cli.runs.screen import UNITS, duration
from trainer_cli.runs.select import Filter, Run, select
from trainer_cli.runs.sweeps import SweepRecord
from trainer_cli.tracker.jsonl import plain

PLAIN = ("run", "status", "steps", "step", "best", "took", "age", "id", "name", "created")
"""Keys that the table shows anyway."""


def print_runs(words: Sequence[str], sort: str | None, as_json: bool, plot: bool) -> None:
    """The runs that pass the filters, or those of a sweep as its leaderboard, or one run.

    Raises UserError for a directory that is not there, a filter that none can pass, or too many curves.
    """
    if as_json and plot:
        raise UserError("runs prints JSON or draws curves, not both", right="--json or --plot")
    root, filters = where_and_which(words)
    narrowed = bool(filters) or sort is not None
    if not narrowed and not plot and (root / sweeps.FILE).is_file():
        from trainer_cli.runs.leaderboard import print_leaderboard

        print_leaderboard(root, as_json)
        return
    unread: list[str] = []
    records = all_runs(root, unread)
    for line in unread:
        say(f"left out: {line}")
    every = [Run(record) for record in records]
    runs = select(every, filters, sort)
    if plot:
        from trainer_cli.runs.drawing import print_curves

        print_curves([run.record for run in runs], root)
    elif as_json:
        print(json.dumps([as_object(run.record) for run in runs], indent=1, allow_nan=False))
    elif (root / FILE).is_file() and not narrowed:
        from trainer_cli.runs.show import print_run

        print_run(str(root), as_json)
    elif not runs:
        say(why_none(every, filters, root), sys.stdout)
    else:
        asked = " ".join(map(str, filters))
        count = plural(len(every))
        title = f"{len(runs)} of {count} below {root}: {asked}" if filters else f"{count} below {root}"
        keys = [one.key for one in filters] + ([sort.removeprefix("-")] if sort else [])
        print_table(runs, root, title, list(dict.fromkeys(keys)), fold=not narrowed)


def where_and_which(words: Sequence[str]) -> tuple[Path, list[Filter]]:
    """The directory and the filters that the words are; an id stands for its run's directory."""
    filters = {word: Filter.parse(word) for word in words if not os.path.exists(word)}
    places = [word for word in words if filters.get(word) is None]
    if len(places) > 1:
        raise UserError(
            f"runs takes one directory, not {len(places)}: {' '.join(places)}",
            right="trainer-cli compare RUN RUN and trainer-cli report RUN RUN take several runs",
        )
    if not places and not OUTPUTS.is_dir():
        raise UserError(
            f"there are no runs yet: no directory {OUTPUTS} here",
            right="trainer-cli +recipe=glue starts one; trainer-cli runs DIR lists those below DIR",
        )
    root = Path(places[0]).expanduser() if places else OUTPUTS
    if not os.path.isdir(root):
        (run,) = runs_of(places[0])[:1]
        root = run.run_dir
    return root, [found for found in filters.values() if found is not None]


def as_object(record: Record) -> dict[str, Any]:
    """A run as JSON: its record, how it stands now, and where it is."""
    return {**plain(record.fields), "status": record.status, "dir": str(record.run_dir)}


def plural(count: int) -> str:
    """So many runs."""
    return f"{count} run" if count == 1 else f"{count} runs"


def why_none(runs: Sequence[Run], filters: Sequence[Filter], root: Path) -> str:
    """What to say where no run passes the filters, with the values that there are."""
    if not runs:
        return f"there are no runs below {root}; trainer-cli runs DIR looks below DIR"
    lines = [f"none of the {plural(len(runs))} below {root} has {' '.join(map(str, filters))}"]
    for one in filters:
        values = sorted({brief(run.get(one.key)) for run in runs})
        if len(values) <= FEW:
            lines.append(f"  {one.key} is {' or '.join(values)}")
    return "\n".join(lines)


FEW = 8
"""Values of a key that are listed."""


class Row(NamedTuple):
    """A line of the table."""

    where: Cell
    status: Cell
    steps: Cell
    best: Cell
    end: Cell
    took: Cell
    age: Cell


def print_table(runs: Sequence[Run], root: Path, title: str, keys: Sequence[str], fold: bool) -> None:
    """A line for each run, or for each sweep where these are folded; further columns for further keys."""
    out = console()
    jobs = jobs_of_sweeps(runs, root) if fold else {}
    rows = folded(runs, jobs, root)
    more = [key for key in keys if key not in PLAIN]
    width = out.width if out.is_terminal else None
    half = width and width // 2
    table = [
        Column("run", [Cell(cut(row.where.text, half)) for row in rows]),
        Column("status", [row.status for row in rows]),
        *(Column(key, [Cell(brief(run.get(key))) for run in runs]) for key in more),
        Column("steps", [row.steps for row in rows], right=True),
        Column("best", [row.best for row in rows], keep=4),
        Column("at the end", [row.end for row in rows], keep=1, fills=True),
        Column("took", [row.took for row in rows], keep=2, right=True),
        Column("age", [row.age for row in rows], keep=3, right=True),
    ]
    out.print(title, soft_wrap=True)
    out.print(fit(table, width), soft_wrap=True, end="")
    if jobs:
        say(f"\ntrainer-cli runs {max(jobs)} has its leaderboard", sys.stdout)


def jobs_of_sweeps(runs: Sequence[Run], root: Path) -> dict[Path, list[Run]]:
    """The jobs of each sweep, by its directory."""
    jobs: dict[Path, list[Run]] = {}
    for run in runs:
        if is_job(run.record) and run.record.run_dir != root:
            jobs.setdefault(run.record.run_dir.parent, []).append(run)
    return jobs


def folded(runs: Sequence[Run], jobs: Mapping[Path, Sequence[Run]], root: Path) -> list[Row]:
    """A row for each run, and one for all jobs of a sweep, in the place of the newest."""
    rows = []
    for run in runs:
        sweep = jobs.get(run.record.run_dir.parent, ()) if is_job(run.record) else ()
        if not sweep:
            rows.append(run_row(run, root))
        elif run is sweep[-1]:
            rows.append(sweep_row(run.record.run_dir.parent, sweep, root))
    return rows


def run_row(run: Run, root: Path) -> Row:
    """A run: of one that failed, the cause stands in the place of scores."""
    error = (run.record.error or "").partition("\n")[0]
    failed = run.status in ("failed", "diverged") and error
    return Row(
        Cell(str(run.record.run_dir.relative_to(root)) if run.record.run_dir != root else root.name),
        Cell(run.status, STATUS.get(run.status, "")),
        Cell(progress(run)),
        Cell(best_score(run.record)),
        Cell(error, "red") if failed else Cell(final_scores(run.record)),
        Cell(span(run.seconds)),
        Cell(ago(run.age)),
    )


def sweep_row(sweep_dir: Path, jobs: Sequence[Run], root: Path) -> Row:
    """A sweep: how many jobs are done, the best score and its values, and how the other jobs stand."""
    statuses = Counter(run.status for run in jobs)
    statuses["waiting"] = waiting(sweep_dir)
    count = statuses.total()
    done = statuses["finished"] + statuses["pruned"]
    status = "running" if statuses["running"] else "finished" if done == count else "unfinished"
    others = [f"{number} {one}" for one, number in statuses.most_common() if number and one != "finished"]
    scored = [(sweeps.score_of(run.record.fields), run) for run in jobs]
    there = [(score, run) for score, run in scored if score is not None]
    score, values = "-", ""
    if there:
        metric = there[-1][1].record.fields["metric"]
        number, best = (max if metric["greater_is_better"] else min)(there, key=lambda pair: pair[0])
        score = f"{metric['name'].removeprefix('eval/')} {number:.4g}"
        swept = best.record.fields["sweep"].get("values") or {}
        values = " ".join(f"{key}={as_text(value)}" for key, value in swept.items())
    return Row(
        Cell(str(sweep_dir.relative_to(root)) if sweep_dir != root else root.name),
        Cell(status, STATUS[status]),
        Cell(f"{done}/{count} jobs"),
        Cell(score),
        Cell("; ".join(filter(None, [values, ", ".join(others)]))),
        Cell(""),
        Cell(ago(jobs[-1].age)),
    )


def waiting(sweep_dir: Path) -> int:
    """How many of the jobs that a sweep was last asked for have not been started."""
    try:
        asked = SweepRecord.load(sweep_dir).asked
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return sum(not (sweep_dir / entry.directory / FILE).exists() for entry in asked)


def progress(run: Run) -> str:
    """Updates so far, of all."""
    total = run.record.fields.get("total_steps")
    steps = "-" if run.steps is None else str(run.steps)
    return steps if total is None else f"{steps}/{total}"


def best_score(record: Record) -> str:
    """The score that picks the best model, at its best."""
    best = Run(record).best
    return f"{best[0].removeprefix('eval/')} {best[1]:.4g}" if best else "-"


def final_scores(record: Record) -> str:
    """The other scores of the model that was kept."""
    results = record.fields.get("results") or {}
    best = record.fields.get("best") or {}
    return (
        ", ".join(
            f"{name.removeprefix('eval/')} {'nan' if value is None else format(value, '.4g')}"
            for name, value in results.items()
            if name.startswith("eval/") and name not in best
        )
        or "-"
    )


def as_text(value: Any) -> str:
    """A value as the command line has it."""
    return value if isinstance(value, str) else "-" if value is None else json.dumps(value)


def brief(value: Any) -> str:
    """A value as a table has it."""
    return f"{value:.5g}" if isinstance(value, float) else as_text(value)


def ago(seconds: float | None) -> str:
    """How long ago, in the largest whole unit."""
    if seconds is None:
        return "-"
    for size, unit in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def span(seconds: float | None) -> str:
    """How long, in the two largest units."""
    return "-" if seconds is None else duration(seconds)
