"""What every trial works with: real runs in processes of their own, and the run that nothing disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainer_cli.checkpoint import Checkpoints, verify

FOLDER = Path(__file__).parent
PROJECT = FOLDER / "project"
RECIPES = ("steady", "shaken", "passing")
INTERVAL = 5
"""Steps between saves, as the recipes have it."""

LIMIT = 3
"""Checkpoints that the recipes keep."""

DIFFERS = {"run.json", "config.yaml", "train.log"}
"""Files that tell of times and of the ways by which a run came to its end."""


TAIL = 600
"""Characters of what a run said that a fault is told with."""


class Fault(AssertionError):
    """What a trial found wrong."""


def check(condition: object, text: str) -> None:
    """Raise Fault with the text unless the condition holds."""
    if not condition:
        raise Fault(text)


@dataclass
class Whole:
    """The run of a recipe that nothing disturbed: its directory, its file operations, and its course in time.

    `train` is when it logged its first row and `end` when it ended, in seconds from its start.
    """

    run_dir: Path
    operations: list[str]
    train: float
    end: float


@dataclass
class Started:
    """A process of a run, and what it prints."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    @property
    def tail(self) -> str:
        """The last of its errors."""
        return self.err[-TAIL:].strip()

    def wait(self, seconds: float = 120) -> int:
        """Its exit code; a process that does not end is a fault."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Fault(f"did not end within {seconds:.0f} s: {self.tail}") from None

    def kill(self) -> None:
        """As a machine that is taken away: all its processes at once."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def sleep(self, seconds: float) -> None:
        """Wait so long, or for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> bool:
        """Look two hundred times a second until the condition holds, or the process has ended."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                return condition()
            check(time.monotonic() < end, f"waited for {seconds:.0f} s in vain: {self.tail}")
            time.sleep(0.005)
        return True


