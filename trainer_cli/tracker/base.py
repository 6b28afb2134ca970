"""The contract of a tracker."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from trainer_cli.config.errors import missing_extra

Status = Literal["finished", "pruned", "preempted", "failed", "diverged"]
"""How a run ends, as run.json has it."""


class Tracker(ABC):
    """Takes rows of numbers; only the main process has trackers.

    All but metrics.jsonl are called on a thread of their own (background.py), where they may take their time
    and fail. `timeout` is how many seconds the end of the run waits for what is still to be sent.
    """

    timeout: float = 30.0

    @abstractmethod
    def start(self, run_dir: Path, step: int, rows: int) -> None:
        """Begin, or go on after `step` updates and `rows` rows: those that came later will come again.

        It comes a second time where a run goes back to a checkpoint.
        """

    @abstractmethod
    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row; it has `step`, `epoch` and named numbers."""

    @abstractmethod
    def close(self, status: Status = "finished") -> None:
        """Write what is still held; nothing comes after it."""


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The row's numbers by name, less its step; those that are not finite among them."""
    return {
        name: value
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


class Once:
    """Lets each number through once a step; `there` are those, by name and step, that were before."""

    def __init__(self, there: Iterable[tuple[str, int]] = ()) -> None:
        self.there = frozenset(there)
        self.step = -1
        self.names: set[str] = set()

    def new(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Those of the row's numbers that its step lacks: an evaluation's row has its epoch again."""
        if row["step"] != self.step:
            self.step, self.names = row["step"], set()
        missing = {
            name: value
            for name, value in numbers(row).items()
            if name not in self.names and (name, self.step) not in self.there
        }
        self.names |= missing.keys()
        return missing


def finite(row: Mapping[str, Any]) -> dict[str, float]:
    """The row's finite numbers by name, less its step."""
    return {name: value for name, value in numbers(row).items() if math.isfinite(value)}


def installed(module: str, extra: str) -> Any:
    """The module of a package that a tracker needs; raises UserError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or module, extra) from error
