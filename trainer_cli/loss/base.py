"""The contract of a loss, by which accumulation, processes and evaluation all divide by the same count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

Outputs = Mapping[str, Tensor]
IGNORED = -100


class Loss(ABC):
    """A sum over items, and how many items there are; who calls divides, once, by the global count."""

    @abstractmethod
    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Items that a batch (still on the CPU) contributes to the mean."""

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Outputs]:
        """Run the model; the scalar sum of the items' losses, and what the model returned."""


def count_labels(batch: Mapping[str, Tensor], shift_labels: bool) -> int:
    """Items by the labels: those that are not ignored, or the rows where labels are floats or absent."""
    labels = batch.get("labels")
    if labels is None:
        return next(iter(batch.values())).shape[0]
    if labels.is_floating_point():
        return labels.shape[0]
    if shift_labels:
        labels = labels[:, 1:]
    return int((labels != IGNORED).sum())
