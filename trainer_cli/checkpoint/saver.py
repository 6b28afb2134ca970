"""When a checkpoint is written: by a thread while training goes on, or at once; imports no torch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.errors import DiskFull

log = logging.getLogger(__name__)

SHARE = 0.1
"""Of the time, that a thread works which shares its processor with training."""


class Saver:
    """Has one checkpoint after the other written.

    Args:
        in_background: A thread writes, and training goes on meanwhile.
        on_full: Where the disk has no room: `stop` raises DiskFull, `continue` says so and leaves it out.
        spare: Whether there is a processor that training leaves to the thread.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        in_background: bool,
        on_full: Literal["stop", "continue"],
        spare: bool = True,
    ) -> None:
        self.checkpoints = checkpoints
        self.in_background = in_background
        self.on_full = on_full
        self.spare = spare
        self._awaited = threading.Event()
        self._thread: threading.Thread | None = None
        self._committed: Path | None = None
        self._error: BaseException | None = None
        self._step = 0
        self.lost: int | None = None
        """The step whose checkpoint found no room, where that ends no run; its reader clears it."""

    @property
    def writing(self) -> bool:
        """Whether a checkpoint is being written at the moment."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, step: int, size: int, write: Callable[[Path], None], protected: int | None) -> None:
        """Have `write`, which fills a directory with about `size` bytes, make this step's checkpoint.

        Older ones than the limit allows go after it is committed, but not the `protected` step's. Call
        `collect` with `wait` before.
        """

        def work() -> None:
            pause = unhurried(self._awaited) if self.in_background and not self.spare else no_pause
            try:
                path = self.checkpoints.save(step, size, write, pause)
                self.checkpoints.rotate(step, protected)
                self._committed = path
            except BaseException as error:
                self._error = error

        self._awaited.clear()
        self._step = step
        if self.in_background:
            self._thread = threading.Thread(target=work, name=f"checkpoint-{step}")
            self._thread.start()
        else:
            work()

    def collect(self, wait: bool = False) -> Path | None:
        """The checkpoint that was committed since the last call, if any; raises what went wrong with it."""
        if self._thread is not None:
            if not wait and self.writing:
                return None
            self._join(self._thread)
        committed, error = self._committed, self._error
        self._committed = self._error = None
        if isinstance(error, DiskFull) and self.on_full == "continue":
            log.warning("%s; training goes on without it", error)
            self.lost = self._step
        elif error is not None:
            raise error
        return committed

    def close(self) -> None:
        """Wait for what is being written where an error ends the run, which is what then counts."""
        if self._thread is not None:
            self._join(self._thread)
        if self._error is not None:
            log.warning("the last checkpoint was not written: %s", self._error)

    def _join(self, thread: threading.Thread) -> None:
        self._awaited.set()
        thread.join()
        self._thread = None


def no_pause() -> None:
    """Go on at once."""


def unhurried(awaited: threading.Event) -> Callable[[], None]:
    """A pause after a piece of this thread's work: so long that it takes its SHARE of a processor.

    Where the work is awaited there is none. To lower the thread's priority would be no way: training would
    wait for it whenever it has Python's lock.
    """
    since = time.thread_time()

    def pause() -> None:
        nonlocal since
        awaited.wait((time.thread_time() - since) * (1 / SHARE - 1))
        since = time.thread_time()

    return pause
