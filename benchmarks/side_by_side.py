"""Two measurements in turn, A B A B, so that a machine's moods fall on both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure that was asked for, and its values as they were measured pair by pair."""

    name: str
    asked: str
    values: list[float]

    def line(self) -> str:
        """The median and the spread, beside what was asked for."""
        spread = f"{min(self.values):.3f} to {max(self.values):.3f} over {len(self.values)}"
        return f"{self.name:<58} {statistics.median(self.values):>7.3f}  asked {self.asked:<8}  {spread}"


def ratios(first: Callable[[], float], second: Callable[[], float], pairs: int) -> list[float]:
    """`first() / second()` for each of so many pairs."""
    return [first() / second() for _ in range(pairs)]
