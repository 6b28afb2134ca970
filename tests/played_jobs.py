"""Jobs of a sweep that are played: their processes are none, and come to what a test says."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_cli.runs.record import Record

ACCURACY = {"name": "eval/accuracy", "greater_is_better": True}


@dataclass(frozen=True)
class End:
    """How a job ends, after so many looks at it; without a status its process says nothing."""

    code: int
    status: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    looks: int = 2


def finished(score: float, looks: int = 2) -> End:
    return End(0, "finished", {"metric": ACCURACY, "results": {"eval/accuracy": score}}, looks)


def failed(error: str = "no memory", status: str = "failed") -> End:
    return End(1, status, {"error": error, "metric": ACCURACY})


KILLED = End(-signal.SIGKILL)


@dataclass
class Process:
    """The process of a job; it answers a signal as a run does: it saves its work and ends, a look later."""

    run_dir: Path
    share: dict[str, str]
    end: End
    looked: int = 0
    signals: list[int] = field(default_factory=list)
    code: int | None = None

    def poll(self) -> int | None:
        self.looked += 1
        if self.code is None and self.looked >= self.end.looks:
            self.code = self.end.code
            if self.end.status is not None:
                Record.load(self.run_dir).end(self.end.status, **self.end.fields)
        return self.code

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)
        self.end = End(128 + number, "preempted", looks=self.looked + 2)


@dataclass
class Played:
    """Starts jobs that end as `ends` says, by their number and how often they were started."""

    ends: Callable[[int, int], End]
    started: list[int] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    is_closed: bool = False

    def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
        number = Record.load(run_dir).fields["sweep"]["number"]
        self.started.append(number)
        self.processes.append(Process(run_dir, environment, self.ends(number, self.started.count(number))))
        return self.processes[-1]

    @property
    def running(self) -> list[Process]:
        """Those that have not ended."""
        return [process for process in self.processes if process.code is None]

    def close(self) -> None:
        self.is_closed = True
