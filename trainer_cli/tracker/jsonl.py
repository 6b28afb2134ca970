"""metrics.jsonl: a JSON object a row, the tracker that every run has."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.tracker.base import Status, Tracker

log = logging.getLogger(__name__)

FILE = "metrics.jsonl"

RECENT = 1000
"""Rows that a tracker looks back on when a run goes on."""

PIECE = 4096
"""Lines that are read at a time: a run of a million rows is never whole in memory."""

LARGEST = 2**63
"""No step comes to as much."""

NOT_FINITE = ("nan", "inf", "-inf")


class JsonLines(Tracker):
    """Appends rows to the run's metrics.jsonl; numbers that are not finite are written as strings."""

    def __init__(self) -> None:
        self.path = Path()
        self.resumed_at: list[dict[str, Any]] = []
        self.waiting = b""

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        self.path = run_dir / FILE
        with durable.append(self.path) as file:
            file.seek(0)
            lines = file.read().splitlines(keepends=True)[:rows]
            kept = [line for line in lines if looks_whole(line)]
            if kept == lines:
                file.truncate(sum(map(len, kept)))
        if len(kept) < rows:
            log.warning("%s is damaged: %d of its %d rows are left", self.path, len(kept), rows)
        if kept != lines:
            durable.write(self.path, b"".join(kept).decode())
        self.resumed_at = []
        for line in reversed(kept):  # of a long run the last rows alone are looked into
            row = json.loads(line)
            if row["step"] < step:
                break
            self.resumed_at += [row] if row["step"] == step else []

    def log(self, row: Mapping[str, Any]) -> None:
        written = {name: plain(value) for name, value in row.items()}
        # The last evaluation's row can be among those that a checkpoint counts, and then comes again.
        if written in self.resumed_at:
            return
        self.waiting += json.dumps(written).encode() + b"\n"
        already = self.waiting.count(b"\n") > 1
        if append(self.path, self.waiting):
            self.waiting = b""
        elif not already:
            log.warning("the disk has no room for a row of %s: it is written as soon as there is", self.path)

    def close(self, status: Status = "finished") -> None:
        return


def looks_whole(line: bytes) -> bool:
    """Whether it is a row from its first byte to its last."""
    return line.endswith(b"}\n") and as_row(line) is not None


def append(path: Path, lines: bytes) -> bool:
    """Add lines to a file, all of them or, where the disk has no room, none; whether there was room."""
    with durable.naming(path), durable.append(path) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(lines) == len(lines):
                return True
        except OSError as error:
            if not durable.is_disk_full(error):
                raise
        file.truncate(size)
        return False


def plain(value: Any) -> Any:
    """The value as JSON has it: NaN and infinities, which JSON lacks, by name, in what it holds too."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, all at once; see `stream`."""
    return list(stream(path))


def stream(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a metrics.jsonl, one by one; none if there is no file.

    A last line cut off by a crash is left out; what else is no row is left out with a warning.
    """
    if not path.exists():
        return
    kept = lines = 0
    with TextIOWrapper(durable.opened(path), "utf-8", "replace", newline="\n") as file:
        while piece := list(itertools.islice(file, PIECE)):
            whole = [line for line in piece if line.endswith("\n") and line != "\n"]
            rows = as_rows(whole)
            lines, kept = lines + len(whole), kept + len(rows)
            yield from rows
    if kept < lines:
        log.warning("%s is damaged: %d of its %d rows are left", path, kept, lines)


def as_rows(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that the lines are, less those that are none; read in one go where all of them are."""
    try:
        rows = json.loads(f"[{','.join(lines)}]")
        whole = len(rows) == len(lines) and all(map(is_row, rows))
    except (ValueError, RecursionError):
        whole = False
    return rows if whole else [row for line in lines if (row := as_row(line)) is not None]


def as_row(line: str | bytes) -> dict[str, Any] | None:
    """The row that a line is."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if is_row(row) else None


def is_row(value: Any) -> bool:
    """Whether it is a row: an object with a step."""
    step = value.get("step") if isinstance(value, dict) else None
    return isinstance(step, int) and -LARGEST < step < LARGEST


def kept_rows(run_dir: Path, rows: int) -> list[dict[str, Any]]:
    """The most recent of the first so many rows of a run's metrics.jsonl, as they were logged."""
    path = run_dir / FILE
    lines = durable.read(path).splitlines(keepends=True)[:rows] if path.exists() else []
    kept = [json.loads(line) for line in lines[-RECENT:] if looks_whole(line)]
    return [
        {name: float(value) if value in NOT_FINITE else value for name, value in row.items()} for row in kept
    ]
