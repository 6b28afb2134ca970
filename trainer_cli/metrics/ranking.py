"""Scores of classes that need more of the logits than which of them is the largest."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

import torch
from torch import Tensor

from trainer_cli.config.types import Ge
from trainer_cli.metrics.base import Metric
from trainer_cli.metrics.classification import scored_classes
from trainer_cli.metrics.correlation import mean_ranks


class TopKAccuracy(Metric):
    """Share of items whose label is among the k classes with the largest logits; of equal ones the first.

    Args:
        k: Classes that may be named.
    """

    def __init__(self, k: Annotated[int, Ge(1)] = 5) -> None:
        self.k = k
        self.reset()

    def reset(self) -> None:
        self.found: list[Tensor] = []
        self.seen = 0

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        logits, labels = scored_classes(self, logits, labels)
        labels = labels[:, None]
        own = logits.gather(1, labels)
        earlier = torch.arange(logits.shape[1], device=logits.device) < labels
        # Not "larger": a NaN is in front of the label, as it is nowhere behind it.
        ahead = ~(logits <= own) | ((logits == own) & earlier)
        self.found.append((ahead.sum(dim=1) < self.k).sum())
        self.seen += len(labels)

    def state(self) -> Tensor:
        found = int(torch.stack(self.found).sum()) if self.found else 0
        return torch.tensor([[found, self.seen]], dtype=torch.float64)

    def compute(self, states: list[Tensor]) -> float:
        found, seen = torch.cat(states).sum(dim=0).tolist()
        return found / seen if seen else math.nan


class RankedMetric(Metric):
    """A score of how well each class's items are told from the others by their logits.

    Of two classes it is that of class 1, else the plain mean of one class against the rest, over the classes
    that some items have and some have not; NaN where there is none.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.rows: list[Tensor] = []

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        logits, labels = scored_classes(self, logits, labels)
        logits = logits.cpu().double()
        # The difference of two logits orders as the softmax does, without its ties near 0 and 1.
        scores = logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits.log_softmax(dim=1)
        self.rows.append(torch.cat([scores, labels.cpu().double()[:, None]], dim=1))

    def state(self) -> Tensor:
        if not self.rows:
            return torch.zeros(0, dtype=torch.float64)
        # Flat behind its width: a process that saw nothing does not know the number of classes.
        rows = torch.cat(self.rows)
        return torch.cat([torch.tensor([rows.shape[1]], dtype=torch.float64), rows.flatten()])

    def compute(self, states: list[Tensor]) -> float:
        parts = [state[1:].view(-1, int(state[0])) for state in states if len(state)]
        if not parts:
            return math.nan
        rows = torch.cat(parts)
        scores, labels = rows[:, :-1], rows[:, -1]
        if scores.isnan().any():
            return math.nan
        classes = range(scores.shape[1]) if scores.shape[1] > 1 else [1]
        each = [
            self.score(column, positive)
            for column, positive in zip(scores.T, [labels == number for number in classes], strict=True)
            if positive.any() and not positive.all()
        ]
        return sum(each) / len(each) if each else math.nan

    @abstractmethod
    def score(self, scores: Tensor, positive: Tensor) -> float:
        """The score of telling the positive items from the others; there are some of both."""


class RocAuc(RankedMetric):
    """Area under the ROC curve: how often a random item of the class is scored above one that is not.

    Keeps every item's score: 16 bytes each for two classes, else 8 for each class and 8 for the label.
    """

    def score(self, scores: Tensor, positive: Tensor) -> float:
        count = positive.sum()
        above = mean_ranks(scores)[positive].sum() - count * (count + 1) / 2
        return float(above / (count * (len(positive) - count)))


class AveragePrecision(RankedMetric):
    """Mean precision over the thresholds at which an item of the class is found, without interpolation.

    Keeps every item's score: 16 bytes each for two classes, else 8 for each class and 8 for the label.
    """

    def score(self, scores: Tensor, positive: Tensor) -> float:
        scores, order = scores.sort(descending=True)
        found = positive[order].cumsum(dim=0).double()
        # Equal scores are one threshold, which stands where the last of them does.
        ends = torch.cat([scores[1:] != scores[:-1], torch.tensor([True])]).nonzero()[:, 0]
        found = found[ends]
        gained = found.diff(prepend=torch.zeros(1, dtype=torch.float64))
        return float((gained * found / (ends + 1)).sum() / found[-1])
