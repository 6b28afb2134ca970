"""Errors of numbers, against scikit-learn's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics import (
    R2,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Pearson,
    RootMeanSquaredError,
    Spearman,
)

ZERO = torch.tensor(0.0)
REFERENCES = {
    MeanSquaredError: sklearn.mean_squared_error,
    RootMeanSquaredError: sklearn.root_mean_squared_error,
    MeanAbsoluteError: sklearn.mean_absolute_error,
    R2: sklearn.r2_score,
}


def score(metric: type[Metric], predicted: Tensor, labels: Tensor, batch: int, processes: int) -> float:
    own = [metric() for _ in range(processes)]
    for number, (some, of_them) in enumerate(zip(predicted.split(batch), labels.split(batch), strict=True)):
        own[number % processes].update(some, of_them, ZERO, len(some))
    return own[0].compute([part.state() for part in own])


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Predictions and labels of few different values, so that some labels are constant."""
    outputs = draw(st.integers(1, 3))
    row = st.lists(st.integers(-5, 5).map(lambda value: value / 4), min_size=outputs, max_size=outputs)
    rows = draw(st.lists(st.tuples(row, row), min_size=2, max_size=30))
    predicted, labels = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    return predicted, labels


@pytest.mark.parametrize("metric", REFERENCES)
@given(outcome=outcomes(), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_any_split_over_batches_and_processes_gives_scikit_learns_score(
    metric: type[Metric], outcome: tuple[Tensor, Tensor], batch: int, processes: int
) -> None:
    predicted, labels = outcome
    expected = float(REFERENCES[metric](labels, predicted))
    assert score(metric, predicted, labels, batch, processes) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", REFERENCES)
def test_labels_may_lack_the_dimension_of_a_single_output(metric: type[Metric]) -> None:
    predicted, labels = torch.rand(9, 1), torch.rand(9)
    assert score(metric, predicted, labels, 4, 2) == score(metric, predicted[:, 0], labels[:, None], 4, 2)


def test_a_large_mean_costs_no_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(1000, generator=generator, dtype=torch.float64) + 1e6
    predicted = labels + torch.randn(1000, generator=generator, dtype=torch.float64) / 4
    expected = float(sklearn.r2_score(labels, predicted))
    assert score(R2, predicted, labels, 32, 3) == pytest.approx(expected, abs=1e-9)


def test_labels_without_spread_are_explained_wholly_or_not_at_all() -> None:
    labels = torch.full((7,), 0.1, dtype=torch.float64)
    assert score(R2, labels, labels, 2, 2) == 1
    assert score(R2, labels + 1, labels, 2, 2) == 0
    assert math.isnan(score(R2, labels * math.nan, labels, 2, 2))


def test_one_row_has_no_variance() -> None:
    assert math.isnan(score(R2, torch.rand(1), torch.rand(1), 1, 2))
    assert score(MeanSquaredError, torch.tensor([3.0]), torch.tensor([1.0]), 1, 2) == 4


@pytest.mark.parametrize("metric", [Pearson, Spearman])
def test_a_correlation_is_of_one_output(metric: type[Metric]) -> None:
    with pytest.raises(UserError, match=r"one number a row, and the model gives 3"):
        metric().update(torch.rand(4, 3), torch.rand(4, 3), ZERO, 4)
