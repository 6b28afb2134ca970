"""A tracker that remembers what it is told, and fails where a test asks it to; what others should have."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli.tracker import Status, Tracker
from trainer_cli.tracker.jsonl import FILE, read


class Kept(Tracker):
    """Remembers what it is told, and fails where it is asked to."""

    last: Kept

    def __init__(self, fails_in: str = "", error: str = "OSError", timeout: float = 5.0) -> None:
        Kept.last = self
        self.fails_in = fails_in
        self.error = error
        self.timeout = timeout
        self.calls: list[Any] = []
        self.threads: set[int] = set()
        self.go_on = threading.Event()
        self.does("init")

    def does(self, call: str) -> None:
        self.threads.add(threading.get_ident())
        if call != self.fails_in:
            return
        if self.error == "hang":
            self.go_on.wait(20)
        elif self.error == "exit":
            sys.exit(3)
        else:
            raise {"OSError": OSError, "KeyboardInterrupt": KeyboardInterrupt}[self.error](
                "no service\nthere"
            )

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        self.calls.append((step, rows))
        self.does("start")

    def log(self, row: Mapping[str, Any]) -> None:
        self.calls.append(dict(row))
        self.does("log")

    def close(self, status: Status = "finished") -> None:
        self.calls.append(status)
        self.does("close")


def points(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """What a tracker should have of a run: the numbers of its metrics.jsonl, each once a step."""
    found: dict[str, dict[int, float]] = {}
    for row in read(run_dir / FILE):
        for name, value in row.items():
            if name != "step":
                found.setdefault(name, {})[row["step"]] = float(value)
    return {name: list(at.items()) for name, at in found.items()}
