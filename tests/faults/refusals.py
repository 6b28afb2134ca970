"""A disk that refuses: an error at any call, a run's directory deleted, a file in a save's way."""

from __future__ import annotations

import errno
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from random import Random

from .bench import (
    FOLDER,
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
    step_of,
)

ERRORS = (errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS, errno.ENOSPC)
KINDS = ("writes", "writes", "reads", "deleted", "in the way")


@cache
def library() -> Path:
    """The library that refuses for the disk, compiled once; raises CalledProcessError where it cannot be."""
    path = Path(tempfile.mkdtemp(prefix="refusing-")) / "refusing_disk.so"
    source = FOLDER / "refusing_disk.c"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return path


def cannot_refuse() -> str | None:
    """Why this machine has no such library; None if it has."""
    try:
        library()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


def trial(bench: Bench, number: int, draw: Random) -> str:
    """A run that meets a refusal; then the same command, with all put right, to the end."""
    recipe, kind = RECIPES[number % len(RECIPES)], KINDS[number % len(KINDS)]
    background = str(draw.random() < 0.5).lower()
    words = [f"+recipe={recipe}", f"checkpoint.async_save={background}", "resume=auto"]
    whole, outputs = bench.whole(f"+recipe={recipe}"), bench.new("refused")
    told = f"{recipe}, async_save={background}, {kind}"
    try:
        if kind == "deleted":
            return told + deleted(bench, words, outputs, whole, draw)
        if kind == "in the way":
            return told + in_the_way(bench, words, outputs, whole, draw)
        if kind == "reads":
            started = bench.start(words, outputs)
            started.wait_for(lambda: newest_of(outputs) > 0)
            started.kill()
        number, how = draw.choice(ERRORS[: 3 if kind == "reads" else None]), draw.choice(["once", "on"])
        calls = calls_of(bench, tuple(words[:2]), kind)
        at = draw.randrange(20 if kind == "reads" else calls)
        told += f", {errno.errorcode[number]} at call {at} of {calls}, {how}"
        started = bench.start(words, outputs, **refusing(outputs, kind, at, how, number))
        started.wait()
        told += f": {started.process.returncode} at step {last_row_of(outputs)}"
        check_said(started, outputs)
        if started.process.returncode == 0:
            check_same_end(runs(outputs)[-1], whole.run_dir)
            return told
        before = newest_of(outputs)
        check_resumed(bench, words, outputs, whole, before)
    except Fault as fault:
        raise Fault(f"{told}: {fault} [{outputs}]") from None
    return f"{told}, resumed from {before}"


def refusing(outputs: Path, kind: str, at: int | None, how: str, number: int) -> dict[str, str]:
    """The environment in which the disk refuses."""
    asked = {"LD_PRELOAD": str(library()), "REFUSE_ROOT": f"{outputs}/", "REFUSE_HOW": how}
    asked["REFUSE_ERRNO"] = str(number)
    if at is not None:
        asked["REFUSE_AT"] = str(at)
    if kind == "reads":
        asked["REFUSE_READS"] = "1"
    return asked


@cache
def calls_of(bench: Bench, words: tuple[str, ...], kind: str) -> int:
    """How many calls an undisturbed run makes."""
    outputs = bench.new("counted")
    count = outputs / "count"
    extra = refusing(outputs, kind, None, "once", errno.EIO)
    started = bench.start(words, outputs, **extra, REFUSE_COUNT=str(count))
    check(started.wait() == 0, f"the counted run failed: {started.tail}")
    return int(count.read_text())


def deleted(bench: Bench, words: list[str], outputs: Path, whole: Whole, draw: Random) -> str:
    """The run's directory deleted while it trains."""
    started = bench.start(words, outputs)
    started.wait_for(lambda: last_row_of(outputs) > 0)
    started.sleep(draw.random() * (whole.end - whole.train) / 2)
    away = bench.new("away") / "outputs"
    outputs.rename(away)  # at once, which to delete it is not
    shutil.rmtree(away, ignore_errors=True)
    if started.wait() != 0:
        check(started.process.returncode == 1, f"exit code {started.process.returncode}: {started.tail}")
        check_block(started.err)
        check("is gone" in started.err, f"it does not say that the directory is gone: {started.tail}")
    outputs.mkdir(exist_ok=True)
    ended = bench.start(words, outputs)
    check(ended.wait() == 0, f"no fresh start: {ended.tail}")
    check_same_end(runs(outputs)[-1], whole.run_dir)
    return f": {started.process.returncode}"


def in_the_way(bench: Bench, words: list[str], outputs: Path, whole: Whole, draw: Random) -> str:
    """A file, or a link, that stands where a save is about to be made."""
    started = bench.start(words, outputs)
    started.wait_for(lambda: last_row_of(outputs) > 0)
    placed = 0
    for run_dir in runs(outputs):
        for step in range(5, 100, 5):
            path = run_dir / f".unfinished-checkpoint-{step}"
            try:
                path.symlink_to("nowhere") if draw.random() < 0.5 else path.touch(exist_ok=False)
                placed += 1
            except FileExistsError:
                continue
    check(started.wait() == 0, f"it ended with {started.process.returncode}: {started.tail}")
    for path in runs(outputs)[-1].glob(".unfinished-*"):  # where the save was over by then
        path.unlink()
    check_same_end(runs(outputs)[-1], whole.run_dir)
    return f": {placed} placed"


def check_said(started: Started, outputs: Path) -> None:
    """Raise Fault unless it ended well, or said in one block which file was refused."""
    if started.process.returncode == 0:
        return
    check(started.process.returncode in (1, 2), f"exit code {started.process.returncode}: {started.tail}")
    check_block(started.err)
    check("Logging error" not in started.err, f"errors of the log: {started.tail}")
    check("error: " in started.err, f"no block: {started.tail}")
    last = started.err[started.err.rindex("error: ") :].strip()
    check(str(outputs) in last, f"no path in {last!r}")
    check(len(last.splitlines()) <= 6, f"no short block: {last!r}")


def check_resumed(bench: Bench, words: list[str], outputs: Path, whole: Whole, before: int) -> None:
    """Raise Fault unless the same command now resumes from the newest checkpoint, to the undisturbed end."""
    finished = bool(runs(outputs)) and record(runs(outputs)[-1])["status"] == "finished"
    ended = bench.start(words, outputs)
    check(ended.wait() == 0, f"no resume: {ended.tail}")
    if not finished:
        resumed = record(runs(outputs)[-1])["resume_from"]
        step = 0 if resumed is None else step_of(Path(resumed))
        check(step == before, f"resumed from {step}, and checkpoint-{before} was whole")
    check_same_end(runs(outputs)[-1], whole.run_dir)


PART = Part("refusals", 120, trial)
