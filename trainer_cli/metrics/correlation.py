"""Correlations of a single output with float labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics.base import Metric
from trainer_cli.metrics.regression import numbers


def predicted_values(metric: Metric, logits: Tensor, labels: Tensor) -> Tensor:
    """Prediction and label of each row, (rows, 2), in float64 on the CPU; raises UserError for several."""
    predicted, labels = numbers(metric, logits, labels)
    if labels.shape[1] != 1:
        raise UserError(
            f"{type(metric).__name__} is a correlation of one number a row, and the model gives"
            f" {labels.shape[1]}",
            right="MeanSquaredError, MeanAbsoluteError and R2 take several",
        )
    return torch.cat([predicted, labels], dim=1)


class Pearson(Metric):
    """Pearson's correlation from running moments, merged pairwise (Chan, Golub and LeVeque, 1983)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.moments = torch.zeros(6, dtype=torch.float64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        values = predicted_values(self, logits, labels)
        mean = values.mean(dim=0)
        centred = values - mean
        squares = centred.T @ centred
        batch = torch.stack(
            [torch.tensor(float(len(values))), mean[0], mean[1], squares[0, 0], squares[1, 1], squares[0, 1]]
        )
        self.moments = merge(self.moments, batch)

    def state(self) -> Tensor:
        return self.moments[None]

    def compute(self, states: list[Tensor]) -> float:
        moments = torch.zeros(6, dtype=torch.float64)
        for state in states:
            moments = merge(moments, state[0])
        spread = float((moments[3] * moments[4]).sqrt())
        return float(moments[5]) / spread if spread > 0 else math.nan


def merge(left: Tensor, right: Tensor) -> Tensor:
    """Moments (count, two means, two sums of squares, sum of products) of two samples taken together."""
    count = left[0] + right[0]
    if count == 0:
        return left
    gap = right[1:3] - left[1:3]
    weight = left[0] * right[0] / count
    means = left[1:3] + gap * right[0] / count
    products = torch.stack([gap[0] * gap[0], gap[1] * gap[1], gap[0] * gap[1]])
    return torch.cat([count[None], means, left[3:] + right[3:] + products * weight])


class Spearman(Metric):
    """Pearson's correlation of ranks; ties share their mean rank. Ranks need every row: 16 bytes each."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.rows: list[Tensor] = []

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        self.rows.append(predicted_values(self, logits, labels))

    def state(self) -> Tensor:
        return torch.cat(self.rows) if self.rows else torch.zeros(0, 2, dtype=torch.float64)

    def compute(self, states: list[Tensor]) -> float:
        rows = torch.cat(states)
        if len(rows) < 2 or rows.isnan().any():
            return math.nan
        pearson = Pearson()
        ranks = torch.stack([mean_ranks(rows[:, 0]), mean_ranks(rows[:, 1])])
        pearson.update(ranks[0], ranks[1], torch.tensor(0.0), 0)
        return pearson.compute([pearson.state()])


def mean_ranks(values: Tensor) -> Tensor:
    """Rank of each value, in float64; equal values get the mean of the ranks that they cover."""
    _, group, sizes = torch.unique(values, return_inverse=True, return_counts=True)
    last = sizes.cumsum(dim=0).double()
    ranks: Tensor = last - (sizes.double() - 1) / 2
    return ranks[group]
