"""What asks a run to save its work and end, and what that leads to where there is no step to end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, a scheduler's end, and its warning before that."""

ONE_SIGNAL = 1.0
"""Seconds within which signals are one: Ctrl-C comes to a rank from the terminal and from its launcher."""


class Stopped(KeyboardInterrupt):
    """A signal came where there is no step to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class EarlySignals:
    """Signals that come before there is a step to end raise Stopped, wherever the process is.

    Libraries catch what is raised while they are imported, and that too: `came` remembers it. While they are
    `held` they raise nothing.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self.when = 0.0
        self.is_held = False
        self.has_ended = False
        self.before: dict[int, Any] = {}

    def watch(self) -> None:
        """Answer the signals from here on."""
        self.before = {number: signal.getsignal(number) for number in SIGNALS}
        self.answer()

    def answer(self) -> None:
        """Answer them again, after others did."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if self.has_ended else self.stop)

    def end(self) -> None:
        """What they would stop has ended: they change nothing from here on, in this process."""
        self.has_ended = True
        self.answer()

    def unwatch(self) -> None:
        """Leave them to who answered them before."""
        if not self.has_ended:
            for number, handler in self.before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal inside raises Stopped at the end."""
        self.is_held = True
        yield
        self.is_held = False
        self.stop_if_came()

    def stop(self, number: int, _: FrameType | None) -> None:
        """The handler; a second signal leaves at once."""
        if self.came is None:
            self.came, self.when = number, time.monotonic()
            if not self.is_held:
                raise Stopped(number)
        elif time.monotonic() - self.when > ONE_SIGNAL:
            os._exit(128 + number)

    def stop_if_came(self) -> None:
        """Raise once more what may have been caught on its way."""
        if self.came is not None:
            raise Stopped(self.came)


@contextlib.contextmanager
def answered_by(handler: Callable[[int, FrameType | None], Any], *numbers: int) -> Iterator[None]:
    """Within it the signals are the handler's; all of SIGNALS without a number."""
    before = {number: signal.signal(number, handler) for number in numbers or SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def leaving_at_signals() -> Iterator[None]:
    """Have the other signals raise as Ctrl-C does, for work that leaves nothing behind however it ends."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with answered_by(leave, *(number for number in SIGNALS if number != signal.SIGINT)):
        yield
