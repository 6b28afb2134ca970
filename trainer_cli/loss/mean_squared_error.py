"""Squared error of the model's logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from trainer_cli.loss.base import Loss, Outputs, at_least_float32, count_labels, returned

OTHERWISE = "loss=model takes the loss that the model returns"


class MeanSquaredError(Loss):
    """Squared error of logits against float labels of the same shape (a last dimension of 1 may lack)."""

    def count(self, batch: Mapping[str, Tensor]) -> int:
        return count_labels(batch, shift_labels=False)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        labels = batch["labels"]
        outputs = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        logits = at_least_float32(returned(outputs, "logits", OTHERWISE))
        errors = logits.reshape(labels.shape[0], -1) - labels.reshape(labels.shape[0], -1)
        # An item is a row: several outputs of one row are averaged.
        return errors.square().mean(dim=1).sum(), outputs
