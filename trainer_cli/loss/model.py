"""The loss that the model itself returns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.loss.base import (
    IGNORED,
    Loss,
    Outputs,
    at_least_float32,
    count_labels,
    returned,
    whole,
)

OTHERWISE = "loss=cross_entropy, or loss=mse for a regression, is computed from logits"


class ModelLoss(Loss):
    """The model's own `loss`: a mean over the items of the batch, which is made a sum again, or one for each.

    Args:
        shift_labels: Whether position t is scored against label t+1, as causal language models do.
    """

    def __init__(self, shift_labels: bool) -> None:
        self.shift_labels = shift_labels

    def count(self, batch: Mapping[str, Tensor]) -> int:
        return count_labels(batch, self.shift_labels)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        outputs = model(**batch)
        loss = at_least_float32(returned(outputs, "loss", OTHERWISE))
        if loss.ndim:
            if loss.numel() > 1:
                return self._sum(loss, batch), outputs
            loss = loss.view(())
        # Without items the model's mean is 0/0; its sum is nothing.
        return (loss * count if count else loss.nan_to_num() * 0), outputs

    def _sum(self, loss: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Sum over the items of a loss for each of them; raises UserError where it is none."""
        labels = batch.get("labels")
        if labels is None or labels.is_floating_point():
            items = torch.Size([len(next(iter(batch.values())))])
            if loss.shape == items:
                return loss.sum()
        else:
            labels = whole(labels[:, 1:] if self.shift_labels else labels)
            items = labels.shape
            if loss.shape in (items, (items.numel(),)):
                return loss.view(items).where(labels != IGNORED, 0).sum()
        raise UserError(
            f"the model's loss has shape {tuple(loss.shape)}, and a loss is one number, the mean over the"
            f" batch, or one for each item, {tuple(items)}",
            right="return loss.mean() in the model's forward",
        )
