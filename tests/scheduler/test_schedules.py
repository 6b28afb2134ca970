"""The schedules, step by step against transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainer_cli.scheduler import constant, cosine, linear, polynomial, warmup_steps

STEPS = 40


def optimizer(lr: float = 0.3) -> Optimizer:
    first, second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    return SGD([{"params": [first]}, {"params": [second], "lr": lr / 2}], lr=lr)


def rates(make: Callable[[Optimizer], LRScheduler]) -> list[list[float]]:
    """The rates of both groups at each update."""
    parameters = optimizer()
    scheduler = make(parameters)
    found = []
    for _ in range(STEPS):
        found.append([group["lr"] for group in parameters.param_groups])
        parameters.step()
        scheduler.step()
    found.append([group["lr"] for group in parameters.param_groups])
    return found


SCHEDULES: list[tuple[Callable[..., LRScheduler], str, dict[str, Any]]] = [
    (linear, "linear", {}),
    (cosine, "cosine", {"num_cycles": 0.5}),
    (cosine, "cosine", {"num_cycles": 1.5}),
    (polynomial, "polynomial", {"lr_end": 1e-3, "power": 1.0}),
    (polynomial, "polynomial", {"lr_end": 1e-7, "power": 2.5}),
    (constant, "constant_with_warmup", {}),
]


@pytest.mark.parametrize("warmup", [0, 1, 7, STEPS - 1])
@pytest.mark.parametrize(("ours", "name", "options"), SCHEDULES)
def test_every_rate_is_transformers_own(
    ours: Callable[..., LRScheduler], name: str, options: dict[str, Any], warmup: int
) -> None:
    expected = rates(
        lambda parameters: transformers.get_scheduler(
            name, parameters, warmup, STEPS, scheduler_specific_kwargs=options
        )
    )
    found = rates(
        lambda parameters: ours(parameters, num_training_steps=STEPS, num_warmup_steps=warmup, **options)
    )
    torch.testing.assert_close(torch.tensor(found).double(), torch.tensor(expected).double())


@pytest.mark.parametrize(
    ("given", "total", "updates"),
    [
        (0, 100, 0),
        (0.0, 100, 0),
        (0.1, 100, 10),
        (0.06, 99, 6),
        (0.999, 10, 10),
        (1, 100, 1),
        (250, 100, 250),
    ],
)
def test_warm_up_below_one_is_a_share_of_all_updates(given: float, total: int, updates: int) -> None:
    assert warmup_steps(given, total) == updates


def test_a_rate_depends_on_the_step_alone() -> None:
    first, second = optimizer(), optimizer()
    schedule = cosine(first, num_training_steps=10, num_warmup_steps=0.2, num_cycles=0.5)
    other = cosine(second, num_training_steps=10, num_warmup_steps=0.2, num_cycles=0.5)
    for _ in range(4):
        first.step()
        schedule.step()
    assert [function(4) for function in other.lr_lambdas] == [
        rate / base for rate, base in zip(schedule.get_last_lr(), schedule.base_lrs)
    ]


def test_a_rate_stays_at_its_end_beyond_the_last_update() -> None:
    for make in (linear, cosine):
        options = {"num_cycles": 0.5} if make is cosine else {}
        schedule = make(optimizer(), num_training_steps=5, num_warmup_steps=0, **options)
        assert [function(9) for function in schedule.lr_lambdas] == pytest.approx([0.0, 0.0], abs=1e-15)
