"""The command line as a user has it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OWN_PROJECT = Path(__file__).parent.parent / "own_project"


@dataclass
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Shell:
    """Runs `trainer-cli` in a folder, with its runs below `outputs` there."""

    folder: Path
    outputs: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trainer_cli", *words]

    def environment(self, **extra: str) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **extra}

    def __call__(self, *words: str, **extra: str) -> Ended:
        ended = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=280,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def run(self, *words: str, **extra: str) -> Ended:
        """A run below `outputs` that must end well."""
        ended = self(*words, f"args.output_dir={self.outputs}", **extra)
        assert ended.code == 0, ended.text
        return ended

    @property
    def runs(self) -> list[Path]:
        """Directories of all runs, oldest first."""
        return sorted((path.parent for path in self.outputs.rglob("run.json")), key=lambda path: path.name)

    @property
    def last(self) -> Path:
        return self.runs[-1]

    def rows(self, run: Path | None = None) -> list[dict[str, Any]]:
        lines = ((run or self.last) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def record(self, run: Path | None = None) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(((run or self.last) / "run.json").read_text())
        return record


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Shell(folder, tmp_path / "outputs")


@pytest.fixture
def project(tmp_path: Path) -> Shell:
    """A shell in the folder of the user's own project."""
    return Shell(OWN_PROJECT, tmp_path / "outputs")
