"""One process of a run, before there is a step to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from trainer_cli.rank import EarlySignals, Stopped


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
