"""The schedules of one curve, update by update against transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainer_cli import scheduler as ours
from trainer_cli.config.errors import UserError

STEPS = 40


def optimizer(lr: float = 0.3) -> Optimizer:
    first, second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    return SGD([{"params": [first]}, {"params": [second], "lr": lr / 2}], lr=lr)


def rates(make: Callable[[Optimizer], LRScheduler], steps: int = STEPS) -> list[list[float]]:
    """The rates of both groups at each update."""
    parameters = optimizer()
    schedule = make(parameters)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in parameters.param_groups])
        parameters.step()
        schedule.step()
    return found


SCHEDULES: list[tuple[str, str, dict[str, Any]]] = [
    ("linear", "linear", {}),
    ("constant", "constant_with_warmup", {}),
    ("cosine", "cosine", {"num_cycles": 0.5}),
    ("cosine", "cosine", {"num_cycles": 1.5}),
    ("polynomial", "polynomial", {"lr_end": 1e-3, "power": 1.0}),
    ("polynomial", "polynomial", {"lr_end": 1e-7, "power": 2.5}),
    ("cosine_with_restarts", "cosine_with_restarts", {"num_cycles": 1}),
    ("cosine_with_restarts", "cosine_with_restarts", {"num_cycles": 3}),
    ("inverse_sqrt", "inverse_sqrt", {"timescale": None}),
    ("inverse_sqrt", "inverse_sqrt", {"timescale": 5}),
    ("cosine_with_min_lr", "cosine_with_min_lr", {"num_cycles": 0.5, "min_lr": 0.02, "min_lr_rate": None}),
    ("cosine_with_min_lr", "cosine_with_min_lr", {"num_cycles": 1.5, "min_lr": None, "min_lr_rate": 0.1}),
    *(
        (
            "cosine_warmup_with_min_lr",
            "cosine_warmup_with_min_lr",
            {"num_cycles": cycles, "min_lr": None, "min_lr_rate": 0.1, "warmup_lr_rate": first},
        )
        for cycles, first in ((0.5, None), (0.5, 0.2), (1.0, 0.0))
    ),
]


@pytest.mark.parametrize("warmup", [0, 1, 7, STEPS - 1])
@pytest.mark.parametrize(("name", "theirs", "options"), SCHEDULES)
def test_every_rate_is_transformers_own_to_the_last_bit(
    name: str, theirs: str, options: dict[str, Any], warmup: int
) -> None:
    expected = rates(
        lambda parameters: transformers.get_scheduler(
            theirs, parameters, warmup, STEPS, scheduler_specific_kwargs=options
        )
    )
    found = rates(lambda parameters: getattr(ours, name)(parameters, STEPS, warmup, **options))
    assert found == expected


def test_a_rate_depends_on_the_step_alone() -> None:
    first, second = optimizer(), optimizer()
    schedule = ours.cosine(first, num_training_steps=10, num_warmup_steps=0.2, num_cycles=0.5)
    other = ours.cosine(second, num_training_steps=10, num_warmup_steps=0.2, num_cycles=0.5)
    for _ in range(4):
        first.step()
        schedule.step()
    assert [function(4) for function in other.lr_lambdas] == [
        rate / base for rate, base in zip(schedule.get_last_lr(), schedule.base_lrs)
    ]


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (lambda parameters: ours.linear(parameters, 5, 0), 0.0),
        (lambda parameters: ours.cosine(parameters, 5, 0, 0.5), 0.0),
        (lambda parameters: ours.cosine_with_restarts(parameters, 5, 0, 2), 0.0),
        (lambda parameters: ours.cosine_with_min_lr(parameters, 5, 0, 0.5, 0.03, None), 0.1),
        (lambda parameters: ours.cosine_warmup_with_min_lr(parameters, 5, 1, 0.5, None, 0.1, None), 0.1),
    ],
)
def test_a_rate_stays_at_its_end_beyond_the_last_update(
    make: Callable[[Optimizer], LambdaLR], end: float
) -> None:
    schedule = make(optimizer())
    assert [schedule.lr_lambdas[0](step) for step in (5, 9)] == pytest.approx([end, end], abs=1e-15)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda parameters: ours.polynomial(parameters, 5, 0, 0.3, 1.0), "lr_end=0.3 is not below"),
        (lambda parameters: ours.cosine_with_min_lr(parameters, 5, 0, 0.5, None, None), "neither"),
        (lambda parameters: ours.cosine_with_min_lr(parameters, 5, 0, 0.5, 0.1, 0.1), "both"),
        (lambda parameters: ours.cosine_with_min_lr(parameters, 5, 0, 0.5, 0.5, None), "min_lr=0.5 is not"),
        (
            lambda parameters: ours.cosine_warmup_with_min_lr(parameters, 5, 0, 0.5, None, None, None),
            "neither",
        ),
    ],
)
def test_an_end_that_is_none_is_refused(make: Callable[[Optimizer], LambdaLR], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make(optimizer())
