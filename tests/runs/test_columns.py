"""Columns of text that fit the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from trainer_cli.runs.columns import Cell, Column, cut, fit


def drawn(columns: list[Column], width: int | None, color: bool = False) -> list[str]:
    out = Console(
        file=io.StringIO(), width=200, force_terminal=color, color_system="standard" if color else None
    )
    out.print(fit(columns, width), soft_wrap=True, end="")
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def columns() -> list[Column]:
    return [
        Column("run", [Cell("a/1", "red"), Cell("b")]),
        Column("steps", [Cell("5"), Cell("10/10")], keep=2, right=True),
        Column("text", [Cell("x" * 30), Cell("")], keep=1, fills=True),
        Column("never", [Cell(""), Cell("")]),
    ]


def test_everything_is_shown_where_there_is_room_and_nothing_hangs_over() -> None:
    lines = drawn(columns(), None)
    assert lines == ["run  steps  text", f"a/1      5  {'x' * 30}", "b    10/10"]
    assert drawn(columns(), 42) == lines


def test_the_filling_column_is_cut_first_then_left_out_then_the_next() -> None:
    assert drawn(columns(), 30)[1] == f"a/1      5  {'x' * 17}…"
    assert drawn(columns(), 20) == ["run  steps", "a/1      5", "b    10/10"]
    assert drawn(columns(), 5) == ["run", "a/1", "b"]


def test_styles_are_for_terminals() -> None:
    assert "\x1b[31ma/1" in drawn(columns(), None, color=True)[1]
    assert not any("\x1b" in line for line in drawn(columns(), None))


def test_wide_characters_keep_their_columns() -> None:
    wide = [Column("a", [Cell("日本"), Cell("x")]), Column("b", [Cell("1"), Cell("2")])]
    assert drawn(wide, None) == ["a     b", "日本  1", "x     2"]


def test_of_a_long_text_the_end_is_shown() -> None:
    assert cut("configs/model/large", 10) == "…del/large"
    assert cut("short", 10) == "short"
    assert cut("configs/model/large", None) == "configs/model/large"
