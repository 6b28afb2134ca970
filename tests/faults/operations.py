"""`python operations.py WORDS`: trainer-cli, with every file operation below FAULTS_ROOT noted in FAULTS_LOG.

At operation number FAULTS_AT the process kills itself and its group, as FAULTS_HOW says:

before  nothing of the operation is done
torn    of the file that it opened to write, half of what was written is on the disk
power   of every file, only what was synced is there for certain, and of the rest a part

or, with `signal NUMBER`, it sends itself this signal and goes on.
"""

from __future__ import annotations

import os
import random
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

CHANGES = {"os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2}
"""Events of Python that change a directory, and how many of their arguments are paths."""


class Watch:
    """Counts the operations, and ends the process at the one that was asked for."""

    def __init__(self, root: Path, log: int, at: int | None, how: str) -> None:
        self.root, self.log, self.at, self.how = f"{root}/", log, at, how
        self.pid = os.getpid()
        self.count = 0
        self.written = ""  # the file that the last operation opened
        self.certain: dict[str, int] = {}  # of each file that was written, the bytes that are synced
        self.lock = threading.RLock()
        self.ending = False

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of Python."""
        if name == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR):
                anew = bool(arguments[2] & os.O_TRUNC)
                self.operation(name, os.fsdecode(arguments[0]), writes=True, anew=anew)
        elif name in CHANGES:
            paths = [os.fsdecode(path) for path in arguments[: CHANGES[name]]]
            if isinstance(arguments[-1], int) and arguments[-1] >= 0:
                paths = [os.path.join(os.readlink(f"/proc/self/fd/{arguments[-1]}"), path) for path in paths]
            self.operation(name, *paths)

    def operation(self, name: str, *paths: str, writes: bool = False, anew: bool = False) -> None:
        """What is about to be done to these paths; a file is written further, or `anew` from its start."""
        if self.ending or os.getpid() != self.pid:
            return
        paths = tuple(os.path.abspath(path) for path in paths)
        if not any(path.startswith(self.root) for path in paths):
            return
        with self.lock:
            if self.at is not None and self.count == self.at + 1 and self.how == "torn" and self.written:
                self.ending = True
                cut(self.written, self.certain.get(self.written, 0), 0.5)
                kill()
            os.write(
                self.log, f"{name} {' '.join(path.removeprefix(self.root) for path in paths)}\n".encode()
            )
            if self.count == self.at and self.how.startswith("signal"):
                os.kill(self.pid, int(self.how.split()[1]))
            elif self.count == self.at and not (self.how == "torn" and writes):
                self.ending = True
                if self.how == "power":
                    self.lose()
                kill()
            self.count += 1
            self.written = paths[0] if writes else ""
            self.keep_account(name, paths, writes, anew)

    def keep_account(self, name: str, paths: tuple[str, ...], writes: bool, anew: bool) -> None:
        """Remember how much of which file is certain."""
        if anew:
            self.certain[paths[0]] = 0
        elif writes:
            self.certain.setdefault(paths[0], size(paths[0]))
        elif name == "os.rename":
            old, new = paths
            self.certain.pop(new, None)
            moved = {
                path: path.replace(old, new, 1) for path in self.certain if f"{path}/".startswith(f"{old}/")
            }
            for path, now in moved.items():
                self.certain[now] = self.certain.pop(path)
        elif name == "os.remove":
            self.certain.pop(paths[0], None)

    def synced(self, descriptor: int) -> None:
        """All of this file is certain now."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path in self.certain:
            self.certain[path] = size(path)

    def lose(self) -> None:
        """What a machine without power may lose."""
        draw = random.Random(self.count)
        for path, certain in self.certain.items():
            cut(path, certain, draw.random())


def size(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    return os.path.getsize(path) if os.path.exists(path) else 0


def cut(path: str, certain: int, share: float) -> None:
    """Leave only this share of what was added to a file."""
    added = size(path) - certain
    if added > 0:
        os.truncate(path, certain + int(share * added))


def kill() -> None:
    """As a machine that is taken away."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def wrapped(function: Callable[..., Any], before: Callable[..., None], after: Callable[..., None]) -> Any:
    """The function, with something done before and after."""

    def call(*arguments: Any, **named: Any) -> Any:
        before(*arguments, **named)
        result = function(*arguments, **named)
        after(*arguments, **named)
        return result

    return call


def main() -> None:
    """Watch, and be trainer-cli."""
    at = os.environ.get("FAULTS_AT")
    watch = Watch(
        Path(os.environ["FAULTS_ROOT"]),
        os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        None if at is None else int(at),
        os.environ.get("FAULTS_HOW", "before"),
    )

    def nothing(*_: Any, **__: Any) -> None:
        return

    def fsync(descriptor: int) -> None:
        watch.operation("os.fsync", os.readlink(f"/proc/self/fd/{descriptor}"))

    def serialize(tensors: Any, path: Any, metadata: Any = None) -> None:
        watch.operation("safetensors", os.fspath(path), writes=True, anew=True)

    # Neither tells Python's audit of itself.
    os.fsync = wrapped(os.fsync, fsync, watch.synced)
    safetensors.torch.serialize_file = wrapped(safetensors.torch.serialize_file, serialize, nothing)
    sys.addaudithook(watch.event)
    sys.path[0] = os.getcwd()
    runpy.run_module("trainer_cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
