"""sweep.json: the jobs of a sweep, and what they are made of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.runs.effects import as_text
from trainer_cli.runs.record import Record, refuse_misfits

FILE = "sweep.json"

SHAPES: dict[str, Any] = {
    "name": str,
    "created": str,
    "argv": [str],
    "fixed": [str],
    "jobs": [{"id": str, "number": int, "values": {str: object}, "words": [str], "directory": str}],
    "asked": [str],
    "refused": {str: str},
}
"""The type of each value."""

DONE = ("finished", "pruned", "diverged")
"""How a job ends that the same command does not run again: those would come to the same."""


@dataclass(frozen=True)
class Entry:
    """A job of a sweep: what it is called, and what it is made of.

    `id` is the identity of its configuration; `values` are those of the swept keys, an option's name where a
    group is swept over; `words` are the overrides of a run of its own; `directory` is below the sweep's.
    """

    id: str
    number: int
    values: dict[str, Any]
    words: list[str]
    directory: str

    @property
    def label(self) -> str:
        """Its values in a line."""
        return " ".join(f"{key}={as_text(value)}" for key, value in self.values.items()) or "the one job"


@dataclass
class SweepRecord:
    """A sweep's directory and the contents of its sweep.json.

    `fields` has: `name`, `created`, `argv` of the last command, `fixed` (the overrides that all its jobs
    share), `search`, `jobs` (all that there ever were, in the order of their numbers), `asked` (the ids of
    the last command's, in its order) and `refused` (why some of these could not be started, by id). `text` is
    what the file held last; None: there was none.
    """

    sweep_dir: Path
    fields: dict[str, Any]
    text: str | None = None

    @classmethod
    def load(cls, sweep_dir: Path) -> SweepRecord:
        """The record of an existing sweep; raises OSError or ValueError where there is none."""
        text = durable.read_text(sweep_dir / FILE)
        fields = durable.parse_json(text)
        if not isinstance(fields, dict) or None in (fields.get("jobs"), fields.get("asked")):
            raise ValueError("it is no record of a sweep")
        refuse_misfits(fields, SHAPES)
        names = {entry.name for entry in dataclasses.fields(Entry)}
        for job in fields["jobs"]:
            if job.keys() != names or None in job.values() or not is_beside(job["directory"]):
                raise ValueError(f"a job of it is {json.dumps(job)[:60]}")
        if not {*fields["asked"]} <= {job["id"] for job in fields["jobs"]}:
            raise ValueError("it asks for a job that it has not")
        return cls(sweep_dir, fields, text)

    def update(self, **fields: Any) -> None:
        """Set fields, on the disk as a whole or not at all."""
        self.fields |= fields
        self.text = json.dumps(self.fields, indent=1) + "\n"
        durable.write(self.sweep_dir / FILE, self.text)

    @property
    def is_as_read(self) -> bool:
        """Whether the file is as it was when it was read, or written, last."""
        try:
            return durable.read_text(self.sweep_dir / FILE) == self.text
        except FileNotFoundError:
            return self.text is None

    @property
    def entries(self) -> list[Entry]:
        """All jobs that the sweep ever had, by number."""
        return [Entry(**job) for job in self.fields["jobs"]]

    @property
    def asked(self) -> list[Entry]:
        """The jobs of the last command."""
        by_id = {entry.id: entry for entry in self.entries}
        return [by_id[job] for job in self.fields["asked"]]

    def run_dir(self, entry: Entry) -> Path:
        """The directory of a job's run, which may be one of a sweep beside it."""
        return Path(os.path.normpath(self.sweep_dir / entry.directory))

    def record(self, entry: Entry) -> Record | None:
        """The run of a job; None where it was never started, or a link stands in its place."""
        try:
            if self.run_dir(entry).is_symlink():
                return None
            return Record.load(self.run_dir(entry))
        except (OSError, ValueError):
            return None


def is_beside(directory: str) -> bool:
    """Whether a job is in the sweep's directory, or in that of a sweep beside it."""
    parts = Path(os.path.normpath(directory)).parts
    return len(parts) == 1 + (parts[:1] == ("..",)) * 2 and ".." not in parts[1:] and "/" not in parts


def score_of(fields: Mapping[str, Any]) -> float | None:
    """What a run came to, by its run.json: the metric that picks its best model, of the model it kept."""
    name = (fields.get("metric") or {}).get("name")
    results = fields.get("results") or {}
    value = results[name] if name in results else (fields.get("best") or {}).get(name)
    return None if value is None else float(value)


def swept_keys(entries: Sequence[Entry]) -> list[str]:
    """The keys that the jobs are told apart by, in the order of the command line."""
    return list(dict.fromkeys(key for entry in entries for key in entry.values))
