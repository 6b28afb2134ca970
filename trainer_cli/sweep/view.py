"""A sweep while it runs: on a terminal a line a job, elsewhere a plain line at the start and end of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from trainer_cli import durable
from trainer_cli.runs.columns import STATUS
from trainer_cli.runs.console import console
from trainer_cli.runs.record import FILE as RECORD
from trainer_cli.runs.record import SHAPES, refuse_misfits
from trainer_cli.runs.screen import Piece, Screen, bar, duration, fitted, short, words
from trainer_cli.runs.sweeps import score_of
from trainer_cli.sweep.pool import OUTPUT
from trainer_cli.sweep.state import FAILED, JobState
from trainer_cli.tracker.jsonl import as_row

METRICS = "metrics.jsonl"
ENDED = ("finished", "pruned", "diverged", "failed", "preempted")

LAST_BYTES = 1 << 15
"""Of a metrics.jsonl, in which its last rows are looked for."""

BAR = 12
"""Columns."""

RANKS = {"bar": 4, "steps": 5, "loss": 3, "time": 2, "score": 1}
"""The columns beside a job's name, from the left; the highest rank goes where a terminal is too narrow."""


@dataclass
class Job:
    """What a job's own files say of it, so far."""

    run_dir: Path
    fields: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    loss: float | None = None
    score: float | None = None
    first: tuple[int, float] | None = None  # the step of the first row that was seen, and when
    seen: tuple[int, int] = (0, 0)
    over: bool = False

    @property
    def total(self) -> int | None:
        """Its updates; None until it knows them."""
        return self.fields.get("total_steps")

    @property
    def metric(self) -> str | None:
        """The score that counts."""
        return (self.fields.get("metric") or {}).get("name")

    def read(self, seconds: float, over: bool) -> None:
        """Take in what is new after so many seconds; of a job that is over, what it came to."""
        if self.over:
            return
        if over or self.total is None:
            self.fields = record(self.run_dir) or self.fields
        rows = self.new_rows()
        if rows:
            self.step = max(self.step, int(rows[-1]["step"]))
            self.loss = last_of(rows, "train/loss", self.loss)
            self.score = last_of(rows, self.metric, self.score)
            if self.first is None:
                self.first = self.step, seconds
        if over:
            self.over, self.step = True, self.fields.get("step") or self.step
            self.score = score_of(self.fields)

    @property
    def share(self) -> float:
        """How much of it is done."""
        return min(1.0, self.step / self.total) if self.total else 0.0

    def seconds_left(self, seconds: float) -> float | None:
        """What it still takes after so many seconds, at its pace; None where that cannot be told yet."""
        if self.first is None or not self.total or self.step <= self.first[0]:
            return None
        return (seconds - self.first[1]) / (self.step - self.first[0]) * max(0, self.total - self.step)

    def new_rows(self) -> list[dict[str, Any]]:
        """The last rows of its numbers, if there are new ones."""
        path = self.run_dir / METRICS
        try:
            stat = path.stat()
        except OSError:
            return []
        before, self.seen = self.seen, (stat.st_size, stat.st_mtime_ns)
        return last_rows(path) if self.seen != before else []


