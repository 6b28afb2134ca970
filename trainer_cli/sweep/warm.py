"""A process that has torch and transformers imported already, and forks each job off itself."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from trainer_cli import durable
from trainer_cli.config.printable import say
from trainer_cli.config.secrets import exported
from trainer_cli.launch import die_with_parent
from trainer_cli.runs.lock import joined
from trainer_cli.signals import SIGNALS
from trainer_cli.sweep.pool import OUTPUT, Cold, Worker


class Warm:
    """Has jobs of one process forked by the imported one; a job of several processes starts from nothing.

    A fork has what an import leaves behind and nothing of an earlier job: its numbers are those of a process
    of its own.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", "trainer_cli.sweep.warm"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        self.said = b""
        self.started: list[int] = []
        self.codes: dict[int, int] = {}
        self.cold = Cold()

    def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Worker:
        assert self.process.stdin is not None
        if list(command[:2]) == ["-m", "trainer_cli.rank"]:
            try:
                job = {"words": list(command[2:]), "environment": {**exported(), **environment}}
                self.process.stdin.write(json.dumps(job).encode() + b"\n")
                self.process.stdin.flush()
            except OSError:  # it has ended: without it each job takes longer, and that is all
                return self.cold.start(run_dir, command, environment)
            while self.listen(None):
                if self.started:
                    return Fork(self, self.started.pop())
        return self.cold.start(run_dir, command, environment)

    def listen(self, seconds: float | None = 0) -> bool:
        """Take in which forks were made and which ended, waiting so long for news; False: it has ended."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return True
        said = os.read(self.process.stdout.fileno(), 65536)
        *lines, self.said = (self.said + said).split(b"\n")
        for message in map(json.loads, lines):
            if "code" in message:
                self.codes[message["pid"]] = message["code"]
            else:
                self.started.append(message["pid"])
        return bool(said)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Fork:
    """A job's process that was forked."""

    def __init__(self, parent: Warm, pid: int) -> None:
        self.parent = parent
        self.pid = pid

    def poll(self) -> int | None:
        gone = not self.parent.listen()
        # It takes its forks with it.
        return self.parent.codes.get(self.pid, -signal.SIGKILL if gone else None)

    def send_signal(self, number: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def main() -> None:
    """`python -m trainer_cli.sweep.warm`: forks a job for each line of JSON, and says how each ended."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the sweep says when to end
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an import prints is no message
    for name in ("torch", "trainer_cli.rank", "trainer_cli.runner"):
        importlib.import_module(name)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    learnt: dict[int, IO[str]] = {}
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        for pid, code in ended(learnt):
            print(json.dumps({"pid": pid, "code": code}), file=out)
            with learnt.pop(pid) as names:
                learn(names)
        if 0 in ready:
            line = read_line()
            if not line:
                break
            names = tempfile.TemporaryFile("w+")  # noqa: SIM115  (both processes hold it)
            gc.freeze()  # what is imported is not looked at again, and its memory stays shared
            # A signal to the fork waits until it no longer ignores those of this process.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                os.close(wake)
                os.close(woken)
                out.close()
                become(json.loads(line), names)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            learnt[pid] = names
            print(json.dumps({"pid": pid}), file=out)


def read_line() -> str:
    """The next line of standard input, byte by byte: none may wait in a buffer that `select` does not see."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return ""
        line += byte
    return line.decode()


def ended(running: Mapping[int, Any]) -> list[tuple[int, int]]:
    """The forks that have ended, with their exit codes."""
    found = []
    for pid in list(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def become(job: Mapping[str, Any], names: IO[str]) -> None:
    """Be the process of a job, to its end."""
    from trainer_cli import rank

    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        run_dir, *flags = job["words"]
        nowhere = os.open(os.devnull, os.O_RDONLY)
        output = durable.append(Path(run_dir) / OUTPUT)
        for stream, source in enumerate((nowhere, output.fileno(), output.fileno())):
            os.dup2(source, stream)
        os.environ.update(job["environment"])
        die_with_parent()
        limit_threads()
        known = set(sys.modules)
        with joined(Path(run_dir)):
            code = rank.execute(Path(run_dir), "--traceback" in flags)
        json.dump([name for name in list(sys.modules) if name not in known], names)
        names.flush()
    except KeyboardInterrupt:  # before the run could answer it
        code = 128 + signal.SIGINT
    except BaseException as error:
        say(f"the run failed: {type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def limit_threads() -> None:
    """As many threads as the environment asks for, which torch has read before it was there."""
    if "OMP_NUM_THREADS" in os.environ:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def learn(names: IO[str]) -> None:
    """Import what a job had to import, so that the next one has it already."""
    names.seek(0)
    wanted = [name for name in json.loads(names.read() or "[]") if name.partition(".")[0] in SHARED]
    if "transformers" in wanted:
        from trainer_cli.imports import trim_transformers

        trim_transformers()
    for name in wanted:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


SHARED = ("torch", "transformers", "tokenizers", "datasets", "safetensors", "numpy", "pyarrow", "trainer_cli")
"""Packages whose import starts nothing that a fork would not have."""


if __name__ == "__main__":
    main()
