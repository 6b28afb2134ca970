"""The schedules made of phases, update by update against transformers' and PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, StepLR

from trainer_cli.config.errors import UserError
from trainer_cli.scheduler import multi_step, one_cycle, step, warmup_stable_decay

STEPS = 40


def rates(make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    parameters = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = make(parameters)
    found = []
    for _ in range(STEPS):
        found.append(parameters.param_groups[0]["lr"])
        parameters.step()
        schedule.step()
    return found


def equal(first: list[float], second: list[float]) -> bool:
    return first == pytest.approx(second, rel=1e-12, abs=1e-16)


FORMS = ("linear", "cosine", "1-sqrt")


@pytest.mark.parametrize("up", FORMS)
@pytest.mark.parametrize("down", FORMS)
@pytest.mark.parametrize("changes", [{}, {"min_lr_ratio": 0.1}, {"num_stable_steps": 4}, {"num_cycles": 1.5}])
def test_warm_up_stable_and_decay_are_transformers_own(up: str, down: str, changes: dict[str, Any]) -> None:
    options = {
        "num_stable_steps": None,
        "num_decay_steps": 12,
        "warmup_type": up,
        "decay_type": down,
        "min_lr_ratio": 0.0,
        "num_cycles": 0.5,
        **changes,
    }
    # Their function warns where both the run's length and the stable updates are given.
    total = STEPS if options["num_stable_steps"] is None else None
    expected = rates(
        lambda parameters: transformers.get_scheduler(
            "warmup_stable_decay", parameters, 7, total, scheduler_specific_kwargs=options
        )
    )
    assert equal(rates(lambda parameters: warmup_stable_decay(parameters, STEPS, 7, **options)), expected)


def stable(parameters: Optimizer, warmup: float, middle: float | None, decay: float) -> LRScheduler:
    return warmup_stable_decay(parameters, STEPS, warmup, middle, decay, "linear", "linear", 0.0, 0.5)


def test_phases_may_be_shares_of_the_run() -> None:
    shares = rates(lambda parameters: stable(parameters, 0.1, 0.5, 0.2))
    assert shares == rates(lambda parameters: stable(parameters, 4, 20, 8))


def test_phases_that_do_not_fit_into_the_run_are_refused() -> None:
    with pytest.raises(UserError, match="20 updates of warm-up and 30 of decay are more than the run's 40"):
        rates(lambda parameters: stable(parameters, 0.5, None, 30))


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize(
    ("start", "first", "last"), [(0.3, 25.0, 1e4), (0.5, 10.0, 2.0), (0.01, 4.0, 4.0), (0.0, 3.0, 3.0)]
)
def test_one_cycle_is_pytorchs(strategy: Any, start: float, first: float, last: float) -> None:
    expected = rates(
        lambda parameters: OneCycleLR(
            parameters,
            0.3,
            STEPS,
            pct_start=start,
            anneal_strategy=strategy,
            cycle_momentum=False,
            div_factor=first,
            final_div_factor=last,
        )
    )
    assert equal(
        rates(lambda parameters: one_cycle(parameters, STEPS, start, first, last, strategy)), expected
    )


@pytest.mark.parametrize("start", [1 / STEPS, 1.0])
def test_one_cycle_has_a_rate_where_pytorch_divides_by_zero(start: float) -> None:
    found = rates(lambda parameters: one_cycle(parameters, STEPS, start, 10.0, 10.0, "cos"))
    assert max(found) == 0.3
    assert found.index(0.3) == (0 if start < 1 else STEPS - 1)


def test_drops_are_pytorchs() -> None:
    expected = rates(lambda parameters: StepLR(parameters, 7, 0.3))
    assert equal(rates(lambda parameters: step(parameters, STEPS, 0, 7, 0.3)), expected)
    expected = rates(lambda parameters: MultiStepLR(parameters, [10, 25], 0.3))
    assert equal(rates(lambda parameters: multi_step(parameters, STEPS, 0, [25, 0.25], 0.3)), expected)


def test_drops_come_after_the_warm_up() -> None:
    found = rates(lambda parameters: step(parameters, STEPS, 10, 0.25, 0.5))
    assert [found[at] / 0.3 for at in (5, 10, 19, 20, 30)] == pytest.approx([0.5, 1, 1, 0.5, 0.25])
    found = rates(lambda parameters: multi_step(parameters, STEPS, 10, [20], 0.5))
    assert [found[at] / 0.3 for at in (5, 19, 20)] == pytest.approx([0.5, 1, 0.5])
