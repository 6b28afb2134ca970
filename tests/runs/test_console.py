"""The console of a pipe, of a terminal, and of a reader who has gone."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from trainer_cli.runs.columns import Cell, Column, fit
from trainer_cli.runs.console import WIDTH_OF_A_PIPE, Patient, console

PRINTS = """
import sys
from trainer_cli.runs.console import console
out = console()
for _ in range(100):
    out.print("a line that nobody reads", "x" * 1000, soft_wrap=True)
print("and one that is not rich's")
sys.stdout.flush()
print("went on", out.quiet, file=sys.stderr)
"""


def test_a_reader_who_has_gone_does_not_end_the_program() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("a line that nobody reads")
        process.stdout.close()
        assert process.stderr.read() == "went on True\n"
    assert process.returncode == 0


def test_a_pipe_is_wide_and_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = console()
    assert (out.width, out.is_interactive) == (WIDTH_OF_A_PIPE, False)
    out.print("x" * 100, "[red]y[/red] [/z] :smile:", 1, style="bold red")
    assert capsys.readouterr().out == f"{'x' * 100} [red]y[/red] [/z] :smile: 1\n"


PLAIN = "from trainer_cli.runs.console import console; console().print('mean ± é ━', chr(0xdcff))"


def test_a_character_that_the_terminal_lacks_is_replaced() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert subprocess.check_output([sys.executable, "-c", PLAIN], env=environment) == b"mean ? ? ? \\xff\n"


WIDTH = "from trainer_cli.runs.console import console; out = console(); print(out.width, out.is_interactive)"


def test_a_terminal_has_its_own_width() -> None:
    here, there = os.openpty()
    environment = {**os.environ, "COLUMNS": "71", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", WIDTH], stdin=there, stdout=there, env=environment, check=True)
    os.close(there)
    assert os.read(here, 100).split() == [b"71", b"True"]
    os.close(here)


def test_the_cursor_is_never_hidden() -> None:
    out = console()
    out.file = file = io.StringIO()
    out._force_terminal = True
    out.show_cursor(False)
    assert file.getvalue() == ""
    out.show_cursor()
    assert file.getvalue() == "\x1b[?25h"


def test_no_text_moves_the_cursor_and_own_styles_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "a\x1b[2Jb\u202ec"
    table = Table(show_header=False, box=None)
    table.add_row(evil, Text(evil, style="red"))
    out = Patient(markup=False, emoji=False, highlight=False, force_terminal=True, color_system="standard")
    for renderable in (evil, Text(evil), table, fit([Column("run", [Cell(evil)])], None)):
        out.print(renderable)
    said = capsys.readouterr().out
    assert "\x1b[2J" not in said and "\u202e" not in said and said.count("a\\x1b[2Jbc") == 3
    assert "\x1b[31m" in said
