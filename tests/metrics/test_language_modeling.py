"""Perplexity."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.metrics import Perplexity

NONE = torch.zeros(0)

BATCHES = st.lists(st.tuples(st.floats(0, 50, width=32), st.integers(1, 30)), min_size=1, max_size=12)


@given(batches=BATCHES, processes=st.integers(1, 4))
def test_it_is_the_exponential_of_the_mean_over_all_items(
    batches: list[tuple[float, int]], processes: int
) -> None:
    own = [Perplexity() for _ in range(processes)]
    for number, (loss_sum, items) in enumerate(batches):
        own[number % processes].update(NONE, NONE, torch.tensor(loss_sum), items)
    mean = math.fsum(loss_sum for loss_sum, _ in batches) / sum(items for _, items in batches)
    assert own[0].compute([part.state() for part in own]) == pytest.approx(math.exp(mean), rel=1e-12)


def test_without_an_item_there_is_none() -> None:
    assert math.isnan(Perplexity().compute([Perplexity().state()] * 2))


@pytest.mark.parametrize("loss", [1e4, math.inf])
def test_a_loss_beyond_measure_is_an_infinity_and_no_error(loss: float) -> None:
    part = Perplexity()
    part.update(NONE, NONE, torch.tensor(loss), 1)
    assert part.compute([part.state()]) == math.inf


def test_a_reset_metric_has_seen_nothing() -> None:
    part = Perplexity()
    part.update(NONE, NONE, torch.tensor(3.0), 2)
    part.reset()
    assert part.state().tolist() == [[0.0, 0.0]]


def test_less_of_it_is_better() -> None:
    assert not Perplexity.greater_is_better
