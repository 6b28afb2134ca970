"""The contract of a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tracker(ABC):
    """Takes rows of numbers; only the main process has trackers."""

    @abstractmethod
    def start(self, run_dir: Path, step: int, rows: int) -> None:
        """Begin, or go on after `step` updates and `rows` rows: those that came later will come again."""

    @abstractmethod
    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row; it has `step`, `epoch` and named numbers."""

    @abstractmethod
    def close(self) -> None:
        """Write what is still held."""
