"""Where the jobs of a sweep run: so many at a time, each in a process with its share of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.launch import PARENT

OUTPUT = "output.log"
"""What a job prints, in its directory."""


def command(run_dir: Path, strategy: str, traceback: bool) -> list[str]:
    """Python's arguments for a job's process: the run itself, or what starts its processes."""
    module = "trainer_cli.rank" if strategy == "single" else "trainer_cli.start"
    return ["-m", module, str(run_dir), *(["--traceback"] if traceback else [])]


def how_it_ended(code: int) -> str:
    """The cause of a job's end, where its process could not say it."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"its process {how}"


def not_started(error: Exception) -> str:
    """The cause of a job that could not be started."""
    what = error.problems[0].what if isinstance(error, UserError) else str(error)
    return f"it could not be started: {what}"


class Worker(Protocol):
    """The process that a job runs in."""

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that ended it); None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal, if it still runs."""


class Nursery(Protocol):
    """Starts processes for jobs."""

    def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Worker:
        """`python command...` for the run in this directory, with these variables in its environment."""

    def close(self) -> None:
        """No more are started; those that run go on."""


class Cold:
    """Starts each process from nothing."""

    def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Worker:
        # In a group of its own a Ctrl-C reaches it once, through the sweep.
        with durable.append(run_dir / OUTPUT) as output:
            return subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment, PARENT: str(os.getpid())},
                process_group=0,
            )

    def close(self) -> None:
        return


@dataclass
class Places:
    """The shares of the machine that jobs run with: one job at a time has each."""

    free: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, gpus: Sequence[str], cores: int) -> Places:
        """The GPUs dealt out among `count` jobs, in turns where there are fewer, and the threads divided.

        A number of threads that the environment sets stays as it is.
        """
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cores // count))}
        shares = []
        for index in range(count):
            own = gpus[index::count] or gpus[index % len(gpus) :][:1] if gpus else ()
            devices = {"CUDA_VISIBLE_DEVICES": ",".join(own)} if own and count > 1 else {}
            shares.append({**(threads if count > 1 else {}), **devices})
        return cls(shares)


def visible_gpus() -> list[str]:
    """The GPUs that a process started now would see, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return []
    try:
        found = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    count = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    return [str(index) for index in range(count)]


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
