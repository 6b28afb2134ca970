"""Scores from the order of logits, against scikit-learn's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from trainer_cli.metrics import Accuracy, AveragePrecision, Metric, RocAuc, TopKAccuracy

ZERO = torch.tensor(0.0)
RANKED = {RocAuc: sklearn.roc_auc_score, AveragePrecision: sklearn.average_precision_score}


def score(metric: Callable[[], Metric], logits: Tensor, labels: Tensor, batch: int, processes: int) -> float:
    own = [metric() for _ in range(processes)]
    for number, (some, of_them) in enumerate(zip(logits.split(batch), labels.split(batch), strict=True)):
        own[number % processes].update(some, of_them, ZERO, len(some))
    return own[0].compute([part.state() for part in own])


@st.composite
def scored(draw: st.DrawFn, least: int = 2) -> tuple[Tensor, Tensor]:
    """Logits of few different values, so that there are ties, and labels."""
    classes = draw(st.integers(least, 5))
    row = st.tuples(
        st.lists(st.integers(-3, 3), min_size=classes, max_size=classes), st.integers(0, classes - 1)
    )
    rows = draw(st.lists(row, min_size=1, max_size=30))
    return torch.tensor([logits for logits, _ in rows]).float(), torch.tensor([label for _, label in rows])


@pytest.mark.parametrize("metric", RANKED)
@given(data=scored(), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_any_split_over_batches_and_processes_gives_scikit_learns_score(
    metric: type[Metric], data: tuple[Tensor, Tensor], batch: int, processes: int
) -> None:
    logits, labels = data
    logits = logits.double()
    classes = logits.shape[1]
    of_class = torch.nn.functional.one_hot(labels, classes)
    there = [number for number in range(classes) if 0 < of_class[:, number].sum() < len(labels)]
    assume(there)
    if classes == 2:
        expected = RANKED[metric](labels, logits[:, 1] - logits[:, 0])
    else:
        scores = logits.log_softmax(dim=1)
        expected = RANKED[metric](of_class[:, there], scores[:, there], average="macro")
    assert score(metric, logits, labels, batch, processes) == pytest.approx(float(expected), abs=1e-12)


def test_roc_auc_is_scikit_learns_one_against_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (200,), generator=generator)
    expected = sklearn.roc_auc_score(labels, logits.softmax(dim=1), multi_class="ovr", average="macro")
    assert score(RocAuc, logits, labels, 32, 3) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("metric", RANKED)
def test_certain_predictions_are_told_apart(metric: type[Metric]) -> None:
    # Softmax would call all of them 1.
    logits = torch.tensor([[0.0, 50.0], [0.0, 60.0], [0.0, 70.0], [0.0, 80.0]], dtype=torch.float64)
    assert score(metric, logits, torch.tensor([0, 0, 1, 1]), 3, 2) == 1


@pytest.mark.parametrize("metric", RANKED)
def test_items_of_one_class_have_no_order(metric: type[Metric]) -> None:
    assert math.isnan(score(metric, torch.rand(5, 2), torch.ones(5, dtype=torch.int64), 2, 2))
    assert math.isnan(score(metric, torch.rand(5, 3), torch.ones(5, dtype=torch.int64), 2, 2))


@pytest.mark.parametrize("metric", RANKED)
def test_a_nan_makes_the_score_one(metric: type[Metric]) -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, math.nan], [1.0, 0.0]])
    assert math.isnan(score(metric, logits, torch.tensor([0, 1, 1]), 2, 1))


def test_it_keeps_16_bytes_for_each_item_of_two_classes() -> None:
    part = RocAuc()
    part.update(torch.rand(1000, 2), torch.randint(2, (1000,)), ZERO, 1000)
    assert sum(rows.nbytes for rows in part.rows) == 16 * 1000


@given(data=scored(least=3), k=st.integers(1, 2), batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_top_k_accuracy_is_scikit_learns(
    data: tuple[Tensor, Tensor], k: int, batch: int, processes: int
) -> None:
    logits, labels = data
    classes = logits.shape[1]
    # Of equal scores scikit-learn takes the last class, this one the first.
    expected = sklearn.top_k_accuracy_score(
        classes - 1 - labels, logits.flip(1), k=k, labels=list(range(classes))
    )
    own = score(lambda: TopKAccuracy(k), logits, labels, batch, processes)
    assert own == pytest.approx(float(expected), abs=1e-12)


@given(data=scored())
def test_the_first_alone_is_the_accuracy(data: tuple[Tensor, Tensor]) -> None:
    assert score(lambda: TopKAccuracy(1), *data, 7, 1) == score(Accuracy, *data, 7, 1)


def test_all_classes_hold_every_label() -> None:
    assert score(lambda: TopKAccuracy(9), torch.rand(5, 3), torch.randint(3, (5,)), 2, 1) == 1


def test_a_nan_is_no_find() -> None:
    logits = torch.tensor([[math.nan, math.nan, math.nan], [math.nan, 1.0, 0.0]])
    assert score(lambda: TopKAccuracy(1), logits, torch.tensor([0, 1]), 2, 1) == 0
