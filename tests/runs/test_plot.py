"""Curves in the terminal."""

from __future__ import annotations

import math

import pytest

from trainer_cli.runs.plot import BLANK, DOTS, plot


def dots(drawing: str) -> set[tuple[int, int]]:
    """The column and row of each dot, from the top left."""
    found = set()
    for row, line in enumerate(drawing.splitlines()[1:-2]):
        for column, character in enumerate(line.split("┤")[-1].split("│")[-1]):
            for down, bits in enumerate(DOTS):
                for across, bit in enumerate(bits):
                    if (ord(character) - BLANK) & bit:
                        found.add((2 * column + across, 4 * row + down))
    return found


def test_a_line_goes_from_corner_to_corner() -> None:
    drawing = plot("falls", [0, 1], [1.0, 0.0], width=4, height=2)
    assert dots(drawing) == {(at, at) for at in range(8)}
    title, *lines, axis, ticks = drawing.splitlines()
    assert title == "falls"
    assert [line[:3] for line in lines] == ["1 ┤", "0 ┤"]
    assert axis == "  └────"
    assert ticks == "   00 1"


def test_it_is_as_wide_and_high_as_asked() -> None:
    drawing = plot("t", range(100), [math.sin(x / 9) for x in range(100)], width=33, height=7).splitlines()
    assert len(drawing) == 10
    assert len(drawing[-2]) - drawing[-2].index("└") == 34
    assert all(len(line) <= len(drawing[-2]) for line in drawing[1:])


def test_both_axes_are_labelled() -> None:
    drawing = plot("t", range(1, 1_000_002), [3e-5 * x for x in range(1_000_001)])
    lines = drawing.splitlines()
    assert [lines[row].split()[0] for row in (1, 6, 10)] == ["30", "15", "0"]
    assert lines[-1].split() == ["1", "500,001", "1,000,001"]


@pytest.mark.parametrize("values", [[2.5, 2.5, 2.5], [2.5]])
def test_a_value_that_stays_is_a_line_in_the_middle(values: list[float]) -> None:
    drawing = plot("t", range(len(values)), values)
    rows = {row for _, row in dots(drawing)}
    assert rows == {20}
    assert drawing.splitlines()[6].startswith("2.5 ┤")
    assert drawing.count("2.5") == 1


def test_what_is_not_finite_is_left_out() -> None:
    values = [1.0, math.nan, math.inf, 0.0]
    assert plot("t", range(4), values) == plot("t", [0, 3], [1.0, 0.0])
    assert plot("t", [1], [math.nan]) == "t\nnothing to draw"
    assert plot("t", [], []) == "t\nnothing to draw"


def test_limits_are_the_ends_of_the_axis() -> None:
    drawing = plot("t", [0, 1], [1.0, 0.0], width=4, height=4, limits=(0.0, 2.0))
    assert [line.split()[0] for line in drawing.splitlines()[1:-2] if "┤" in line] == ["2", "1", "0"]
    assert {row for _, row in dots(drawing)} == set(range(7, 16))
