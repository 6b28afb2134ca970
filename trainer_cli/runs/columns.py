"""Columns of text that fit the terminal: rich's own tables take half a second for a thousand rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment, Segments
from rich.style import Style

from trainer_cli.config.printable import in_a_line

GAP = "  "
LEAST = 16
"""Characters of the filling column below which it is left out."""

STATUS = {
    "finished": "green",
    "running": "cyan",
    "preempted": "yellow",
    "failed": "red",
    "diverged": "red",
    "pruned": "dim",
    "waiting": "dim",
    "unfinished": "yellow",
}
"""The colour of how a run, a job or a sweep stands."""


@dataclass(frozen=True)
class Cell:
    """A text, and rich's style of it."""

    text: str
    style: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", in_a_line(self.text))


@dataclass
class Column:
    """A heading and the cells below it.

    A column that `fills` is cut to what the others leave of the width; those of the lowest `keep` go first
    where there is too little.
    """

    heading: str
    cells: list[Cell]
    keep: int = 9
    fills: bool = False
    right: bool = False

    @property
    def width(self) -> int:
        """Characters of its longest text."""
        return max(cell_len(self.heading), *(cell_len(cell.text) for cell in self.cells), 1)


def cut(text: str, room: int | None) -> str:
    """A text that fits: of a path, or anything else that is long, the end says most."""
    return text if room is None or len(text) <= room else "…" + text[len(text) - room + 1 :]


def fit(columns: Sequence[Column], width: int | None) -> Segments:
    """The columns side by side, in lines no longer than `width`; without one all is shown whole."""
    shown = [column for column in columns if any(cell.text for cell in column.cells)]
    widths = [column.width for column in shown]
    while width is not None and shown:
        left = width - sum(widths) - len(GAP) * (len(shown) - 1)
        filling = next((index for index, column in enumerate(shown) if column.fills), None)
        if left >= 0:
            break
        if filling is not None and widths[filling] + left >= LEAST:
            widths[filling] += left
            break
        least = min(range(len(shown)), key=lambda index: shown[index].keep)
        if shown[least].keep == 9:
            break
        del shown[least], widths[least]
    return Segments(lines(shown, widths))


def lines(columns: Sequence[Column], widths: Sequence[int]) -> list[Segment]:
    """The heading and the rows; a text that is too long ends in an ellipsis."""
    styles = {cell.style: Style.parse(cell.style) for column in columns for cell in column.cells}
    styles |= {"bold": Style.parse("bold")}
    heading = [Cell(column.heading, "bold") for column in columns]
    found = []
    for row in [heading, *zip(*(column.cells for column in columns))]:
        texts: list[Segment] = []
        for cell, column, width in zip(row, columns, widths):
            text = cell.text if cell_len(cell.text) <= width else set_cell_size(cell.text, width - 1) + "…"
            blank = Segment(" " * (width - cell_len(text)))
            there = Segment(text, styles[cell.style])
            texts += [blank, there, Segment(GAP)] if column.right else [there, blank, Segment(GAP)]
        while texts and not texts[-1].text.strip():
            texts.pop()
        found += [*texts, Segment("\n")]
    return found
