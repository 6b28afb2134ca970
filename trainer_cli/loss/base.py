"""The contract of a loss, by which accumulation, processes and evaluation all divide by the same count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer_cli.config.errors import UserError

Outputs = Mapping[str, Tensor]
IGNORED = -100


class Loss(ABC):
    """A sum over items, and how many items there are; who calls divides, once, by the global count.

    With `shift_labels`, position t is scored against label t+1, as causal language models are.
    """

    shift_labels: bool = False

    @abstractmethod
    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Items that a batch (still on the CPU) contributes to the mean."""

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        """Run the model; the scalar sum of the items' losses, and what the model returned.

        `count` is what `count` gave for the batch before it went to the device: counting again there would
        wait for it.
        """

    def scored(self, outputs: Outputs, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and the labels that they are scored against, position by position."""
        logits, labels = outputs["logits"], batch["labels"]
        return (logits[:, :-1], labels[:, 1:]) if self.shift_labels else (logits, labels)


def named_losses(outputs: Outputs) -> dict[str, Tensor]:
    """What else a model or loss returned as a loss: scalars, means over the batch, named `..._loss`."""
    return {
        name: at_least_float32(value)
        for name, value in outputs.items()
        if name.endswith("_loss") and isinstance(value, Tensor) and value.ndim == 0
    }


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


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in fp32 where it is in less: a sum of many small losses needs the digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def returned(outputs: Any, name: str, right: str) -> Tensor:
    """What the model returned by this name; raises UserError, saying what would be `right`, if nothing."""
    if not isinstance(outputs, Mapping):
        what = f"a {type(outputs).__name__}"
    elif isinstance(tensor := outputs.get(name), Tensor):
        return tensor
    else:
        there = [key for key, value in outputs.items() if isinstance(value, Tensor)]
        what = ", ".join(there) or "one without tensors"
    raise UserError(f"the loss needs a dict with {name} from the model, which returns {what}", right=right)
