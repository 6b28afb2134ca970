"""Squared error of the model's logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from trainer_cli.loss.base import (
    IGNORED,
    Loss,
    Outputs,
    at_least_float32,
    count_labels,
    of_numbers,
    returned,
    whole,
)

OTHERWISE = "loss=model takes the loss that the model returns"


class MeanSquaredError(Loss):
    """Squared error of logits against labels of the same shape (a last dimension of 1 may lack).

    An item is a row: its outputs are averaged. Integer labels of -100 are left out.
    """

    def count(self, batch: Mapping[str, Tensor]) -> int:
        labels = batch.get("labels")
        if not isinstance(labels, Tensor) or labels.is_floating_point():
            return count_labels(batch, shift_labels=False)
        return int((whole(labels) != IGNORED).view(len(labels), -1).any(dim=1).sum())

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        labels = batch["labels"]
        outputs = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        logits = of_numbers(self, at_least_float32(returned(outputs, "logits", OTHERWISE)), labels)
        logits, labels = logits.reshape(len(labels), -1), labels.reshape(len(labels), -1)
        if labels.is_floating_point():
            return (logits - labels).square().mean(dim=1).sum(), outputs
        kept = whole(labels) != IGNORED
        squares = (logits - labels.to(logits)).square().where(kept, 0)
        return (squares.sum(dim=1) / kept.sum(dim=1).clamp(min=1)).sum(), outputs
