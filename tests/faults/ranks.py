"""SIGKILL of one process of a run of several: of each rank, and of the parent that started them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from .bench import Bench, Fault, Part, Started, check, check_same_end, last_row_of, newest_of, only_run, runs
from .sweeps import running

WORDS = ("+recipe=steady", "strategy=ddp", "strategy.num_processes=2")
VICTIMS = ("rank 0", "rank 1", "the parent")
GRACE = 60.0
"""Seconds within which the others have ended, on a machine that has other things to do."""

QUIET = 0.5
"""Seconds in which nothing may be written after the end."""


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Kill one process once or twice, look at what the others do, go on, and compare the end."""
    victim, whole, outputs = VICTIMS[number % len(VICTIMS)], bench.whole(*WORDS), bench.new("ranks")
    words, story = [*WORDS, "resume=auto"], []
    try:
        for _ in range(1 + (draw.random() < 0.3)):
            rows = last_row_of(outputs)
            started = bench.start(words, outputs)
            started.wait_for(row_after(outputs, rows))
            started.sleep(draw.random() * (whole.end - whole.train))
            pids = processes(started)
            if started.process.poll() is None and victim in pids:
                os.kill(pids[victim], signal.SIGKILL)
                story.append(f"{victim} killed at step {last_row_of(outputs)}")
            code = started.wait(GRACE)
            if code == 0:
                break
            check(code == -signal.SIGKILL or "Traceback" not in started.err, f"a traceback: {started.tail}")
            # Every other time the next start does not wait until all of the killed run's processes are gone.
            if number // len(VICTIMS) % 2 == 0:
                check_quiet(outputs)
            check(newest_of(outputs) > 0 or last_row_of(outputs) < 10, "no checkpoint")
        ended = bench.start(words, outputs)
        check(ended.wait() == 0, f"no resume: {ended.tail}")
        check(len(runs(outputs)) == 1, "the run that was killed was not gone on with")
        run_dir = only_run(outputs)
        # A rank that is asked to end saves its step, which takes the place of an older checkpoint.
        checkpoints = {path.name for of in (run_dir, whole.run_dir) for path in of.glob("checkpoint-*")}
        check_same_end(run_dir, whole.run_dir, but=checkpoints | {"ranks"})
    except Fault as fault:
        raise Fault(f"{'; '.join(story) or victim}: {fault} [{outputs}]") from None
    return "; ".join(story) or f"{victim} was faster than the kill"


def row_after(outputs: Path, rows: int) -> Callable[[], bool]:
    """Whether a row has been logged since."""
    return lambda: last_row_of(outputs) != rows


def processes(started: Started) -> dict[str, int]:
    """The run's processes, by what they are."""
    found = {"the parent": started.process.pid}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (path / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == started.process.pid and b"trainer_cli.rank" in words:
            rank = next(text[5:].decode() for text in variables if text.startswith(b"RANK="))
            found[f"rank {rank}"] = int(path.name)
    return found


def check_quiet(outputs: Path) -> None:
    """Raise Fault unless all its processes have ended, and nothing is written any more."""
    end = time.monotonic() + GRACE
    while running(outputs):
        check(time.monotonic() < end, f"processes that outlive the run: {running(outputs)}")
        time.sleep(0.02)
    before = written(outputs)
    time.sleep(QUIET)
    check(written(outputs) == before, "something is written after the end")


def written(outputs: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in outputs.rglob("*")}


PART = Part("ranks", 60, trial)
