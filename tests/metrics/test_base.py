"""What every metric must hold to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.metrics import BY_NAME
from trainer_cli.metrics.classification import IGNORED

ZERO = torch.tensor(1.0)
NUMBERS = {
    "pearson",
    "spearman",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_error",
    "r2",
}
CLASSES = BY_NAME.keys() - NUMBERS - {"perplexity"}


def batch(name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, int]:
    logits = torch.rand(4, 1 if name in NUMBERS else 3, dtype=dtype)
    labels = torch.rand(4, dtype=dtype) if name in NUMBERS else torch.tensor([0, 1, 2, 1])
    return logits, labels, ZERO, 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", BY_NAME)
def test_states_can_be_gathered_from_processes_that_saw_nothing(name: str, dtype: torch.dtype) -> None:
    metric = BY_NAME[name]()
    empty = metric.state()
    for _ in range(2):
        metric.update(*batch(name, dtype))
    full = metric.state()
    # Strategies gather tensors that differ in their first dimension alone.
    assert empty.shape[1:] == full.shape[1:]
    assert empty.dtype == full.dtype == torch.float64
    assert metric.compute([empty, full, empty]) == metric.compute([full])


@pytest.mark.parametrize("name", BY_NAME)
def test_without_a_row_there_is_no_score(name: str) -> None:
    metric = BY_NAME[name]()
    assert math.isnan(metric.compute([metric.state()] * 3))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_reset_metric_has_seen_nothing(name: str) -> None:
    metric = BY_NAME[name]()
    metric.update(*batch(name))
    metric.reset()
    assert torch.equal(metric.state(), BY_NAME[name]().state())


@pytest.mark.parametrize("name", BY_NAME)
def test_less_is_better_of_errors_and_perplexity_alone(name: str) -> None:
    assert BY_NAME[name].greater_is_better != (name.endswith("_error") or name == "perplexity")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_ignored_labels_do_not_count(name: str) -> None:
    logits, labels = torch.rand(2, 20, 3), torch.randint(3, (2, 20))
    labels[0, 3:9] = labels[1, 12:] = IGNORED
    seen, kept = BY_NAME[name](), BY_NAME[name]()
    seen.update(logits, labels, ZERO, 26)
    seen.update(logits, torch.full((2, 20), IGNORED), ZERO, 0)
    kept.update(logits[labels != IGNORED], labels[labels != IGNORED], ZERO, 26)
    assert torch.equal(seen.state(), kept.state())


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_numbers_are_no_classes(name: str) -> None:
    with pytest.raises(UserError, match="scores classes"):
        BY_NAME[name]().update(torch.rand(4, 1), torch.rand(4), ZERO, 4)
    with pytest.raises(UserError, match="scores classes"):
        BY_NAME[name]().update(torch.rand(4), torch.tensor([0, 1, 1, 0]), ZERO, 4)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_classes_are_no_numbers(name: str) -> None:
    with pytest.raises(UserError, match="scores numbers"):
        BY_NAME[name]().update(torch.rand(4, 3), torch.tensor([0, 1, 2, 1]), ZERO, 4)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_nan_makes_the_score_one(name: str) -> None:
    metric = BY_NAME[name]()
    metric.update(torch.tensor([[1.0], [math.nan], [0.5]]), torch.tensor([1.0, 2.0, 3.0]), ZERO, 3)
    assert math.isnan(metric.compute([metric.state()]))
