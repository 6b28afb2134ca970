"""A disk that is full from some moment on; then the same command with more room, to the end."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from trainer_cli.checkpoint import verify
from trainer_cli.runs.lock import FILE as LOCK
from trainer_cli.runs.record import Record

from .bench import (
    RECIPES,
    Bench,
    Fault,
    Part,
    Started,
    Whole,
    check,
    check_block,
    check_same_end,
    last_row_of,
    newest_of,
    record,
    runs,
    same,
    step_of,
)

STEP = 64
"""Kilobytes by which the disks differ."""

SIZES = 48
"""Disks, each larger than the one before; the largest has room for the whole run."""

FILES = 14
"""Trials in which other files fill the disk while the run trains."""

COUNTS = 12
"""Disks that hold few files, each a few more than the one before."""

ENOUGH = 16 * 1024
PLENTY = 10_000
MODEL = ("model.hidden_features=[192,192]", "checkpoint.async_save=true")
"""A model of which a checkpoint takes half a megabyte."""


def cannot_mount() -> str | None:
    """Why this process cannot mount a disk of its own; None if it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder), STEP):
                return None
        except FileNotFoundError as error:
            return str(error)
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip()


@contextlib.contextmanager
def mounted(folder: Path, kilobytes: int, inodes: int = PLENTY) -> Iterator[None]:
    """A disk of this size, for so many files, in memory."""
    command("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,nr_inodes={inodes}", "tmpfs", str(folder))
    try:
        yield
    finally:
        command("umount", "-l", str(folder))


def resize(folder: Path, kilobytes: int) -> None:
    """Give the disk another size, and room for any number of files."""
    command("mount", "-o", f"remount,size={kilobytes}k,nr_inodes={PLENTY}", str(folder))


def command(*words: str) -> None:
    """Raises CalledProcessError where it fails."""
    subprocess.run(words, check=True, capture_output=True, text=True)


def trial(bench: Bench, number: int, draw: Random) -> str:
    """A disk of one size after the other; beyond the largest, one that fills up while the run trains."""
    recipe = RECIPES[number % len(RECIPES)]
    on_full = "continue" if draw.random() < 0.3 else "stop"
    words = [f"+recipe={recipe}", *MODEL, f"checkpoint.on_full={on_full}", "resume=auto"]
    whole, disk = bench.whole(f"+recipe={recipe}", *MODEL), bench.new("disk")
    kilobytes = (number + 1) * STEP if number < SIZES else ENOUGH
    few = number - SIZES - FILES
    inodes = PLENTY if few < 0 else 8 + 2 * few
    limit = f"{kilobytes} KB" if number < SIZES else "other files" if few < 0 else f"{inodes} inodes"
    told = f"{recipe}, on_full={on_full}, {limit}"
    with mounted(disk, kilobytes, inodes):
        try:
            outputs, ballast = disk / "outputs", disk / "ballast"
            started = run(
                bench, words, outputs, whole, draw, ballast if number >= SIZES and few < 0 else None
            )
            told += f": {started.process.returncode} at step {last_row_of(outputs)}"
            check_ended(started, outputs, whole, on_full)
            if number < SIZES and draw.random() < 0.3:
                resize(disk, kilobytes + draw.randrange(1, 8) * STEP)
                check_ended(run(bench, words, outputs, whole, draw, None), outputs, whole, on_full)
                told += f", then at step {last_row_of(outputs)}"
            ballast.unlink(missing_ok=True)
            resize(disk, ENOUGH)
            before, finished = newest_of(outputs), is_finished(outputs)
            ended = bench.start(words, outputs)
            check(ended.wait() == 0, f"no resume: {ended.tail}")
            if not finished:
                resumed = record(runs(outputs)[-1])["resume_from"]
                step = 0 if resumed is None else step_of(Path(resumed))
                check(step == before, f"went on from {step}, and checkpoint-{before} was whole")
            check_end(outputs, whole, on_full)
        except Fault as fault:
            raise Fault(f"{told}: {fault}") from None
    return told


def run(
    bench: Bench, words: list[str], outputs: Path, whole: Whole, draw: Random, ballast: Path | None
) -> Started:
    """The run to its end; with `ballast`, a file that takes all room that is left, at some moment."""
    started = bench.start(words, outputs)
    if ballast is not None:
        started.wait_for(lambda: last_row_of(outputs) > 0)
        started.sleep(draw.random() * (whole.end - whole.train))
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            for _ in itertools.count():
                file.write(bytes(4096))
    started.wait()
    return started


def check_ended(started: Started, outputs: Path, whole: Whole, on_full: str) -> None:
    """Raise Fault unless it came to its end, or said why not and left only what is whole."""
    for run_dir in runs(outputs):
        rubbish = [
            path.name
            for path in run_dir.iterdir()
            if path.name != LOCK and (path.name.startswith(".") or ".tmp" in path.name)
        ]
        check(not rubbish, f"it left {rubbish}: {started.tail}")
        for checkpoint in run_dir.glob("checkpoint-*"):
            reason = verify(checkpoint)
            check(reason is None, f"{checkpoint.name}: {reason}")
    if started.process.returncode == 0:
        check_end(outputs, whole, on_full)
        return
    check(started.process.returncode in (1, 2), f"exit code {started.process.returncode}: {started.tail}")
    check_block(started.err)
    check("Logging error" not in started.err, f"errors of the log: {started.tail}")
    last = started.err[started.err.rindex("error: ") :].strip()
    check(str(outputs) in last, f"no path in {last!r}")
    refused = last.splitlines()[0]
    if "checkpoint-" in refused and "no inode left" not in refused:
        check(re.search(r"\d [kMG]?B\b", refused), f"no need in {last!r}")
    check(len(last.splitlines()) <= 6, f"no short block: {last!r}")
    if runs(outputs):
        status = Record.load(runs(outputs)[-1]).status
        check(status == "failed", f"status {status}")


def is_finished(outputs: Path) -> bool:
    """Whether the newest run is."""
    return bool(runs(outputs)) and record(runs(outputs)[-1])["status"] == "finished"


def check_end(outputs: Path, whole: Whole, on_full: str) -> None:
    """Raise Fault unless the end is the undisturbed one; with on_full=continue checkpoints may be missing."""
    run_dir = runs(outputs)[-1]
    if on_full == "stop":
        check_same_end(run_dir, whole.run_dir)
        return
    check(record(run_dir)["status"] == "finished", f"status {record(run_dir)['status']}")
    for name in ("metrics.jsonl", "model/model.safetensors"):
        check(same(run_dir / name, whole.run_dir / name), f"{name} differs from the undisturbed run's")


PART = Part("full-disk", SIZES + FILES + COUNTS, trial)
