"""Scores of classes, from the confusion matrix."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from trainer_cli.metrics.base import Metric

IGNORED = -100


class ConfusionMetric(Metric):
    """A score that the confusion matrix determines: counts of (label, prediction), classes as they come."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.matrix = torch.zeros(0, 0, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        classes = logits.shape[-1]
        predicted, labels = logits.argmax(dim=-1).flatten(), labels.flatten()
        kept = labels != IGNORED
        pairs = labels[kept] * classes + predicted[kept]
        counts = torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        self.matrix = counts if self.matrix.numel() == 0 else self.matrix + counts

    def state(self) -> Tensor:
        return self.matrix.cpu().double()

    def compute(self, states: list[Tensor]) -> float:
        seen = [state for state in states if state.numel()]
        return self.score(torch.stack(seen).sum(dim=0)) if seen else math.nan

    @abstractmethod
    def score(self, matrix: Tensor) -> float:
        """The score of a float64 confusion matrix, rows labels, columns predictions."""


class Accuracy(ConfusionMetric):
    """Share of predictions that are right."""

    def score(self, matrix: Tensor) -> float:
        return float(matrix.diagonal().sum() / matrix.sum())


class F1(ConfusionMetric):
    """Harmonic mean of precision and recall: of class 1 where there are two, else the classes' plain mean."""

    def score(self, matrix: Tensor) -> float:
        right = matrix.diagonal()
        marked = matrix.sum(dim=0) + matrix.sum(dim=1)
        scores = torch.where(marked > 0, 2 * right / marked, 0.0)
        # A class that is neither a label nor a prediction has no part in the mean, as in scikit-learn.
        return float(scores[1] if len(scores) == 2 else scores[marked > 0].mean())


class MatthewsCorrelation(ConfusionMetric):
    """Correlation of labels and predictions (Gorodkin, 2004, for several classes); 0 if one is constant."""

    def score(self, matrix: Tensor) -> float:
        total, right = matrix.sum(), matrix.trace()
        predicted, labelled = matrix.sum(dim=0), matrix.sum(dim=1)
        covariance = right * total - predicted @ labelled
        spread = (total**2 - predicted @ predicted) * (total**2 - labelled @ labelled)
        return float(covariance / spread.sqrt()) if spread > 0 else 0.0
