"""A curve in the terminal, in dots of Braille."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each of a character's dots, by row and column."""


def plot(
    title: str,
    x: Sequence[float],
    y: Sequence[float],
    width: int = 60,
    height: int = 10,
    limits: tuple[float, float] | None = None,
) -> str:
    """The line through the points, `width` characters by `height`, with both axes labelled.

    `x` rises; points that are not finite are left out. `limits` are the ends of the y axis, where these are
    not the least and the greatest of the points.
    """
    points = [point for point in zip(x, y, strict=True) if all(map(math.isfinite, point))]
    if not points:
        return f"{title}\nnothing to draw"
    low, high = limits or (min(value for _, value in points), max(value for _, value in points))
    left, right = points[0][0], points[-1][0]
    columns, rows = 2 * width - 1, 4 * height - 1
    places = [(scaled(a, left, right, columns), rows - scaled(b, low, high, rows)) for a, b in points]
    cells = [[BLANK] * width for _ in range(height)]
    for column, row in line(places):
        cells[row // 4][column // 2] |= DOTS[row % 4][column % 2]
    labels = {(rows - rows // 2) // 4: f"{(low + high) / 2:.3g}"}
    if high > low:
        labels |= {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    margin = max(map(len, labels.values()))
    lines = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}"
        + "".join(map(chr, cells[row])).rstrip(chr(BLANK))
        for row in range(height)
    ]
    middle = (left + right) // 2 if isinstance(left + right, int) else (left + right) / 2
    first, half, last = (f"{value:,.10g}" for value in (left, middle, right))
    ticks = first + half.center(width - len(first) - len(last)) + last if right > left else last.center(width)
    return "\n".join([title, *lines, f"{'':{margin}} └{'─' * width}", f"{'':{margin}}  {ticks}"])


def scaled(value: float, low: float, high: float, most: int) -> int:
    """Where a value lies among the dots from 0 to `most`; in the middle where there is one value alone."""
    return round((value - low) / (high - low) * most) if high > low else most // 2


def line(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """All dots on the way from each place to the next."""
    yield places[0]
    for (column, row), (next_column, next_row) in itertools.pairwise(places):
        across, down = next_column - column, next_row - row
        count = max(abs(across), abs(down), 1)
        for step in range(1, count + 1):
            yield column + round(across * step / count), row + round(down * step / count)
