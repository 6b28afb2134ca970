"""The contract of a loss, by which accumulation, processes and evaluation all divide by the same count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainer_cli.config.errors import Misfit, UserError

Outputs = Mapping[str, Tensor]
IGNORED = -100
NUMBERS = "labels are class numbers from 0 (int64), or numbers to be predicted (float32)"


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
        logits, labels = returned(outputs, "logits", "metrics={} scores by the loss alone"), batch["labels"]
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
        return len(next(iter(batch.values())))
    if not isinstance(labels, Tensor):
        first = labels[0] if isinstance(labels, Sequence) and labels else labels
        raise Misfit(f"labels is a {type(first).__name__}, {first!r}, and no tensor", right=NUMBERS)
    if labels.is_floating_point():
        return labels.shape[0]
    if shift_labels:
        labels = labels[:, 1:]
    return int((whole(labels) != IGNORED).sum())


def whole(labels: Tensor) -> Tensor:
    """Integer or boolean labels as int64: in uint8, 156 would be -100."""
    return labels.long()


def of_classes(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Integer labels of any width as int64, in the shape that the logits have without their classes.

    Raises UserError unless they fit; a last dimension of 1 is left out.
    """
    shape = logits.shape[:-1]
    if not labels.is_floating_point() and labels.shape in (shape, (*shape, 1)):
        return whole(labels).reshape(shape)
    wanted = f"{type(loss).__name__} takes integers {tuple(shape)} for logits {tuple(logits.shape)}"
    right = "int64 class numbers, or floats in the shape of the logits; loss=mse predicts numbers"
    raise UserError(f"labels are {described(labels)}, and {wanted}", right=right)


def of_numbers(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Logits in the shape of the labels; raises UserError unless only a last dimension of 1 differs."""
    if labels.shape in (logits.shape, (*logits.shape, 1)) or logits.shape == (*labels.shape, 1):
        return logits.reshape(labels.shape)
    raise UserError(
        f"labels are {described(labels)}, and {type(loss).__name__} takes as many numbers as the model gives:"
        f" logits {tuple(logits.shape)}",
        right="a model that gives a number for each label; loss=cross_entropy is for class numbers",
    )


def check_range(labels: Tensor, classes: int) -> None:
    """Raise Misfit, with its row, unless every integer label is a class or ignored; waits for the device."""
    wrong = (labels != IGNORED) & ((labels < 0) | (labels >= classes))
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        label = int(labels[wrong][0])
        raise Misfit(
            f"labels has {label}, and the model gives {classes} classes, 0 to {classes - 1}",
            right=f"{IGNORED} marks what is not scored; the model's head needs a class for each label",
            row=row,
        )


def described(tensor: Tensor) -> str:
    """Type and shape of a tensor."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


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
        if name in outputs and outputs[name] is not None:
            what = f"a {type(outputs[name]).__name__} as {name}"
    raise UserError(f"the loss needs a dict with {name} from the model, which returns {what}", right=right)
