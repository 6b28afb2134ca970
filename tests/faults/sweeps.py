"""SIGKILL of a sweep, at random times and at file operations of its own; then the same command again."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

from .bench import Bench, Fault, Part, Started, check, files, record, same

SHORT = ("-m", "+recipe=steady", "args.max_steps=30")
KINDS = {
    "grid": ("optim.lr=0.01,0.003", "args.seed=1,2"),
    "random": ("optim.lr=interval(0.001,0.1)", "sweep.search=random", "sweep.trials=4"),
    "tpe": ("optim.lr=interval(0.001,0.1)", "sweep.search=tpe", "sweep.trials=4"),
    "pruned": (
        "optim.lr=tag(log,interval(0.0001,0.1))",
        "sweep.search=random",
        "sweep.trials=8",
        "sweep.pruner=median",
    ),
}
WAYS = (("sweep.warm=false",), ("sweep.warm=true",), ("sweep.warm=true", "sweep.jobs=2"))
RESULTS = ("leaderboard.csv", "metrics.jsonl", "model.safetensors")
"""Files that must be those of the undisturbed sweep, to the bit."""

lock = threading.Lock()
undisturbed: dict[str, tuple[Path, list[str], float]] = {}


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Kill a sweep up to three times, each time going on with it by the same command, and compare the end."""
    kind = list(KINDS)[number % len(KINDS)]
    # Two at a time, a search asks for what it asks before all results are there.
    way = WAYS[draw.randrange(len(WAYS) if kind in ("grid", "random") else 2)]
    words = [*SHORT, *KINDS[kind], *way]
    whole, operations, seconds = whole_of(bench, kind)
    outputs = bench.new("killed")
    story = [f"{kind} {' '.join(way)}"]
    try:
        done: dict[Path, int] = {}
        for kill in range(draw.randint(1, 3)):
            if (number // len(KINDS)) % 2 == 0 and kill == 0:
                at = draw.randrange(len(operations))
                started = bench.start_counted(words, outputs, at, draw.choice(("before", "torn")))
                started.wait()
                story.append(f"killed at operation {at} of the sweep's own")
            else:
                after = draw.uniform(0.3, 0.9) * seconds
                started = bench.start(words, outputs)
                started.sleep(after)
                started.kill()
                story.append(f"killed after {after:.2f} s")
            check_alone(started, outputs)
            check_kept(done)
            done = finished(outputs)
        started = bench.start(words, outputs)
        check(started.wait() == 0, f"the same command does not go on: {started.tail}")
        check_kept(done)
        check_same(outputs, whole)
    except Fault as fault:
        raise Fault(f"{'; '.join(story)}: {fault} [{outputs}]") from None
    return f"{'; '.join(story)}; {len(done)} of the jobs were done by then"


def whole_of(bench: Bench, kind: str) -> tuple[Path, list[str], float]:
    """The outputs of the undisturbed sweep, one cold job after the other, its operations and seconds."""
    with lock:
        if kind not in undisturbed:
            outputs = bench.new("whole")
            began = time.monotonic()
            started = bench.start_counted([*SHORT, *KINDS[kind]], outputs)
            check(started.wait() == 0, f"the undisturbed sweep failed: {started.tail}")
            operations = (started.folder / "operations").read_text().splitlines()
            undisturbed[kind] = outputs, operations, time.monotonic() - began
        return undisturbed[kind]


def check_alone(started: Started, outputs: Path) -> None:
    """Raise Fault unless its jobs have ended with it."""
    end = time.monotonic() + 20
    while running(outputs):
        check(time.monotonic() < end, f"jobs that outlive the sweep: {running(outputs)}")
        time.sleep(0.05)
    check(started.process.returncode in (0, -9), f"it ended by itself: {started.tail}")


def running(outputs: Path) -> list[str]:
    """The processes that have one of the jobs' directories open or on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            links = [link.readlink() for link in (path / "fd").iterdir()]
            words = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(outputs) in words or any(str(link).startswith(f"{outputs}/") for link in links):
            found.append(path.name)
    return found


def finished(outputs: Path) -> dict[Path, int]:
    """The files of numbers of each job that is done, with the time of their last change."""
    return {
        file.parent / "metrics.jsonl": (file.parent / "metrics.jsonl").stat().st_mtime_ns
        for file in outputs.glob("*/*/*/run.json")
        if record(file.parent)["status"] in ("finished", "pruned")
    }


def check_kept(done: dict[Path, int]) -> None:
    """Raise Fault where a job that was done has been run again."""
    again = [path.parent.name for path, at in done.items() if path.stat().st_mtime_ns != at]
    check(not again, f"trained twice: {', '.join(again)}")


def check_same(outputs: Path, whole: Path) -> None:
    """Raise Fault unless the sweep has come to what the undisturbed one did."""
    ours, theirs = files(outputs), files(whole)
    names = [name for name in sorted(ours.keys() | theirs.keys()) if name.rpartition("/")[2] in RESULTS]
    names = [name for name in names if "checkpoint-" not in name]
    odd = [name for name in names if name not in ours or name not in theirs]
    check(not odd, f"files of one sweep alone: {odd}")
    differ = [name for name in names if not same(ours[name], theirs[name])]
    check(not differ, f"not as in the undisturbed sweep: {', '.join(differ)}")


PART = Part("sweeps", 40, trial)
