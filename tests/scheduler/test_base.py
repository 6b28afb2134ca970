"""What the schedules share: counts given as shares, the warm-up, a cosine, and a share of the rate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from trainer_cli.config.errors import UserError
from trainer_cli.counts import in_updates
from trainer_cli.scheduler.base import after_warmup, cosine_wave, share_of_peak


def optimizer(*rates: float) -> Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return SGD(groups, lr=1.0)


@given(st.integers(0, 60), st.one_of(st.integers(0, 80), st.floats(0, 0.99)))
def test_the_rate_rises_to_its_peak_and_then_follows_the_curve(total: int, warmup: float) -> None:
    asked = []

    def curve(step: int, of: int) -> float:
        asked.append((step, of))
        return 1.0 - step / of

    (factor,) = after_warmup(optimizer(1.0), total, warmup, curve).lr_lambdas
    asked.clear()
    updates = in_updates(warmup, total)
    left = max(1, total - updates)
    for step in range(updates):
        assert factor(step) == pytest.approx(step / updates, rel=1e-15)
    assert not asked
    assert factor(updates) == 1.0
    found = [factor(step) for step in range(updates, updates + left + 3)]
    assert asked == [(0, left), *((min(step, left), left) for step in range(left + 3))]
    assert found == sorted(found, reverse=True) and found[left:] == [0.0] * 3


def test_each_group_has_its_own_rate_scaled() -> None:
    groups = optimizer(0.3, 0.1)
    schedule = after_warmup(groups, 4, 2, lambda step, of: 0.5)
    found = []
    for _ in range(4):
        found.append([group["lr"] for group in groups.param_groups])
        groups.step()
        schedule.step()
    assert found == [[0.0, 0.0], [0.15, 0.05], [0.15, 0.05], [0.15, 0.05]]


@given(st.integers(1, 50), st.integers(1, 50))
def test_half_a_wave_is_torchs_annealing(total: int, step: int) -> None:
    annealed = optimizer(1.0)
    schedule = CosineAnnealingLR(annealed, total)
    for _ in range(min(step, total)):
        annealed.step()
        schedule.step()
    found = cosine_wave(0.5, min(step, total) / total)
    assert found == pytest.approx(annealed.param_groups[0]["lr"], rel=1e-9, abs=1e-12)


@given(st.integers(1, 8), st.floats(0, 1))
def test_a_wave_returns_as_often_as_it_has_cycles(cycles: int, share: float) -> None:
    reference = math.cos(2 * math.pi * math.fmod(cycles * share, 1.0))
    assert cosine_wave(cycles, share) == pytest.approx((1 + reference) / 2, abs=1e-12)
    assert cosine_wave(cycles, 0.0) == 1.0 and cosine_wave(cycles, 1.0) == pytest.approx(1.0)
    assert 0.0 <= cosine_wave(cycles, share) <= 1.0


def test_a_rate_is_a_share_of_the_first_groups() -> None:
    assert share_of_peak(optimizer(0.3, 0.1), "lr_end", 0.03) == 0.03 / 0.3
    assert share_of_peak(optimizer(0.3), "lr_end", 0.0) == 0.0


@pytest.mark.parametrize("lr", [0.3, 0.31, 1.0])
def test_an_end_that_is_not_below_the_peak_is_refused(lr: float) -> None:
    with pytest.raises(UserError) as caught:
        share_of_peak(optimizer(0.3, 5.0), "min_lr", lr)
    (problem,) = caught.value.problems
    assert problem.what == f"scheduler.min_lr={lr:g} is not below optim.lr=0.3"
    assert problem.right == "a smaller min_lr"
