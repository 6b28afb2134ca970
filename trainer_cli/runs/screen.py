"""Lines at the end of a terminal that change while others scroll above them, and what they are made of."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

REFRESHES = 5
"""A second."""

LABEL, ROOM_FOR_LABELS = 8, 40
"""Columns of a line's label, and those that a terminal must have to show it."""

BLOCKS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "✕"


class Screen(Live):
    """The lines that `lines` gives for a width and a height, until it is stopped.

    With `transient` nothing is left of them then. They never wrap, and there are never more than the terminal
    has room for: the first ones count most. The cursor is not hidden, so that a kill leaves the terminal as
    it was.
    """

    def __init__(
        self, console: Console, lines: Callable[[int, int], Sequence[Text]], transient: bool = False
    ) -> None:
        self.lines = lines
        self.drawn: list[int] = []
        self.standing: list[int] = []  # columns of each line on the terminal
        super().__init__(
            console=console,
            get_renderable=self.draw,
            refresh_per_second=REFRESHES,
            transient=transient,
            # What goes to a file is no business of the terminal.
            redirect_stderr=sys.stderr.isatty(),
        )

    def draw(self) -> Text:
        """The lines as they are now."""
        width, height = self.console.size
        lines = list(self.lines(width, height - 1))[: max(1, height - 1)]
        self.drawn = [line.cell_len for line in lines]
        return Text("\n", no_wrap=True, overflow="crop").join(lines)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """With what is printed above them: the lines as they stood are taken away, then drawn again.

        A terminal that was made narrower has broken them in pieces, which rich knows nothing of.
        """
        width = self.console.width
        pieces = sum(max(0, math.ceil(columns / width) - 1) for columns in self.standing)
        self.standing = [min(columns, width) for columns in self.drawn]
        up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * pieces
        return [Control(*up), *super().process_renderables(renderables)]


@dataclass(frozen=True)
class Piece:
    """A part of a line, drawn as wide as there is room for, from `least` to `most` columns.

    Of a line that is too long the pieces of the highest rank go. `before` parts it from the piece before it.
    """

    draw: Callable[[int], Text]
    least: int
    most: int
    rank: int
    before: str = " · "


def words(text: str, rank: int, style: str = "", before: str = " · ") -> Piece:
    """A piece that is shown as it is or not at all."""
    width = cell_len(text)
    return Piece(lambda _: Text(text, style), width, width, rank, before)


def fitted(label: str, pieces: Sequence[Piece], width: int) -> Text:
    """A line of the pieces that `width` columns have room for, in their order, with none of them cut."""
    line = Text(no_wrap=True, overflow="crop", end="")
    if width >= ROOM_FOR_LABELS:
        line.append(f"{label:>{LABEL}}", "bold").append("  ")
    room, kept = width - line.cell_len, list(pieces)
    while kept and least(kept) > room:
        worst = max(piece.rank for piece in kept)
        del kept[max(at for at, piece in enumerate(kept) if piece.rank == worst)]
    spare = room - least(kept)
    for at, piece in enumerate(kept):
        more = min(piece.most - piece.least, spare)
        spare -= more
        if at:
            line.append(piece.before, "dim")
        line.append_text(piece.draw(piece.least + more))
    return line


def least(pieces: Sequence[Piece]) -> int:
    """Columns that they take at least."""
    return sum(piece.least + (len(piece.before) if at else 0) for at, piece in enumerate(pieces))


def bar(done: float, total: float, width: int, style: str = "cyan") -> Text:
    """How much of the whole is done; told apart without colours too."""
    halves = int(2 * width * min(max(done / total, 0.0), 1.0)) if total else 0
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble(
        (full, "green" if halves == 2 * width else style), ("─" * (width - len(full)), "dim")
    )


def sparkline(values: Sequence[float], width: int) -> Text:
    """The last `width` values as blocks, the lowest of them as the lowest block."""
    shown = values[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    line = Text()
    for value in shown:
        if math.isfinite(value):
            height = (value - low) / (high - low) if high > low else 0.5
            line.append(BLOCKS[round(height * (len(BLOCKS) - 1))], "cyan")
        else:
            line.append(NOT_FINITE, "bold red")
    return line


def short(value: float) -> str:
    """The number in four digits, from a thousand on without a point: 0.1235, 21,362, 3.142e+12."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """The time in whole seconds, or in its two largest units: 2 h 5 min."""
    whole = max(0, round(seconds))
    for (size, unit), (part, name) in itertools.pairwise(UNITS):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {name}"
    return f"{whole} s"
