"""Cross-entropy over the model's logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer_cli.loss.base import IGNORED, Loss, Outputs, at_least_float32, count_labels, returned

OTHERWISE = "loss=model takes the loss that the model returns"


class CrossEntropy(Loss):
    """Cross-entropy of logits (..., classes) against integer labels (...); label -100 is ignored.

    Args:
        label_smoothing: Share of the target that is spread over all classes (Szegedy et al., 2016).
        class_weights: A weight for each class, by which its items' losses are multiplied; null: all 1.
        shift_labels: Whether position t is scored against label t+1, as causal language models do.
    """

    def __init__(
        self, label_smoothing: float, class_weights: Sequence[float] | None, shift_labels: bool
    ) -> None:
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else torch.tensor(list(class_weights))
        self.shift_labels = shift_labels

    def count(self, batch: Mapping[str, Tensor]) -> int:
        return count_labels(batch, self.shift_labels)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        labels = batch["labels"]
        outputs = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        logits = at_least_float32(returned(outputs, "logits", OTHERWISE))
        if self.shift_labels:
            logits, labels = logits[:, :-1], labels[:, 1:]
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        loss = functional.cross_entropy(
            logits.flatten(0, -2),
            labels.flatten(),
            weight=weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return loss, outputs
