"""metrics.jsonl: a JSON object a row, the tracker that every run has."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli.tracker.base import Tracker

FILE = "metrics.jsonl"


class JsonLines(Tracker):
    """Appends rows to the run's metrics.jsonl; numbers that are not finite are written as strings."""

    def __init__(self) -> None:
        self.path = Path()
        self.resumed_at: list[dict[str, Any]] = []

    def start(self, run_dir: Path, step: int) -> None:
        self.path = run_dir / FILE
        rows = [row for row in read(self.path) if row["step"] <= step]
        temporary = self.path.with_suffix(".jsonl.tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(temporary, self.path)
        self.resumed_at = [row for row in rows if row["step"] == step]

    def log(self, row: Mapping[str, Any]) -> None:
        written = {name: plain(value) for name, value in row.items()}
        # The evaluation of a step can come after its checkpoint, and then comes again after a resume.
        if written in self.resumed_at:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(written) + "\n")

    def close(self) -> None:
        return


def plain(value: Any) -> Any:
    """The value as JSON has it: NaN and infinities, which JSON lacks, by name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; none if there is no file; a last line cut off by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
