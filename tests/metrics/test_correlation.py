"""Correlations, against scipy's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from trainer_cli.metrics import Metric, Pearson, Spearman
from trainer_cli.metrics.correlation import mean_ranks

ZERO = torch.tensor(0.0)


def score(metric: type[Metric], rows: Tensor, batch: int, processes: int) -> float:
    own = [metric() for _ in range(processes)]
    for number, part in enumerate(rows.split(batch)):
        own[number % processes].update(part[:, :1].float(), part[:, 1].float(), ZERO, len(part))
    return own[0].compute([part.state() for part in own])


# Few different values, so that there are ties.
PAIRS = st.lists(
    st.tuples(st.integers(-5, 5).map(lambda value: value / 4), st.integers(-20, 20)), min_size=2, max_size=30
)


@pytest.mark.parametrize("metric", [Pearson, Spearman])
@given(pairs=PAIRS, batch=st.integers(1, 12), processes=st.integers(1, 4))
def test_any_split_over_batches_and_processes_gives_scipys_score(
    metric: type[Metric], pairs: list[tuple[float, float]], batch: int, processes: int
) -> None:
    rows = torch.tensor(pairs, dtype=torch.float64)
    assume(all(len(set(column.tolist())) > 1 for column in rows.T))
    test = stats.pearsonr if metric is Pearson else stats.spearmanr
    expected = float(test(rows[:, 0].numpy(), rows[:, 1].numpy()).statistic)
    assert score(metric, rows, batch, processes) == pytest.approx(expected, abs=1e-9)


def test_a_large_mean_costs_no_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1000, 2, generator=generator, dtype=torch.float64) + 4096
    rows = rows.float().double()
    expected = float(stats.pearsonr(rows[:, 0].numpy(), rows[:, 1].numpy()).statistic)
    assert score(Pearson, rows, 32, 3) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [Pearson, Spearman])
def test_what_does_not_vary_has_no_correlation(metric: type[Metric]) -> None:
    constant = torch.stack([torch.full((7,), 0.1), torch.arange(7.0)], dim=1).double()
    assert math.isnan(score(metric, constant, 2, 2))
    assert math.isnan(score(metric, constant[:1], 2, 2))
    assert math.isnan(metric().compute([metric().state()] * 2))


@pytest.mark.parametrize("metric", [Pearson, Spearman])
def test_a_reset_metric_has_seen_nothing(metric: type[Metric]) -> None:
    part = metric()
    part.update(torch.tensor([[1.0], [2.0]]), torch.tensor([5.0, 7.0]), ZERO, 2)
    part.reset()
    assert torch.equal(part.state(), metric().state())


@given(values=st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_tied_values_share_the_mean_of_their_ranks(values: list[int]) -> None:
    expected = stats.rankdata(values)
    assert mean_ranks(torch.tensor(values, dtype=torch.float64)).tolist() == expected.tolist()
