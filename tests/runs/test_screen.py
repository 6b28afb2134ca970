"""Lines at the end of a terminal, and what they are made of."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console
from rich.text import Text

from trainer_cli.runs.screen import Piece, Screen, bar, duration, fitted, short, sparkline, words


def test_pieces_go_by_their_rank_and_stay_in_their_order() -> None:
    pieces = [words("first", 2), words("second", 0), words("third", 1)]
    assert fitted("", pieces, 30).plain == "first · second · third"
    assert fitted("", pieces, 21).plain == "second · third"
    assert fitted("", pieces, 10).plain == "second"
    assert fitted("", pieces, 3).plain == ""


def test_a_piece_that_can_grow_takes_what_is_left() -> None:
    pieces = [Piece(lambda width: Text("x" * width), 2, 6, 1), words("end", 0, before=" ")]
    assert [fitted("", pieces, width).plain for width in (20, 8, 6, 5)] == [
        "xxxxxx end",
        "xxxx end",
        "xx end",
        "end",
    ]


def test_a_label_needs_a_wide_terminal() -> None:
    assert fitted("loss", [words("0.5", 0)], 40).plain == "    loss  0.5"
    assert fitted("loss", [words("0.5", 0)], 39).plain == "0.5"


@pytest.mark.parametrize(
    ("done", "total", "drawn"),
    [
        (0, 10, "────"),
        (5, 10, "━━──"),
        (6, 10, "━━──"),
        (7, 10, "━━╸─"),
        (10, 10, "━━━━"),
        (12, 10, "━━━━"),
        (0, 0, "────"),
    ],
)
def test_a_bar(done: int, total: int, drawn: str) -> None:
    assert bar(done, total, 4).plain == drawn


def test_a_sparkline() -> None:
    assert sparkline([0.0, 0.5, 1.0], 8).plain == "▁▅█"
    assert sparkline([9.0, 0.0, 1.0], 2).plain == "▁█"
    assert sparkline([1.0, 1.0], 8).plain == "▅▅"
    assert sparkline([1.0, math.nan, 2.0, math.inf], 8).plain == "▁✕█✕"
    assert sparkline([math.nan], 8).plain == "✕"
    assert sparkline([], 8).plain == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_number_in_four_digits() -> None:
    assert [short(value) for value in (0.123456, 21362.4, 3.14159e12, math.inf)] == [
        "0.1235",
        "21,362",
        "3.142e+12",
        "inf",
    ]


def made(lines: list[str], width: int = 40, height: int = 10) -> tuple[Screen, io.StringIO, Console]:
    file = io.StringIO()
    out = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    screen = Screen(out, lambda width, height: [Text(line) for line in lines])
    screen.auto_refresh = False
    return screen, file, out


def test_what_is_printed_goes_above_the_lines() -> None:
    screen, file, out = made(["one", "two"])
    screen.start(refresh=True)
    out.print("said")
    screen.stop()
    said = file.getvalue()
    assert said.index("one") < said.index("said") < said.rindex("one") < said.rindex("two")
    assert said.endswith("\n") or said.endswith("\x1b[?25h")


def test_there_are_never_more_lines_than_the_terminal_has() -> None:
    screen, file, _ = made([f"line {n}" for n in range(20)], height=5)
    screen.start(refresh=True)
    screen.stop()
    assert "line 3" in file.getvalue() and "line 4" not in file.getvalue()


def test_a_terminal_that_was_made_narrower_has_more_to_take_away() -> None:
    up = "\x1b[1A"
    screen, file, out = made(["x" * 40, "y" * 10])
    screen.start(refresh=True)
    file.truncate(0)
    screen.refresh()
    assert file.getvalue().count(up) == 1
    out.width = 15  # the first line is now three
    file.truncate(0)
    screen.refresh()
    assert file.getvalue().count(up) == 3
    file.truncate(0)
    screen.refresh()
    assert file.getvalue().count(up) == 1
    screen.stop()
