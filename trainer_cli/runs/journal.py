"""optuna.journal: the trials of a search, which its jobs report to while they run."""

from __future__ import annotations

import contextlib
import fcntl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trainer_cli import durable
from trainer_cli.config.errors import missing_extra

FILE = "optuna.journal"
STUDY = "sweep"
NUMBER = "number"
"""The attribute of a trial that has the number of its suggestion: one that is tried again keeps it."""

PATIENCE = 10.0
"""Seconds to wait for another process to write its line."""

PRUNED = "pruned: the others of its sweep did better by then"
"""The reason to stop of a run that was pruned."""


class Lock:
    """The right to write the journal; the system takes it back from a process that is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Wait for the right to write, and take away what a killed process has left of a line."""
        file = self.path.open("rb+")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    file.close()
                    raise TimeoutError(f"another process has held {self.path} for {PATIENCE:.0f} s") from None
                time.sleep(0.005)
        self.file = file
        drop_torn_line(file)
        return True

    def release(self) -> None:
        """Let others write."""
        if self.file is not None:
            self.file.close()
            self.file = None


def drop_torn_line(file: BinaryIO) -> None:
    """Cut a file of lines behind its last whole one."""
    size = file.seek(0, 2)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """While it lasts, Optuna's warnings, of what is experimental in it, reach nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_journal(path: Path) -> Any:
    """Optuna's storage in the file, made where there is none.

    Raises UserError without Optuna, ValueError for a file that is no journal, OSError where it cannot be
    written.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise missing_extra("optuna", "sweep") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if planted := durable.what_is_not_ours(path):
        raise planted
    with silent():
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=Lock(path)))


def trials_of(storage: Any) -> dict[int, Any]:
    """Optuna's trials by the number of their suggestion, in that order; of several the last."""
    study = storage.get_study_id_from_name(STUDY)
    trials = storage.get_all_trials(study, deepcopy=False)
    numbered = {trial.user_attrs[NUMBER]: trial for trial in trials if NUMBER in trial.user_attrs}
    return dict(sorted(numbered.items()))
