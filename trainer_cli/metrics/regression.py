"""Errors of predicted numbers; of several numbers a row, the plain mean over them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics.base import Metric


def numbers(metric: Metric, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and labels, (rows, outputs), in float64 on the CPU; raises UserError if they do not fit."""
    rows = len(labels)
    if logits.numel() != labels.numel() or len(logits) != rows:
        raise UserError(
            f"{type(metric).__name__} scores numbers, and here the model gives {tuple(logits.shape)} for"
            f" labels {tuple(labels.shape)}",
            right="metrics of classes for a classification, as metrics=classification has them",
        )
    width = labels.numel() // max(rows, 1)
    return logits.reshape(rows, width).cpu().double(), labels.reshape(rows, width).cpu().double()


class ErrorMetric(Metric):
    """A mean over the rows; the state is (outputs, 2), the sum of each output's errors and the rows."""

    greater_is_better: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sums = torch.zeros(0, 2, dtype=torch.float64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        predicted, labels = numbers(self, logits, labels)
        total = self.error(predicted - labels).sum(dim=0)
        sums = torch.stack([total, torch.full_like(total, len(labels))], dim=1)
        self.sums = self.sums + sums if len(self.sums) else sums

    def state(self) -> Tensor:
        return self.sums

    def compute(self, states: list[Tensor]) -> float:
        seen = [state for state in states if len(state)]
        if not seen:
            return math.nan
        total, rows = torch.stack(seen).sum(dim=0).T
        return float(self.score(total / rows).mean())

    @abstractmethod
    def error(self, difference: Tensor) -> Tensor:
        """What a difference of prediction and label counts for."""

    def score(self, mean: Tensor) -> Tensor:
        """The score that the mean error gives, output by output."""
        return mean


class MeanSquaredError(ErrorMetric):
    """Mean of the squared differences."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.square()


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean squared difference."""

    def score(self, mean: Tensor) -> Tensor:
        return mean.sqrt()


class MeanAbsoluteError(ErrorMetric):
    """Mean of the differences without their sign."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.abs()


class R2(Metric):
    """Share of the labels' variance that is explained; of constant labels 1 if all is right, else 0.

    The state is (outputs, 4): count, mean and summed squares of the labels, merged pairwise (Chan, Golub and
    LeVeque, 1983), and the summed squares of the errors.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.moments = torch.zeros(0, 4, dtype=torch.float64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        predicted, labels = numbers(self, logits, labels)
        # Seen from the first label, equal ones have a mean and a spread without rounding.
        mean = labels[0] + (labels - labels[0]).mean(dim=0)
        squares = (labels - mean).square().sum(dim=0)
        errors = (predicted - labels).square().sum(dim=0)
        count = torch.full_like(mean, len(labels))
        batch = torch.stack([count, mean, squares, errors], dim=1)
        self.moments = merge(self.moments, batch) if len(self.moments) else batch

    def state(self) -> Tensor:
        return self.moments

    def compute(self, states: list[Tensor]) -> float:
        seen = [state for state in states if len(state)]
        if not seen:
            return math.nan
        moments = seen[0]
        for state in seen[1:]:
            moments = merge(moments, state)
        counts, _, squares, errors = moments.T
        if counts[0] < 2:
            return math.nan
        unvaried = torch.where(errors == 0, 1.0, errors * 0)  # 0, and NaN where the errors are
        return float(torch.where(squares > 0, 1 - errors / squares, unvaried).mean())


def merge(left: Tensor, right: Tensor) -> Tensor:
    """Moments (outputs, 4) as `R2` has them, of two samples taken together."""
    count = left[:, 0] + right[:, 0]
    gap = right[:, 1] - left[:, 1]
    mean = left[:, 1] + gap * right[:, 0] / count
    between = gap.square() * left[:, 0] * right[:, 0] / count
    return torch.stack([count, mean, left[:, 2] + right[:, 2] + between, left[:, 3] + right[:, 3]], dim=1)
