"""Signals that come where there is no step to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from trainer_cli.signals import SIGNALS, EarlySignals, Stopped


@pytest.fixture
def early() -> Iterator[EarlySignals]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signals = EarlySignals()
    signals.watch()
    yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_comes_while_they_are_held_is_raised_at_the_end(early: EarlySignals, number: int) -> None:
    reached = False
    with pytest.raises(Stopped) as stopped, early.held():
        os.kill(os.getpid(), number)
        reached = True
    assert reached and stopped.value.number == number


@pytest.mark.parametrize("number", SIGNALS)
def test_they_change_nothing_after_the_end(early: EarlySignals, number: int) -> None:
    early.end()
    os.kill(os.getpid(), number)
    early.answer()
    early.unwatch()
    os.kill(os.getpid(), number)
    assert early.came is None
