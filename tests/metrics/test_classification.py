"""Scores of classes, against scikit-learn's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from trainer_cli.metrics import F1, Accuracy, MatthewsCorrelation
from trainer_cli.metrics.classification import IGNORED, ClassCountMetric

ZERO = torch.tensor(0.0)
METRICS: list[type[ClassCountMetric]] = [Accuracy, F1, MatthewsCorrelation]


def reference(metric: type[ClassCountMetric], labels: Tensor, predicted: Tensor, classes: int) -> float:
    if metric is Accuracy:
        return float(sklearn.accuracy_score(labels, predicted))
    if metric is MatthewsCorrelation:
        return float(sklearn.matthews_corrcoef(labels, predicted))
    average = "binary" if classes == 2 else "macro"
    return float(sklearn.f1_score(labels, predicted, average=average, zero_division=0.0))


def score(metric: type[ClassCountMetric], parts: list[tuple[Tensor, Tensor]], processes: int) -> float:
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


@pytest.mark.parametrize("metric", METRICS)
@given(outcome=outcomes(), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_any_split_over_batches_and_processes_gives_scikit_learns_score(
    metric: type[ClassCountMetric], outcome: tuple[int, Tensor, Tensor], batch: int, processes: int
) -> None:
    classes, labels, predicted = outcome
    parts = list(zip(logits_of(predicted, classes).split(batch), labels.split(batch), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remark on a single class
        expected = reference(metric, labels, predicted, classes)
    assert score(metric, parts, processes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_ignored_labels_do_not_count(metric: type[ClassCountMetric]) -> None:
    labels = torch.tensor([[0, 1, IGNORED], [1, 1, IGNORED]])
    predicted = torch.tensor([[0, 1, 0], [0, 1, 1]])
    expected = reference(metric, torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 0, 1]), 2)
    assert score(metric, [(logits_of(predicted, 2), labels)], 1) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_label_there_is_no_score(metric: type[ClassCountMetric]) -> None:
    assert math.isnan(metric().compute([metric().state()] * 3))
    nothing = (logits_of(torch.tensor([0, 1]), 2), torch.tensor([IGNORED, IGNORED]))
    assert math.isnan(score(metric, [nothing], 1))


@pytest.mark.parametrize("metric", METRICS)
def test_a_reset_metric_has_seen_nothing(metric: type[ClassCountMetric]) -> None:
    part = metric()
    part.update(logits_of(torch.tensor([0, 1, 1]), 3), torch.tensor([0, 1, 2]), ZERO, 3)
    part.reset()
    assert part.state().numel() == 0


def test_the_state_does_not_grow_with_the_rows() -> None:
    accuracy: Callable[[], ClassCountMetric] = Accuracy
    part = accuracy()
    for _ in range(10):
        part.update(logits_of(torch.tensor([0, 1, 2]), 3), torch.tensor([0, 1, 1]), ZERO, 3)
    assert part.state().numel() == 9
    assert part.state().dtype == torch.float64
