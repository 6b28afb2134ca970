"""Scores of classes, from three counts of each class: how often it was right, predicted, and the label."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from trainer_cli.metrics.base import Metric

IGNORED = -100


class ClassCountMetric(Metric):
    """A score that the counts of each class determine; the state is (classes, 3), not (classes, classes)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.counts = torch.zeros(3, 0, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        classes = logits.shape[-1]
        predicted, labels = logits.argmax(dim=-1).flatten(), labels.flatten()
        kept = labels != IGNORED
        predicted, labels = predicted[kept], labels[kept]
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


class F1(ClassCountMetric):
    """Harmonic mean of precision and recall: of class 1 where there are two, else the classes' plain mean."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        marked = predicted + labelled
        scores = torch.where(marked > 0, 2 * right / marked, 0.0)
        # A class that is neither a label nor a prediction has no part in the mean, as in scikit-learn.
        return float(scores[1] if len(scores) == 2 else scores[marked > 0].mean())


class MatthewsCorrelation(ClassCountMetric):
    """Correlation of labels and predictions (Gorodkin, 2004, for several classes); 0 if one is constant."""

    def score(self, right: Tensor, predicted: Tensor, labelled: Tensor) -> float:
        total = labelled.sum()
        covariance = right.sum() * total - predicted @ labelled
        spread = (total**2 - predicted @ predicted) * (total**2 - labelled @ labelled)
        return float(covariance / spread.sqrt()) if spread > 0 else 0.0
