"""What a tracker tells its service of a run, as the run's own files have it: no secret stands in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trainer_cli import durable


@dataclass(frozen=True)
class Run:
    """A run by its directory and its run.json; a trial run has none and goes by its directory's name."""

    run_dir: Path
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, run_dir: Path) -> Run:
        """The run of a directory."""
        file = run_dir / "run.json"
        return cls(run_dir, durable.read_json(file) if file.is_file() else {})

    @property
    def name(self) -> str:
        """What runs of its kind are called: the project that it belongs to where none is named."""
        return str(self.fields.get("name", "trainer-cli"))

    @property
    def group(self) -> str | None:
        """The sweep that it is a job of."""
        sweep = self.fields.get("sweep")
        return str(sweep["name"]) if sweep else None

    @property
    def title(self) -> str:
        """What it is called among the runs of its project."""
        own = str(self.fields.get("id", self.run_dir.name))
        return f"{self.group}/{own}" if self.group else own

    @property
    def key(self) -> str:
        """32 hexadecimal digits that are this run's alone and stay the same when it goes on."""
        if not self.fields:
            return hashlib.sha256(str(self.run_dir.resolve()).encode()).hexdigest()[:32]
        return hashlib.sha256(f"{self.fields['id']} {self.fields['created']}".encode()).hexdigest()[:32]

    @cached_property
    def config_text(self) -> str:
        """Its resolved configuration as it is written."""
        file = self.run_dir / "config.yaml"
        return durable.read_text(file) if file.is_file() else ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its resolved configuration, a value for each dotted key."""
        return dict(flat(yaml.safe_load(self.config_text) or {}))

    @property
    def root(self) -> Path:
        """The directory that holds the directories of all runs; of a trial run its own."""
        if not self.fields:
            return self.run_dir
        root = Path(str(self.config.get("args.output_dir", "."))).resolve()
        parents = self.run_dir.resolve().parents
        # If not, it was moved, or goes on from another folder: a job has its sweep's directory in between.
        return root if root in parents else parents[2 if self.group else 1]


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with its dotted key; a list, or an empty mapping, is one value."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value) if isinstance(value, list | Mapping) else value
