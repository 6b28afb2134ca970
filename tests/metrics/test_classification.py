"""Scores of classes, against scikit-learn's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics import (
    F1,
    Accuracy,
    BalancedAccuracy,
    CohenKappa,
    MatthewsCorrelation,
    Precision,
    Recall,
)
from trainer_cli.metrics.classification import Average, AveragedMetric, ClassCountMetric

ZERO = torch.tensor(0.0)
REFERENCES: dict[type[ClassCountMetric], Callable[[Tensor, Tensor], Any]] = {
    Accuracy: sklearn.accuracy_score,
    BalancedAccuracy: sklearn.balanced_accuracy_score,
    MatthewsCorrelation: sklearn.matthews_corrcoef,
    CohenKappa: sklearn.cohen_kappa_score,
}
AVERAGED: dict[type[AveragedMetric], Callable[..., Any]] = {
    Precision: sklearn.precision_score,
    Recall: sklearn.recall_score,
    F1: sklearn.f1_score,
}
AVERAGES: list[Average] = ["binary", "macro", "micro", "weighted"]


def score(
    metric: Callable[[], ClassCountMetric], parts: list[tuple[Tensor, Tensor]], processes: int
) -> float:
    """Fed in batches that the processes take in turn, then put together from their states."""
    own = [metric() for _ in range(processes)]
    for number, (logits, labels) in enumerate(parts):
        own[number % processes].update(logits, labels, ZERO, len(labels))
    return own[0].compute([part.state() for part in own])


def logits_of(predicted: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(predicted, classes).float() + 0.25


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[int, Tensor, Tensor]:
    classes = draw(st.integers(2, 4))
    pairs = draw(
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=40)
    )
    labels, predicted = torch.tensor(pairs).T
    return classes, labels, predicted


def split(outcome: tuple[int, Tensor, Tensor], batch: int) -> list[tuple[Tensor, Tensor]]:
    classes, labels, predicted = outcome
    return list(zip(logits_of(predicted, classes).split(batch), labels.split(batch), strict=True))


def quietly(reference: Callable[..., Any], *values: Any, **options: Any) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on a single class, and on 0/0
        return float(reference(*values, **options))


@pytest.mark.parametrize("metric", REFERENCES)
@given(outcome=outcomes(), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_any_split_over_batches_and_processes_gives_scikit_learns_score(
    metric: type[ClassCountMetric], outcome: tuple[int, Tensor, Tensor], batch: int, processes: int
) -> None:
    _, labels, predicted = outcome
    expected = quietly(REFERENCES[metric], labels, predicted)
    assert score(metric, split(outcome, batch), processes) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("metric", AVERAGED)
@given(outcome=outcomes(), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_every_average_is_scikit_learns(
    metric: type[AveragedMetric],
    average: Average,
    outcome: tuple[int, Tensor, Tensor],
    batch: int,
    processes: int,
) -> None:
    classes, labels, predicted = outcome
    assume(classes == 2 or average != "binary")
    expected = quietly(AVERAGED[metric], labels, predicted, average=average, zero_division=0.0)
    own = score(lambda: metric(average), split(outcome, batch), processes)
    assert own == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", AVERAGED)
@given(outcome=outcomes())
def test_without_a_choice_it_is_class_1_of_two_and_else_the_mean(
    metric: type[AveragedMetric], outcome: tuple[int, Tensor, Tensor]
) -> None:
    average: Average = "binary" if outcome[0] == 2 else "macro"
    parts = split(outcome, 7)
    assert score(metric, parts, 1) == score(lambda: metric(average), parts, 1)


@pytest.mark.parametrize("metric", AVERAGED)
def test_there_is_no_class_1_of_three(metric: type[AveragedMetric]) -> None:
    labels = torch.tensor([0, 1, 2])
    with pytest.raises(UserError, match="average=binary is for two classes, and the model has 3"):
        score(lambda: metric("binary"), [(logits_of(labels, 3), labels)], 1)


def test_items_of_one_class_that_are_all_found() -> None:
    nothing_else = [(logits_of(torch.tensor([1, 1]), 2), torch.tensor([1, 1]))]
    found: dict[type[ClassCountMetric], float]
    found = {Accuracy: 1, BalancedAccuracy: 1, MatthewsCorrelation: 0, F1: 1}
    for metric, expected in found.items():
        assert score(metric, nothing_else, 2) == expected
    assert math.isnan(score(CohenKappa, nothing_else, 2))


def test_the_state_does_not_grow_with_the_rows() -> None:
    part = Accuracy()
    for _ in range(10):
        part.update(logits_of(torch.tensor([0, 1, 2]), 3), torch.tensor([0, 1, 1]), ZERO, 3)
    assert part.state().shape == (3, 3)
