"""`trainer-cli runs RUN --plot`: a run's curves in the terminal, side by side where there is room."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.text import Text

from trainer_cli.config.errors import UserError
from trainer_cli.runs.console import console
from trainer_cli.runs.curves import Curve, curve, curves, thinned
from trainer_cli.runs.plot import plot
from trainer_cli.runs.record import Record
from trainer_cli.tracker.jsonl import FILE as METRICS
from trainer_cli.tracker.jsonl import stream

FIRST = ("train/loss", "eval/loss")
LAST = ("train/lr", "train/grad_norm")
NARROW = 80
"""Characters of a line where that is no terminal: what reads a pipe may end on one that is not wide."""
NARROWEST, WIDEST = 40, 76
MARGIN = 12
"""Characters that the labels of the y axis may take."""
MOST_RUNS = 6
GAP = "   "


def print_curves(records: Sequence[Record], root: Path) -> None:
    """All curves of a run; of several their losses, on one scale.

    Raises UserError where there is nothing to draw, or too much.
    """
    if len(records) > MOST_RUNS:
        raise UserError(
            f"--plot draws up to {MOST_RUNS} runs, and {len(records)} are meant",
            right="trainer-cli runs RUN --plot draws one, KEY=VALUE chooses among them;\n"
            f"trainer-cli report {root} has the curves of all of them",
        )
    found = [(record, curves(stream(record.run_dir / METRICS))) for record in records]
    drawn = [(record, of_run) for record, of_run in found if of_run]
    if not drawn:
        what = f"{records[0].run_dir} has" if len(records) == 1 else f"the runs below {root} have"
        raise UserError(f"{what} no rows in {METRICS} yet" if records else f"there are no runs below {root}")
    out = console()
    width, columns = layout(out.width if out.is_terminal else NARROW)
    if len(records) == 1:
        record, of_run = drawn[0]
        out.print(f"{record.run_dir}  {record.status}", style="bold", soft_wrap=True)
        names = in_order(of_run)
        single = [name for name in names if len(of_run[name].steps) == 1]
        blocks = [block(name, of_run[name], width) for name in names if name not in single]
        for name in single:
            out.print(f"{name} {of_run[name].values[0]:.4g} at step {of_run[name].steps[0]}")
    else:
        names = [name for name in FIRST if any(name in of_run for _, of_run in drawn)]
        scales = {name: scale([of_run[name] for _, of_run in drawn if name in of_run]) for name in names}
        columns = min(columns, len(names))
        blocks = []
        for record, of_run in drawn:
            for name in names:
                title = f"{called(record, root)} {name}"
                blocks.append(block(title, of_run.get(name) or curve([], []), width, scales[name]))
    for start in range(0, len(blocks), columns):
        out.print(beside(blocks[start : start + columns]), soft_wrap=True)


def layout(total: int) -> tuple[int, int]:
    """Characters of a plot without its margin, and how many stand side by side."""
    columns = max(1, min(3, (total + len(GAP)) // (NARROWEST + MARGIN + len(GAP))))
    return max(10, min(WIDEST, (total - len(GAP) * (columns - 1)) // columns - MARGIN)), columns


def in_order(names: Iterable[str]) -> list[str]:
    """Losses, scores, learning rate and gradients, then the rest; of the learning rates one."""
    shown = [name for name in names if not name.startswith("train/lr/")]
    scores = [name for name in shown if name not in FIRST and not name.startswith("train/")]
    rest = [name for name in shown if name not in (*FIRST, *scores, *LAST)]
    return [name for name in (*FIRST, *scores, *LAST, *rest) if name in shown]


def block(title: str, points: Curve, width: int, limits: tuple[float, float] | None = None) -> list[str]:
    """A plot as lines, under its title with the last value."""
    if points.steps:
        title += f"  {points.values[-1]:.4g}"
    lost = sum(not math.isfinite(value) for value in points.values)
    if lost:
        title += f"  ({lost} not finite)"
    if len(title) > width + MARGIN:
        title = "…" + title[len(title) - width - MARGIN + 1 :]
    thin = thinned(points, 6 * width)
    return plot(title, thin.steps, thin.values, width, limits=limits).splitlines()


def scale(of_runs: Sequence[Curve]) -> tuple[float, float] | None:
    """The least and the greatest value of several curves."""
    values = [value for points in of_runs for value in points.values if math.isfinite(value)]
    return (min(values), max(values)) if values else None


def called(record: Record, root: Path) -> str:
    """What tells a run from the others: a job's values, or where it is."""
    values = (record.fields.get("sweep") or {}).get("values") or {}
    where = record.run_dir.relative_to(root) if record.run_dir.is_relative_to(root) else record.run_dir
    return " ".join(f"{key}={value}" for key, value in values.items()) or str(where)


def beside(blocks: Sequence[Sequence[str]]) -> Text:
    """Blocks of lines side by side, their titles bold."""
    text = Text()
    widths = [max(map(len, lines)) for lines in blocks]
    for number, row in enumerate(itertools.zip_longest(*blocks, fillvalue="")):
        cells = [f"{line:<{width}}" for line, width in zip(row, widths)]
        text.append(GAP.join(cells).rstrip() + "\n", "bold" if number == 0 else "")
    return text
