"""Scores of classes, from three counts of each class: how often it was right, predicted, and the label."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics.base import Metric

IGNORED = -100

Average = Literal["binary", "macro", "micro", "weighted"]


def check_classes(metric: Metric, logits: Tensor, labels: Tensor) -> None:
    """Raise UserError unless there are logits (..., classes) for labels (...)."""
    if labels.is_floating_point() or logits.ndim != labels.ndim + 1:
        raise UserError(
            f"{type(metric).__name__} scores classes, and here the model gives {tuple(logits.shape)} for"
            f" labels {tuple(labels.shape)} in {str(labels.dtype).removeprefix('torch.')}",
            right="metrics of numbers for a regression, as metrics=regression has them",
        )


def scored_classes(metric: Metric, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (items, classes) and labels (items,) of what has a label."""
    check_classes(metric, logits, labels)
    kept = labels != IGNORED
    return logits[kept], labels[kept]


class ClassCountMetric(Metric):
    """A score that the counts of each class determine; the state is (classes, 3), not (classes, classes)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.counts = torch.zeros(3, 0, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        classes = logits.shape[-1]
        check_classes(self, logits, labels)
        kept = labels != IGNORED
        # Not the logits of what is kept: a copy of those of a whole vocabulary is large.
        predicted, labels = logits.argmax(dim=-1)[kept], labels[kept]
        right = labels[predicted == labels]
        counts = torch.stack([torch.bincount(seen, minlength=classes) for seen in (right, predicted, labels)])
        self.counts = self.counts + counts if self.counts.numel() else counts

    def state(self) -> Tensor:
        return self.counts.T.cpu().double()

    def compute(self, states: list[Tensor]) -> float:
        seen = [state for state in states if len(state)]
        if not seen:
            return math.nan
        right, predicted, labelled = torch.stack(seen).sum(dim=0).T
        return self.score(right, predicted, labelled) if labelled.sum() else math.nan

    @abstractmethod
    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        """The score of the counts of each class, float64 (classes,)."""


class Accuracy(ClassCountMetric):
    """Share of predictions that are right."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        return float(right.sum() / labelled.sum())


class BalancedAccuracy(ClassCountMetric):
    """Mean over the classes of the share of each class's items that are found."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        there = labelled > 0
        return float((right[there] / labelled[there]).mean())


class AveragedMetric(ClassCountMetric):
    """A score of each class, and how one number is made of them."""

    def __init__(self, average: Average | None = None) -> None:
        """Take how one number is made of all classes' scores.

        Args:
            average: binary: of class 1 of two; macro: the classes' plain mean; weighted: their mean by the
                number of labels; micro: of all classes' counts together; null: binary for two classes, else
                macro.
        """
        self.average = average
        super().__init__()

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        average = self.average or ("binary" if len(labelled) == 2 else "macro")
        if average == "micro":
            return float(self.ratio(right.sum(), predicted.sum(), labelled.sum()))
        scores = self.ratio(right, predicted, labelled)
        if average == "weighted":
            return float(scores @ labelled / labelled.sum())
        if average == "macro":
            # A class that is neither a label nor a prediction has no part in the mean, as in scikit-learn.
            return float(scores[predicted + labelled > 0].mean())
        if len(scores) != 2:
            raise UserError(
                f"{type(self).__name__}: average=binary is for two classes, and the model has {len(scores)}",
                right="average=macro, micro or weighted",
            )
        return float(scores[1])

    @abstractmethod
    def ratio(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> Tensor:
        """The score that these counts give, element by element; 0 where it would be 0/0."""


class Precision(AveragedMetric):
    """Share of a class's predictions that are right."""

    def ratio(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> Tensor:
        return right / predicted.clamp(min=1)


class Recall(AveragedMetric):
    """Share of a class's items that are found."""

    def ratio(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> Tensor:
        return right / labelled.clamp(min=1)


class F1(AveragedMetric):
    """Harmonic mean of precision and recall."""

    def ratio(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> Tensor:
        return 2 * right / (predicted + labelled).clamp(min=1)


class MatthewsCorrelation(ClassCountMetric):
    """Correlation of labels and predictions (Gorodkin, 2004, for several classes); 0 if one is constant."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        total = labelled.sum()
        covariance = right.sum() * total - predicted @ labelled
        spread = (total**2 - predicted @ predicted) * (total**2 - labelled @ labelled)
        return float(covariance / spread.sqrt()) if spread > 0 else 0.0


class CohenKappa(ClassCountMetric):
    """Agreement of labels and predictions beyond chance (Cohen, 1960); NaN if all is of one class."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        total = labelled.sum()
        by_chance = predicted @ labelled / total
        return float((right.sum() - by_chance) / (total - by_chance)) if by_chance < total else math.nan
