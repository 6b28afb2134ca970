"""The curves of a run: each number of its rows by step, thinned to what a picture can show."""

from __future__ import annotations

import itertools
import math
import operator
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOT_FINITE = ("nan", "inf", "-inf")
"""How rows of JSON name the numbers that it lacks."""

PIECE = 4096
"""Rows that are looked at together."""

LARGEST = 1e308
"""About as much as a float can be."""

LEAST = 20
"""Points of a curve that are left at least, however many curves share a page."""


@dataclass
class Curve:
    """One number of a run by step, in the order of the steps.

    `rows` is how many rows had it. Of a thinned curve, `means` are the mean of each stretch and the step in
    its middle.
    """

    steps: array[int]
    values: array[float]
    rows: int
    means: list[tuple[int, float]] = field(default_factory=list)


def curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curve of each number, by its name, in the order in which the names come up."""
    found: dict[str, tuple[array[int], array[float]]] = {}
    for columns in in_columns(rows):
        for name, column in columns.items():
            steps, values = numbers(columns["step"], column)
            if name not in ("step", "epoch") and values:
                into = found.setdefault(name, (array("q"), array("d")))
                into[0].extend(steps)
                into[1].extend(values)
    return {name: curve(*points) for name, points in found.items()}


def in_columns(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Sequence[Any]]]:
    """The columns of a few thousand rows at a time, all of the same names; row by row takes far longer."""
    rows = iter(rows)
    while piece := list(itertools.islice(rows, PIECE)):
        for names, alike in itertools.groupby(piece, key=tuple):
            yield dict(zip(names, zip(*(row.values() for row in alike)), strict=True))


def numbers(steps: Sequence[int], column: Sequence[Any]) -> tuple[Sequence[int], Sequence[float]]:
    """Those of a column that are numbers, some of them by name, and the steps that they are of."""
    if set(map(type, column)) <= {int, float}:
        return steps, column
    named = [
        (step, float(value) if type(value) is str else value)
        for step, value in zip(steps, column)
        if type(value) in (int, float) or (type(value) is str and value in NOT_FINITE)
    ]
    return [step for step, _ in named], [value for _, value in named]


def curve(steps: Sequence[int], values: Sequence[float]) -> Curve:
    """The curve through the points: a run that went back to a checkpoint has some steps twice."""
    if any(map(operator.gt, steps, itertools.islice(steps, 1, None))):
        order = sorted(range(len(steps)), key=steps.__getitem__)
        steps, values = [steps[index] for index in order], [values[index] for index in order]
    return Curve(array("q", steps), as_floats(values), len(steps))


def as_floats(values: Sequence[float]) -> array[float]:
    """The values as floats; whole numbers too large for one are cut to about the largest."""
    try:
        return array("d", values)
    except OverflowError:
        finite = (max(-LARGEST, min(LARGEST, value)) if type(value) is int else value for value in values)
        return array("d", finite)


def thinned(curve: Curve, most: int) -> Curve:
    """The curve in at most so many points: of each stretch of rows the least and the greatest value.

    The first value that is not finite of a stretch stays too, and so do both ends: a spike of one row in
    100,000 is drawn at its full height. Averages of a picture's points would hide it; LTTB, which picks one
    point a stretch by the area that it spans, can pass over one of two spikes.
    """
    count = len(curve.steps)
    if count <= most:
        return curve
    stretches = max(1, (most - 2) // 3)
    kept = {0, count - 1}
    means = []
    for stretch in range(stretches):
        first, after = count * stretch // stretches, count * (stretch + 1) // stretches
        part = curve.values[first:after]
        finite = [value for value in part if math.isfinite(value)]
        if finite:
            kept |= {first + part.index(min(finite)), first + part.index(max(finite))}
            means.append((curve.steps[(first + after) // 2], sum(finite) / len(finite)))
        if len(finite) < len(part):
            kept.add(first + next(at for at, value in enumerate(part) if not math.isfinite(value)))
    order = sorted(kept)
    steps = array("q", (curve.steps[index] for index in order))
    return Curve(steps, array("d", (curve.values[index] for index in order)), curve.rows, means)


def share(lengths: Sequence[int], points: int) -> int:
    """Points that each curve may have, so that together they have at most so many, or LEAST each.

    Short curves leave what they do not need to the long ones.
    """
    left = points
    for place, length in enumerate(sorted(lengths)):
        most = left // (len(lengths) - place)
        if length > most:
            return max(most, LEAST)
        left -= length
    return max(lengths, default=LEAST)
