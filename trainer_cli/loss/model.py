"""The loss that the model itself returns."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from trainer_cli.loss.base import Loss, Outputs, at_least_float32, count_labels, returned

OTHERWISE = "loss=cross_entropy, or loss=mse for a regression, is computed from logits"


class ModelLoss(Loss):
    """The model's own `loss`, a mean over the items of the batch, made a sum again.

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
        # Without items the model's mean is 0/0; its sum is nothing.
        return (loss * count if count else loss.nan_to_num() * 0), outputs
