"""`-m`: a run for each combination of values, all composed and checked before the first starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.table import Table

from trainer_cli import start
from trainer_cli.config.compose import compose, sweep
from trainer_cli.config.errors import UserError
from trainer_cli.prepare import begin
from trainer_cli.runs.console import console
from trainer_cli.runs.listing import best_score, final_scores
from trainer_cli.runs.record import Record


def run_sweep(
    overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str], traceback: bool
) -> int:
    """Run the jobs one after the other, each in its own process, and print their table; the exit code."""
    jobs = sweep(overrides, config_dirs=config_dirs)
    compositions = [compose(job, config_dirs=config_dirs) for job in jobs]
    for composition in compositions:
        if composition.config["resume"] is not None:
            raise UserError("resume does not go with -m", right="resume a run by its own directory or id")
    varied = [key for key in zip(*jobs, strict=True) if len(set(key)) > 1]
    labels = [" ".join(values) for values in zip(*varied, strict=True)] or [" ".join(overrides)]
    finished: list[tuple[str, Record | None, int]] = []
    for number, (label, composition) in enumerate(zip(labels, compositions, strict=True), start=1):
        print(f"job {number} of {len(jobs)}: {label}", file=sys.stderr)
        for warning in composition.warnings:
            print(warning, file=sys.stderr)
        prepared = begin(composition, argv)
        code = start.execute(prepared, traceback, apart=True)
        finished.append((label, Record.load(prepared.run_dir) if code != 2 else None, code))
        if code in (130, 143):
            break
    print_jobs(finished)
    return max(code for _, _, code in finished)


def print_jobs(finished: Sequence[tuple[str, Record | None, int]]) -> None:
    """A row for each job: its values, its status, its best score; a job that was refused has no run."""
    columns = ("job", "status", "best", "at the end", "run")
    table = Table(*columns, title=f"{len(finished)} jobs", title_justify="left")
    for label, record, _ in finished:
        if record is None:
            table.add_row(label, "refused", "-", "-", "-")
        else:
            run_dir = str(record.run_dir)
            table.add_row(label, record.status, best_score(record), final_scores(record), run_dir)
    console().print(table)
