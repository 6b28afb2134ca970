"""One process of a run: before there is a step to end, and what it says of an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import built

from trainer_cli.config.errors import UserError
from trainer_cli.rank import in_a_line, print_results
from trainer_cli.signals import EarlySignals, Stopped


@pytest.fixture
def early() -> Iterator[EarlySignals]:
    signals = EarlySignals()
    signals.watch()
    yield signals
    signals.unwatch()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_raised_where_the_process_is(early: EarlySignals, number: int) -> None:
    early.stop_if_came()
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), number)
    assert stopped.value.number == number


def test_a_signal_that_a_library_caught_is_raised_once_more(early: EarlySignals) -> None:
    try:  # noqa: SIM105
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as modules do around what they import
        pass
    with pytest.raises(Stopped):
        early.stop_if_came()


def test_a_signal_that_comes_twice_at_once_is_one(early: EarlySignals) -> None:
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # from the terminal, and from the launcher


def test_who_answered_before_answers_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals = EarlySignals()
    signals.watch()
    assert signal.getsignal(signal.SIGTERM) != before
    signals.unwatch()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such file\nof all"), "no such file"),
        (
            RuntimeError("CUDA error: device-side assert\nCompile with TORCH_USE_CUDA_DSA"),
            "RuntimeError: CUDA error: device-side assert",
        ),
        (KeyError("labels"), "KeyError: 'labels'"),
        (AssertionError(), "AssertionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_in_a_line_is_its_first_with_its_kind(error: Exception, line: str) -> None:
    assert in_a_line(error) == line


def test_the_numbers_at_the_end_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with built(tmp_path) as engine:
        print_results(engine, {"train/seconds": 12345.6, "eval/loss": 0.12345})
    out = capsys.readouterr().out
    assert "│ 12,346 │" in out and "│ 0.1235 │" in out and f"model: {tmp_path / 'model'}" in out
