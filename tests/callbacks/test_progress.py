"""What a run shows: live lines that fit any terminal, plain lines where there is none."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_run import built, run

from trainer_cli.callbacks import Progress
from trainer_cli.engine import Engine

SHOWN = "callbacks={progress: {_target_: trainer_cli.callbacks.Progress}}"


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True


def terminal(width: int = 100) -> Console:
    return Console(file=Terminal(), force_terminal=True, width=width, height=30, highlight=False)


def shows(engine: Engine, width: int = 100) -> tuple[Progress, Terminal]:
    """The engine's progress, on a terminal."""
    part: Any = engine.callbacks["progress"]
    part.console = terminal(width)
    return part, part.console.file


def test_a_run_on_a_terminal_leaves_its_last_state_and_a_line_an_evaluation(tmp_path: Path) -> None:
    from trainer_cli import runner

    with built(tmp_path, SHOWN, "args.stages=[train]") as engine:
        part, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert text.count("step 6 · eval/loss") == 1 and text.count("step 12 · eval/loss") == 1
    last = text[text.rindex("train") :]
    assert "12/12" in last and "eval" in last and "step 12" in last and "next" not in last
    assert "\x1b[?25l" not in text or text.count("\x1b[?25l") <= text.count("\x1b[?25h")
    assert part.screen is None and part.view is None
    assert not [thread for thread in threading.enumerate() if "Refresh" in type(thread).__name__]


def test_an_error_gives_the_terminal_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from trainer_cli import loop, runner

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    streams = sys.stdout, sys.stderr
    with built(tmp_path, SHOWN) as engine:
        part, _ = shows(engine)
        monkeypatch.setattr(loop, "accumulate", fail)
        with pytest.raises(RuntimeError, match="broken"):
            runner.run(engine)
    assert part.screen is None
    assert (sys.stdout, sys.stderr) == streams


def test_the_view_of_an_evaluation_alone_leaves_nothing_but_its_scores(tmp_path: Path) -> None:
    from trainer_cli import runner

    with built(tmp_path, SHOWN, "args.stages=[eval]") as engine:
        part, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert "now" in text and "step 0 · eval/loss" in text
    assert part.screen is None
    assert "train" not in text[text.index("run") :]


def test_a_process_without_a_terminal_has_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Colours can be asked for in a log file, a moving cursor cannot be wanted there.
    monkeypatch.setenv("FORCE_COLOR", "1")
    folder = tmp_path / "[red]:key:"
    run(folder, SHOWN)
    out = capsys.readouterr().out
    assert f"run\x1b[0m  {folder}\n" in out
    assert (
        len([line for line in out.splitlines() if line.startswith("step ") and "/12 · epoch" in line]) == 12
    )
    assert "\x1b[2K" not in out and "━" not in out


def test_so_has_a_dumb_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer_cli import runner

    monkeypatch.setenv("TERM", "dumb")
    with built(tmp_path, SHOWN) as engine:
        _, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert "step 12/12 · epoch 2.00 · loss" in text and "\x1b[1A" not in text
