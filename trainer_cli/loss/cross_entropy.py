"""Cross-entropy over the model's logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer_cli.config.errors import Misfit, UserError
from trainer_cli.config.types import Ge, Le
from trainer_cli.loss.base import (
    IGNORED,
    Loss,
    Outputs,
    at_least_float32,
    check_range,
    count_labels,
    of_classes,
    returned,
)

OTHERWISE = "loss=model takes the loss that the model returns"


class CrossEntropy(Loss):
    """Cross-entropy of logits (..., classes) against integer labels (...), of which -100 is ignored.

    Labels may be class probabilities instead: floats in the shape of the logits.

    Args:
        label_smoothing: Share of the target that is spread over all classes (Szegedy et al., 2016).
        class_weights: A weight for each class, by which its items' losses are multiplied; null: all 1.
        shift_labels: Whether position t is scored against label t+1, as causal language models do.
    """

    def __init__(
        self,
        label_smoothing: Annotated[float, Ge(0), Le(1)],
        class_weights: Sequence[float] | None,
        shift_labels: bool,
    ) -> None:
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else torch.tensor(list(class_weights))
        if self.class_weights is not None and not (self.class_weights >= 0).all():
            raise UserError(f"loss.class_weights has {min(class_weights or [0])}, and a weight is 0 or more")
        self.shift_labels = shift_labels

    def count(self, batch: Mapping[str, Tensor]) -> int:
        labels = batch.get("labels")
        if not isinstance(labels, Tensor) or not labels.is_floating_point() or labels.ndim < 2:
            return count_labels(batch, self.shift_labels)
        check_probabilities(labels)
        return (labels[:, 1:] if self.shift_labels else labels).shape[:-1].numel()

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        labels = batch["labels"]
        outputs = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        logits = at_least_float32(returned(outputs, "logits", OTHERWISE))
        labels = self._targets(logits, labels)
        if self.shift_labels:
            logits, labels = logits[:, :-1], labels[:, 1:]
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        logits = logits.flatten(0, -2)
        labels = labels.to(logits).flatten(0, -2) if labels.is_floating_point() else labels.flatten()
        try:
            loss = functional.cross_entropy(
                logits,
                labels,
                weight=weights,
                ignore_index=IGNORED,
                reduction="sum",
                label_smoothing=self.label_smoothing,
            )
        except IndexError:
            check_range(
                self._targets(returned(outputs, "logits", OTHERWISE), batch["labels"]), logits.shape[-1]
            )
            raise
        return loss, outputs

    def scored(self, outputs: Outputs, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As of any loss; of probabilities the class that is the most likely."""
        logits = returned(outputs, "logits", OTHERWISE)
        labels = self._targets(logits, batch["labels"])
        labels = labels.argmax(dim=-1) if labels.is_floating_point() else labels
        return super().scored(outputs, {**batch, "labels": labels})

    def _targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Labels as int64, or as probabilities; raises UserError for what is neither."""
        classes = logits.shape[-1] if logits.ndim > 1 else 1
        if classes < 2:
            raise UserError(
                f"the model gives logits {tuple(logits.shape)}, and over one class CrossEntropy is always 0",
                right="loss=mse predicts a number; a head of two outputs or more tells classes apart",
            )
        weights = classes if self.class_weights is None else len(self.class_weights)
        if weights != classes:
            raise UserError(
                f"loss.class_weights has {weights} weights, and the model gives {classes} classes",
                right="a weight for each class, in the order of the class numbers",
            )
        if labels.is_floating_point() and labels.shape == logits.shape:
            return labels
        return of_classes(self, logits, labels)


def check_probabilities(labels: Tensor) -> None:
    """Raise Misfit, with its row, unless the last dimension has numbers from 0 that add up to 1."""
    sums = labels.sum(dim=-1, dtype=torch.float32)
    wrong = ((sums - 1).abs() > 1e-2) | (labels < 0).any(dim=-1)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        found = [round(value, 4) for value in labels[wrong][0].tolist()]
        raise Misfit(
            f"labels has {found}, and probabilities of classes are 0 or more and add up to 1",
            right="several classes a row: loss=elementwise loss.function._target_=torch.nn.BCEWithLogitsLoss",
            row=row,
        )
