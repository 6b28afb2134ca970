"""A user's project in an empty folder: its own model and data stand in for the built-in ones."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

PARTS = '''
import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from trainer_cli.config.types import Doc, Ge


class Base:
    def __init__(self, width: Annotated[int, Ge(1), Doc("units of a layer")], labels: Any, depth: int = 2):
        """A net."""


class Net(Base):
    """A net of its own.

    Args:
        depth: how many layers
            there are
    """


@dataclass
class Rows:
    """Rows of numbers."""

    rows: int
    order: Literal["up", "down"] = "up"
    path: "str | None" = None


class Open:
    def __init__(self, **options: Any) -> None: ...


def function(a: int, *, b: float = 1.0) -> None: ...
'''


class Project:
    """The current folder of a test, and how to fill it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> Path:
        """Write a file, given without indentation or with the same one on all lines."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty current folder, an empty home."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRAINER_CLI_PATH", raising=False)
    return Project(folder)


@pytest.fixture
def project(empty: Project) -> Project:
    """A project whose model and data are its own, with a recipe."""
    empty.write("parts.py", PARTS)
    empty.write(
        "configs/model/sequence_classification.yaml",
        """
        # A net of one's own.
        _target_: parts.Net
        width: 4
        """,
    )
    empty.write("configs/data/text_classification.yaml", "_target_: parts.Rows\nrows: 10\norder: up\n")
    empty.write(
        "recipes/tuned.yaml",
        """
        # trainer-cli +recipe=tuned
        # Tuned for AdamW.
        # @package _global_
        defaults:
          - override /scheduler: cosine
          - _self_

        optim:
          lr: 1e-4
          weight_decay: 0.1
        args:
          seed: 7
        """,
    )
    return empty
