"""Any function that gives a loss for each label, such as those of torch.nn without a reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.loss.base import (
    IGNORED,
    Loss,
    Outputs,
    at_least_float32,
    check_range,
    count_labels,
    of_classes,
    of_numbers,
    returned,
    whole,
)

OTHERWISE = "loss=model takes the loss that the model returns"


class Elementwise(Loss):
    """The sum of what `function(logits, labels)` gives for each item; an item's several values are averaged.

    Integer labels of -100 are left out: the function sees only the others, flat. They are classes (int64)
    where the logits have one dimension more, else numbers. A last dimension of 1 may lack on either side.

    Args:
        function: Callable that gives a loss a label (reduction="none"), such as torch.nn.HuberLoss.
        shift_labels: Whether position t is scored against label t+1, as causal language models do.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], shift_labels: bool) -> None:
        self.function = function
        self.shift_labels = shift_labels

    def count(self, batch: Mapping[str, Tensor]) -> int:
        return count_labels(batch, self.shift_labels)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        outputs = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        logits, labels = self.scored({"logits": returned(outputs, "logits", OTHERWISE)}, batch)
        logits = at_least_float32(logits)
        if labels.is_floating_point():
            logits = of_numbers(self, logits, labels)
        else:
            classes = logits.ndim > 1 and logits.shape[-1] > 1 and labels.shape != logits.shape
            if classes:
                labels = of_classes(self, logits, labels)
            else:
                logits, labels = of_numbers(self, logits, labels), whole(labels)
            kept = labels != IGNORED
            logits, labels = logits[kept], labels[kept]
            if not classes:
                labels = labels.to(logits)
        try:
            losses = self.function(logits, labels)
        except IndexError:
            check_range(self.scored(outputs, batch)[1], outputs["logits"].shape[-1])
            raise
        if losses.ndim == 0 or losses.shape != labels.shape[: losses.ndim]:
            raise UserError(
                f"loss.function gives a loss of shape {tuple(losses.shape)} for {len(labels)} labels",
                right="a function that gives one for each, such as loss.function.reduction=none",
            )
        return losses.flatten(1).mean(dim=1).sum() if losses.ndim > 1 else losses.sum(), outputs