def record(run_dir: Path) -> dict[str, Any] | None:
    """A job's run.json; None where there is none yet."""
    try:
        fields = durable.read_json(run_dir / RECORD)
        refuse_misfits(fields, SHAPES)
    except (OSError, ValueError, AttributeError):
        return None
    return dict(fields)


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The rows in the last bytes of a metrics.jsonl, less one that is not written to its end."""
    with durable.opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LAST_BYTES))
        lines = file.read().split(b"\n")[:-1]
    rows = map(as_row, lines[1:] if size > LAST_BYTES else lines)
    return [row for row in rows if row is not None]  # one may be cut off by a crash, and gone on from


def last_of(rows: Sequence[Mapping[str, Any]], name: str | None, before: float | None) -> float | None:
    """The last value of this name in the rows; without one, what was known before."""
    return next((float(row[name]) for row in reversed(rows) if name in row), before)


class View:
    """How the jobs of a sweep stand; `total` counts them where not all of them are known from the start."""

    def __init__(self, total: int = 0) -> None:
        self.console = console()
        self.total = total
        self.began = monotonic()
        self.states: tuple[JobState, ...] = ()
        self.jobs: dict[int, Job] = {}
        self.told: dict[int, str] = {}
        self.at_a_time = 1
        self.screen: Screen | None = None

    def update(self, states: Sequence[JobState]) -> None:
        """Take in how the jobs stand, and tell what has changed."""
        for state in states:
            if state.run_dir is not None and state.status != "waiting":
                job = self.jobs.get(state.number)
                if job is None or job.run_dir != state.run_dir or (job.over and state.status == "running"):
                    job = self.jobs[state.number] = Job(state.run_dir)
                job.read(state.seconds, over=state.status in ENDED)
        self.states = tuple(states)
        self.total = max(self.total, len(states))
        self.at_a_time = max(self.at_a_time, sum(state.status == "running" for state in states))
        for line in self.news():
            self.note(line)
        if self.screen is None and self.console.is_interactive:
            self.screen = Screen(self.console, self.lines)
            self.screen.start()

    def note(self, text: str) -> None:
        """Say something beside it."""
        self.console.print(text, soft_wrap=not self.console.is_interactive)

    def close(self) -> None:
        """Leave the lines as they stand, and give the terminal back."""
        if self.screen is not None:
            self.screen.stop()
            self.screen = None

    # In plain lines.

    def news(self) -> Iterator[str]:
        """What has not been told yet; on a terminal, whose lines show the rest, only what is to stay."""
        new = [state for state in self.states if state.status != self.told.get(state.number, "waiting")]
        self.told |= {state.number: state.status for state in new}
        if kept := sum(state.kept for state in new):
            yield f"{kept} of {self.total} jobs were done before"
        for state in new:
            if not state.kept and (state.status in FAILED or not self.console.is_interactive):
                yield self.told_of(state)

    def told_of(self, state: JobState) -> str:
        """What has become of a job."""
        highest = max(self.total, *(other.number for other in self.states))
        name = f"job {state.number}/{highest}"
        if state.status == "running":
            return f"{name} started: {state.label}"
        if state.status in FAILED:
            output = f"; its output: {state.run_dir / OUTPUT}" if state.run_dir else ""
            return f"{name} {state.status}: {state.error or 'for no known reason'}{output}"
        job = self.jobs.get(state.number)
        score = f": {job.metric} {short(job.score)}" if job and job.score is not None else ""
        return f"{name} {state.status} in {duration(state.seconds)}{score}"

    # On a terminal.

    def lines(self, width: int, height: int) -> list[Text]:
        """How all of it stands, and a line a job, or where there is no room, for those that matter."""
        room = height - 1
        states = self.states if self.total <= room else most_important(self.states, max(0, room - 1))
        lines = [fitted("sweep", list(self.header()), width), *self.table(states, width)]
        if self.total > len(states):
            lines.append(fitted("", [words(self.rest(states), 0, "dim")], width))
        return lines[:height]

    def header(self) -> Iterator[Piece]:
        """How the whole of it stands."""
        count = Counter(state.status for state in self.states)
        ended = sum(count[status] for status in ENDED)
        total = self.total
        done = ended + sum(self.jobs[state.number].share for state in self.running)
        yield Piece(lambda width: bar(done, total, width), 10, 40, 4)
        yield words(f"{ended}/{total} done", 0, before="  ")
        if failed := sum(count[status] for status in FAILED):
            yield words(f"{failed} failed", 1, "red")
        yield words(duration(monotonic() - self.began), 3)
        if (seconds := self.seconds_left()) is not None and ended < total:
            yield words(f"ETA {duration(seconds)}", 2)

    @property
    def running(self) -> list[JobState]:
        """The jobs that run."""
        return [state for state in self.states if state.status == "running" and state.number in self.jobs]

    def seconds_left(self) -> float | None:
        """What is left, if all jobs take as long as those so far; None where that cannot be told yet."""
        left = {state.number: self.jobs[state.number].seconds_left(state.seconds) for state in self.running}
        took = [state.seconds for state in self.states if state.status == "finished" and not state.kept]
        for state in self.running:
            if not took and (rest := left[state.number]) is not None:
                took = [state.seconds + rest]
        if not took:
            return None
        mean = sum(took) / len(took)
        rests = [
            max(0.0, mean - state.seconds) if (rest := left[state.number]) is None else rest
            for state in self.running
        ]
        to_come = self.total - sum(state.status != "waiting" for state in self.states)
        return max([*rests, (sum(rests) + to_come * mean) / self.at_a_time])

    def table(self, states: Sequence[JobState], width: int) -> list[Text]:
        """The jobs in columns, as many of them as the width has room for."""
        cells = [self.cells(state) for state in states]
        numbers = max((len(str(state.number)) for state in states), default=0)
        statuses = max((len(state.status) for state in states), default=0)
        labels = max((cell_len(state.label) for state in states), default=0)
        room = width - len(f"  {'':{numbers}}    {'':{statuses}}")
        columns = {
            name: max(row[name].cell_len for row in cells if name in row) + 2
            for name in RANKS
            if any(name in row for row in cells)
        }
        while columns and min(labels, width // 2) + sum(columns.values()) > room:
            del columns[max(columns, key=RANKS.__getitem__)]
        labels = max(0, min(labels, room - sum(columns.values())))
        lines = []
        for state, row in zip(states, cells, strict=True):
            label = Text(state.label)
            label.truncate(labels, overflow="ellipsis", pad=True)
            style = STATUS.get(state.status, "")
            line = Text(f"  {state.number:>{numbers}}  ", no_wrap=True, overflow="crop", end="")
            line.append_text(label).append(f"  {state.status:<{statuses}}", style)
            if state.status in FAILED:
                line.append("  " + " ".join((state.error or "").split()))
            else:
                for name, size in columns.items():
                    cell = row.get(name, Text())
                    line.append("  ").append_text(cell).append(" " * (size - 2 - cell.cell_len))
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def cells(self, state: JobState) -> dict[str, Text]:
        """What is to be said of a job, by column."""
        job, cells = self.jobs.get(state.number), {}
        if job is None or state.status in FAILED:
            return {}
        if job.total:
            done, total = job.step, job.total
            if state.status == "running":
                cells["bar"] = bar(done, total, BAR)
            cells["steps"] = Text(f"{done:,}/{total:,}")
        if job.loss is not None:
            cells["loss"] = Text(f"loss {short(job.loss)}", "" if job.loss == job.loss else "bold red")
        if job.score is not None and job.metric is not None:
            name = job.metric if job.metric == "eval/loss" else job.metric.removeprefix("eval/")
            cells["score"] = Text(f"{name} {short(job.score)}")
        if state.status == "running":
            left = job.seconds_left(state.seconds)
            cells["time"] = Text(duration(state.seconds) if left is None else f"ETA {duration(left)}")
        elif not state.kept:
            cells["time"] = Text(duration(state.seconds))
        return cells

    def rest(self, shown: Sequence[JobState]) -> str:
        """The jobs that there is no line for."""
        numbers = {state.number for state in shown}
        count = Counter(state.status for state in self.states if state.number not in numbers)
        count["waiting"] += self.total - len(self.states)
        parts = ", ".join(f"{many} {status}" for status, many in count.items() if many)
        return f"and {self.total - len(shown)} more: {parts}"


def most_important(states: Sequence[JobState], room: int) -> list[JobState]:
    """As many as there is room for: what runs, what failed, what ended last, what comes next; by number."""

    def order(state: JobState) -> tuple[int, int]:
        if state.status == "running":
            return 0, state.number
        if state.status == "waiting":
            return 3, state.number
        return (1 if state.status in FAILED else 2), -state.number

    return sorted(sorted(states, key=order)[:room], key=lambda state: state.number)
