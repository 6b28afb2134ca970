"""Starting the processes of a run through torch's elastic agent, and stopping them with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from trainer_cli import durable
from trainer_cli.config.printable import say
from trainer_cli.signals import SIGNALS, answered_by


@dataclass(frozen=True)
class Failure:
    """The process that failed: its exit code (negative: the signal that ended it) and its own words."""

    rank: int
    exit_code: int
    message: str


PARENT = "TRAINER_CLI_PARENT"
"""The variable by which a process that is started here knows which one started it."""

DAY = 24 * 60 * 60
"""In seconds."""

# A process that one of these has ended was ended from outside, or by its own code: what the others then say
# of a lost connection is no news.
KILLED = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def launch(command: Sequence[str], num_processes: int, max_restarts: int, log_dir: Path) -> Failure | None:
    """Run `python command...` as `num_processes` ranks on this machine; None when all of them ended well.

    Rank 0 keeps the terminal; what the others print goes to files in `log_dir`. Raises `SignalException` of
    torch elastic when a signal ended the run, after every rank has ended.
    """
    # Without it a restarted rank may read the addresses of the dead generation (pytorch issue 135712).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    os.environ[PARENT] = str(os.getpid())

    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What failed is said once, by the caller; the agent's own log would say it in ten lines more.
    logging.getLogger("torch.distributed.elastic.agent.server.api").setLevel(logging.CRITICAL)
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    run_id = uuid.uuid4().hex
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=run_id,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=max_restarts,
        monitor_interval=0.2,
        # After a signal the processes save, however long that takes; a second signal ends them.
        shutdown_timeout=DAY,
        # Which the agent hands on to its processes.
        signals_to_handle=",".join([*(number.name for number in SIGNALS), "SIGHUP", "SIGQUIT"]),
        logs_specs=DefaultLogsSpecs(
            log_dir=str(durable.folder(log_dir)), redirects=dict.fromkeys(range(1, num_processes), Std.ALL)
        ),
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        codes = {int(rank): failure.exitcode for rank, failure in error.failures.items()}
        return first_failure(codes, read_failures(log_dir, run_id))
    return None


def run_alone(command: Sequence[str], output: Path | None = None) -> int:
    """Run `python command...` as one process; returns its exit code (negative: the signal that ended it).

    What it prints is added to the file `output`; None: to the terminal. A signal that would end the wait is
    handed on: the process saves its work and ends, and the wait with it.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # while the process was made

    def hand_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    with answered_by(hand_on):
        with contextlib.nullcontext() if output is None else durable.append(output) as file:
            environment = {**os.environ, PARENT: str(os.getpid())}
            process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file, env=environment)
        for number in early:
            process.send_signal(number)
        return process.wait()


def first_failure(codes: Mapping[int, int], spoken: Sequence[Failure]) -> Failure:
    """The failure that brought the others about, of exit codes and of what was said, the earliest first.

    A process that left without a word did so by itself: what it makes others do they say, or are ended for.
    One that answered a signal had it from the agent, which ends what is left after a failure.
    """
    have_spoken = {failure.rank for failure in spoken}
    answers = [128 + number for number in SIGNALS]
    for rank, code in codes.items():
        if -code in KILLED or (code > 0 and code not in answers and rank not in have_spoken):
            return Failure(rank, code, "")
    if spoken:
        return spoken[0]
    rank = min(codes)
    return Failure(rank, codes[rank], "")


def read_failures(log_dir: Path, run_id: str) -> list[Failure]:
    """What the ranks of the last start handed to `record_failure`, the earliest first."""
    found = []
    attempts = sorted(log_dir.glob(f"{run_id}_*/attempt_*"), key=lambda path: int(path.name[8:]))
    for path in attempts[-1].glob("*/error.json") if attempts else ():
        details = json.loads(path.read_text(encoding="utf-8"))["message"]
        more = details["extraInfo"]
        failure = Failure(int(path.parent.name), more["exit_code"], details["message"])
        found.append((more["nanoseconds"], failure))
    return [failure for _, failure in sorted(found, key=lambda item: item[0])]


def record_failure(text: str, exit_code: int) -> None:
    """Hand this rank's error to the agent that started it, in the agent's file format; no-op without one.

    Where the file cannot be written, say it here.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    now = time.time_ns()
    more = {
        "py_callstack": text,
        "timestamp": str(now // 10**9),  # the agent reads whole seconds, in which several may fail
        "nanoseconds": now,
        "exit_code": exit_code,
    }
    details = {"message": {"message": text, "extraInfo": more}}
    try:
        durable.write(Path(path), json.dumps(details))
    except OSError:  # as where the disk is full, which the terminal is not on
        say(text)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that happens (Linux).

    Where its parent, the one that PARENT names, has ended before, it ends at once.
    """
    parent = int(os.environ.pop(PARENT, os.getppid()))
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
