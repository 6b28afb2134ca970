"""A tracker on a thread of its own: training neither waits for it nor meets what it raises."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_cli.tracker.base import Status, Tracker

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Rows that wait for a tracker; those that come while so many do are left out."""

MOST_FAILURES = 10
"""Failures in a row after which a tracker is given no more rows."""

GRACE = 5.0
"""Seconds that the end of a run waits at most after a signal: whoever sent it does not wait for long."""

PATIENCE = 2.0
"""Seconds of the wait for a tracker that are not spoken of."""

_stuck: set[str] = set()


def stuck() -> bool:
    """Whether a tracker of this process did not end: Python's own end could wait for its package for ever."""
    return bool(_stuck)


class Background(Tracker):
    """Hands all calls to a tracker's thread; says its first failure, and at the end what was not sent."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker = tracker
        self.timeout = tracker.timeout
        self.thread: threading.Thread | None = None
        self.calls: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()
        self.began: float | None = None  # when the call at hand did
        self.started = False
        self.is_off = False
        self.has_failed = False
        self.failures = 0
        self.taken = 0
        self.sent = 0

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        self.calls.put(("start", lambda: self.tracker.start(run_dir, step, rows)))
        if self.thread is None:
            thread = threading.Thread(target=self._work, name=f"tracker {self.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has none left
                self._failed("start", error)
            else:
                self.thread = thread

    def log(self, row: Mapping[str, Any]) -> None:
        self.taken += 1
        began = self.began
        if began is not None and time.monotonic() - began > self.timeout:
            self._fails(f"no answer for {self.timeout:g} s")
        if not self.is_off and self.calls.qsize() < MOST_WAITING:
            own = dict(row)
            self.calls.put(("log", lambda: self.tracker.log(own)))

    def close(self, status: Status = "finished") -> None:
        if self.thread is None:
            return
        self.calls.put(("close", lambda: self.tracker.close(status)))
        seconds = min(self.timeout, GRACE) if status == "preempted" else self.timeout
        with contextlib.suppress(KeyboardInterrupt):  # the run is over: a signal ends the wait alone
            self.thread.join(min(seconds, PATIENCE))
            if self.thread.is_alive() and seconds > PATIENCE:
                log.info("waiting for tracker %s, %g s at most", self.name, seconds)
                self.thread.join(seconds - PATIENCE)
        if self.thread.is_alive():
            _stuck.add(self.name)
            self._warn(f"tracker {self.name} did not end in time; metrics.jsonl has its rows")
        self.thread = None
        if self.sent < self.taken:
            left = self.taken - self.sent
            log.info("tracker %s lacks %d of %d rows that metrics.jsonl has", self.name, left, self.taken)

    def _work(self) -> None:
        """The thread: make the calls in their order, until the tracker is closed."""
        kind = ""
        while kind != "close":
            kind, call = self.calls.get()
            if not self.started if kind == "close" else self.is_off:
                continue
            self.began = time.monotonic()
            try:
                call()
            except BaseException as error:  # a package that calls sys.exit means no training by it
                self._failed(kind, error)
            else:
                self.failures = 0
                self.started = True
                self.sent += kind == "log"
            self.began = None

    def _failed(self, kind: str, error: BaseException) -> None:
        """Say it the first time; a tracker that cannot start, or keeps failing, is given no more rows."""
        self.failures += 1
        self.is_off = self.is_off or kind == "start" or self.failures == MOST_FAILURES
        log.debug("tracker %s failed in %s", self.name, kind, exc_info=error)
        self._fails(cause(error))

    def _fails(self, why: str) -> None:
        self._warn(f"tracker {self.name} fails, training goes on; metrics.jsonl has its rows: {why}")

    def _warn(self, text: str) -> None:
        """Say it, if nothing was said before."""
        if not self.has_failed:
            self.has_failed = True
            log.warning("%s", text)


def cause(error: BaseException) -> str:
    """An error in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