class Bench:
    """Starts runs below a folder of its own, and ends them with itself; undisturbed ones are made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Started] = []
        self._whole: dict[tuple[str, ...], Whole] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for started in self.started:
            started.kill()

    def new(self, name: str) -> Path:
        """A new, empty folder."""
        with self._lock:
            self._count += 1
            path = self.folder / f"{name}-{self._count}"
        path.mkdir(parents=True)
        return path

    def start(
        self,
        words: Sequence[str],
        outputs: Path,
        program: Sequence[str] = ("-m", "trainer_cli"),
        **extra: str,
    ) -> Started:
        """`trainer-cli WORDS` with its runs below `outputs`."""
        folder = self.new("printed")
        # An edit of this repository's files meanwhile is no difference that the runs are to tell of.
        outside = {"GIT_CEILING_DIRECTORIES": str(PROJECT.parent)}
        threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment = {**os.environ, **threads, **outside, **extra}
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, *program, *words, f"args.output_dir={outputs}"],
                cwd=PROJECT,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        started = Started(process, folder)
        self.started.append(started)
        return started

    def start_counted(
        self, words: Sequence[str], outputs: Path, at: int | None = None, how: str = "before"
    ) -> Started:
        """The same with its file operations in the file `operations` beside what it prints.

        It kills itself at operation number `at`.
        """
        log = self.new("operations") / "operations"
        extra = {"FAULTS_ROOT": str(outputs), "FAULTS_LOG": str(log), "FAULTS_HOW": how}
        if at is not None:
            extra["FAULTS_AT"] = str(at)
        started = self.start(words, outputs, (str(FOLDER / "operations.py"),), **extra)
        (started.folder / "operations").symlink_to(log)
        return started

    def whole(self, *words: str) -> Whole:
        """The undisturbed run of these words."""
        with self._lock:
            lock = self._locks.setdefault(words, threading.Lock())
        with lock:
            if words not in self._whole:
                self._whole[words] = self._make_whole(words)
            return self._whole[words]

    def _make_whole(self, words: tuple[str, ...]) -> Whole:
        outputs = self.new("whole")
        started = self.start_counted(words, outputs)
        began = time.monotonic()
        started.wait_for(lambda: any(last_row(run_dir) for run_dir in runs(outputs)))
        train = time.monotonic() - began
        check(started.wait() == 0, f"the undisturbed run failed: {started.tail}")
        end = time.monotonic() - began
        operations = (started.folder / "operations").read_text().splitlines()
        return Whole(only_run(outputs), operations, train, end)


def runs(outputs: Path) -> list[Path]:
    """The directories of all runs, oldest first; one that was killed before its run.json is none."""
    return sorted((path.parent for path in outputs.glob("*/*/run.json")), key=lambda path: path.name)


def only_run(outputs: Path) -> Path:
    """The directory of the only run."""
    found = runs(outputs)
    check(len(found) == 1, f"{len(found)} runs instead of one: {[path.name for path in found]}")
    return found[0]


def record(run_dir: Path) -> dict[str, Any]:
    """Its run.json."""
    fields: dict[str, Any] = json.loads((run_dir / "run.json").read_text())
    return fields


def newest(run_dir: Path) -> int:
    """The step of the newest checkpoint that is whole; 0 for none."""
    path, _ = Checkpoints(run_dir, None).newest()
    return 0 if path is None else step_of(path)


def step_of(checkpoint: Path) -> int:
    """The step that is in its name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def last_row(run_dir: Path) -> int:
    """The step of the last whole row that was logged; 0 for none."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def last_row_of(outputs: Path) -> int:
    """The step of the last row of the newest run."""
    found = runs(outputs)
    return last_row(found[-1]) if found else 0


def newest_of(outputs: Path) -> int:
    """The step of the newest whole checkpoint of the newest run; 0 for none."""
    found = runs(outputs)
    return newest(found[-1]) if found else 0


def files(directory: Path) -> dict[str, Path]:
    """Every file and empty directory below, by its relative path."""
    paths = (path for path in directory.rglob("*") if not path.is_dir() or not any(path.iterdir()))
    return {str(path.relative_to(directory)): path for path in paths}


def size(directory: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def check_same_end(run_dir: Path, whole: Path, *, but: Container[str] = ()) -> None:
    """Raise Fault unless a run came to the very end that the undisturbed one did, with no file more or less.

    `but` are the checkpoints that one of them may have alone, or otherwise.
    """
    fields = record(run_dir)
    check(fields["status"] == "finished", f"status {fields['status']}")
    for path in run_dir.glob("checkpoint-*"):
        reason = verify(path)
        check(reason is None, f"{path.name}: {reason}")
    ours, theirs = files(run_dir), files(whole)
    names = {name for name in ours.keys() | theirs.keys() if name.split("/")[0] not in but}
    odd = {name for name in names if name not in ours or name not in theirs}
    check(not odd, f"files of one run alone: {sorted(odd)}")
    differ = [name for name in sorted(names - DIFFERS) if not same(ours[name], theirs[name])]
    check(not differ, f"not as in the undisturbed run: {', '.join(differ)}")


def same(one: Path, other: Path) -> bool:
    """Whether two paths are files that hold the same."""
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def check_block(text: str) -> None:
    """Raise Fault unless an error was said as one short block."""
    check("Traceback" not in text, f"a traceback: {text[-TAIL:]}")
    check(text.strip(), "nothing was said")


@dataclass(frozen=True)
class Part:
    """A part of the battery: its trials are numbered, and each is a function of (seed, number)."""

    name: str
    trials: int
    trial: Callable[[Bench, int, random.Random], str]


@dataclass(frozen=True)
class Result:
    """A trial that is over: what was done and seen, or what was wrong."""

    part: str
    number: int
    text: str
    failed: bool

    @property
    def line(self) -> str:
        """What is printed of it."""
        return f"{self.part} {self.number} {'FAULT' if self.failed else 'ok'}: {self.text}"


def draw_for(seed: int, part: str, number: int) -> random.Random:
    """The random numbers of a trial."""
    return random.Random(f"{seed} {part} {number}")


def chosen(seed: int, part: Part, count: int | None) -> list[int]:
    """Numbers of so many of a part's trials, drawn by the seed; None: all of them."""
    numbers = range(part.trials)
    return list(numbers) if count is None else sorted(draw_for(seed, part.name, -1).sample(numbers, count))


def carry_out(bench: Bench, part: Part, seed: int, number: int) -> Result:
    """One trial."""
    try:
        text, failed = part.trial(bench, number, draw_for(seed, part.name, number)), False
    except Fault as fault:
        text, failed = str(fault), True
    except Exception:  # of a run that left what no trial foresaw
        text, failed = traceback.format_exc(), True
    return Result(part.name, number, text, failed)


def carry_out_all(
    bench: Bench, part: Part, seed: int, numbers: Sequence[int], jobs: int = 2
) -> Iterator[Result]:
    """Trials of a part, so many at a time, each as it ends."""
    with ThreadPoolExecutor(jobs) as pool:
        trials = [pool.submit(carry_out, bench, part, seed, number) for number in numbers]
        for done in as_completed(trials):
            yield done.result()
