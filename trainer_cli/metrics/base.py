"""The contract of a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Metric(ABC):
    """Fed batch by batch; holds a small state, not the predictions; all processes' states make the score."""

    greater_is_better: ClassVar[bool] = True

    @abstractmethod
    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        """Take in a batch: what the model returned, its labels, the sum of its losses and their count."""

    @abstractmethod
    def state(self) -> Tensor:
        """What was seen since `reset`, on the CPU, in float64; shapes may differ in the first dimension."""

    @abstractmethod
    def compute(self, states: list[Tensor]) -> float:
        """The score of what all processes saw; NaN where it is not defined."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what was seen."""
