"""The lock of a run's or a sweep's directory: who writes in it, for as long as any process of theirs lives.

Two locks make it up, both freed by the kernel however a process ends. What starts a run holds the file
`.lock`, from before it reads the record to the run's end, and is named in it. Each process that carries the
run out holds the directory itself, shared: one that outlives a parent that was killed keeps the next start
away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import is_alive, start_of

FILE = ".lock"

PATIENCE = 5.0
"""Seconds in which the processes of a run whose own was killed have ended, which the kernel sees to."""

BETWEEN_TRIES = 0.02

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What a file system answers that has no locks."""

MOST = 4096
"""Bytes of a lock's text that are read."""

_held: set[int] = set()
"""Descriptors of this process."""


@dataclass(frozen=True)
class Holder:
    """The process that a lock's text names."""

    pid: int
    pid_start: str | None
    host: str

    @classmethod
    def this(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(pid, start_of(pid), platform.node())

    @property
    def is_gone(self) -> bool:
        """Whether it was one of this machine, and has ended."""
        if self.host != platform.node():
            return False
        return not is_alive(self.pid) or self.pid_start not in (None, start_of(self.pid))


class Lock:
    """What holds a directory until it is released, no longer referred to, or its process ends.

    `is_sure` says whether the file system has locks: without, other machines cannot be kept away.
    """

    def __init__(self, descriptor: int | None = None, *, is_sure: bool = True) -> None:
        self.descriptor = descriptor
        self.is_sure = is_sure
        if descriptor is not None:
            _held.add(descriptor)

    def release(self) -> None:
        """Let the directory go; no-op where nothing is held, as in a fork of the process that held it."""
        if self.descriptor in _held:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, 0)  # its text would name a process that no longer holds it
            _close(self.descriptor)
        self.descriptor = None

    def __del__(self) -> None:
        self.release()

    @contextlib.contextmanager
    def released_by_errors(self) -> Iterator[Self]:
        """An error inside lets the directory go."""
        try:
            yield self
        except BaseException:
            self.release()
            raise


Refusal = Callable[[Path, Holder | None], UserError]
"""The error for a directory that is held, by a process if it is known which."""


def take(directory: Path, refusal: Refusal) -> Lock:
    """Hold the directory of a run; raises what `refusal` gives where others do.

    Raises OSError where the lock cannot be made.
    """
    if _only_looking.get():
        return _unheld(directory, refusal)
    deadline = time.monotonic() + PATIENCE
    while True:
        with durable.append(directory / FILE) as file:
            descriptor = os.dup(file.fileno())  # which no program that is started inherits
        try:
            is_sure = _locked(descriptor, directory, refusal, deadline)
        except BaseException:
            os.close(descriptor)
            raise
        if not _is_at(descriptor, directory / FILE):  # the directory was deleted meanwhile, or put back
            os.close(descriptor)
            continue
        lock = Lock(descriptor, is_sure=is_sure)
        with contextlib.suppress(OSError):  # where the disk is full, the lock holds without its text
            os.ftruncate(descriptor, 0)
            os.write(descriptor, (json.dumps(vars(Holder.this())) + "\n").encode())
        return lock


_only_looking: ContextVar[bool] = ContextVar("only_looking", default=False)


@contextlib.contextmanager
def only_looking() -> Iterator[None]:
    """Within it nothing is held and no lock is written; what others hold is refused as ever."""
    token = _only_looking.set(True)
    try:
        yield
    finally:
        _only_looking.reset(token)


def _unheld(directory: Path, refusal: Refusal) -> Lock:
    """A lock of nothing, for a directory that nobody holds at this moment."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # no run was started since it was copied here
        return Lock()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise refusal(directory, _holder(descriptor)) from None
    except OSError:
        return Lock(is_sure=False)
    finally:
        os.close(descriptor)
    if _is_in_use(directory):
        raise refusal(directory, None)
    return Lock()


@contextlib.contextmanager
def joined(directory: Path) -> Iterator[None]:
    """Within it this process is one of those that carry out the run of this directory."""
    descriptor: int | None = None
    with contextlib.suppress(OSError):  # a directory that is gone is told of by what reads it
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _held.add(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for a start that looks for such processes: an instant
    try:
        yield
    finally:
        if descriptor in _held:
            _close(descriptor)


def still_running(run_dir: Path, holder: Holder | None) -> UserError:
    """The error for a run that is being carried out."""
    if holder is None:
        return UserError(
            f"{run_dir} is still running: its processes hold {run_dir / FILE}",
            right=f"let it finish, or end them: fuser {run_dir} {run_dir / FILE} lists those of this machine",
        )
    there = "" if holder.host == platform.node() else f" on {holder.host}"
    return UserError(
        f"{run_dir} is still running: process {holder.pid} on {holder.host}",
        right=f"let it finish, or end it: kill {holder.pid}{there} has it save its work first",
    )


def _locked(descriptor: int, directory: Path, refusal: Refusal, deadline: float) -> bool:
    """Lock it; False where the file system has no locks. Raises the refusal where another has it.

    One that is gone has left processes behind that are about to end: these are waited for.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_in_use(directory):
                return True
            holder = None
        except BlockingIOError:
            holder = _holder(descriptor)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            holder = _holder(descriptor)
            if holder is None or holder.is_gone or holder.host != platform.node():
                return False
        if holder is not None and not holder.is_gone:
            raise refusal(directory, holder)
        if time.monotonic() > deadline:
            raise refusal(directory, None)
        time.sleep(BETWEEN_TRIES)


def _is_in_use(directory: Path) -> bool:
    """Whether processes carry out the run of this directory."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it may be written in, and not be read; or it has gone
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> Holder | None:
    """Who holds the lock by its text; None where that says nothing that makes sense."""
    try:
        fields = durable.parse_json(os.pread(descriptor, MOST, 0))
        holder = Holder(fields["pid"], fields["pid_start"], fields["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(holder.pid, int) or not 0 < holder.pid < 2**31 or isinstance(holder.pid, bool):
        return None
    if not isinstance(holder.host, str) or not holder.host.isprintable():
        return None
    return holder if isinstance(holder.pid_start, str | None) else None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _close(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _let_go() -> None:
    """In a process that was forked, as those that read data are: they write nothing, and may live longer."""
    for descriptor in list(_held):
        _close(descriptor)


os.register_at_fork(after_in_child=_let_go)
