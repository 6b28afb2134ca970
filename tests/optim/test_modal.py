"""Optimizers with two sets of weights: which are, and that the second is what they are known for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from trainer_cli.config import places
from trainer_cli.config.compose import compose
from trainer_cli.config.instantiate import instantiate
from trainer_cli.optim import Modal

LR, BETA = 0.1, 0.9


def make(option: str, weights: list[nn.Parameter], **keys: object) -> Optimizer:
    """The optimizer of a built-in option."""
    node = compose([f"optim={option}", "scheduler=constant"], strict=False).config["optim"]
    optimizer: Optimizer = instantiate("optim", node | keys, params=weights)
    return optimizer


class Trains(SGD):
    """An optimizer with one of the two methods."""

    def train(self) -> None:
        pass


class Evaluates(SGD):
    """An optimizer with the other one."""

    def eval(self) -> None:
        pass


class OwnModal(Trains, Evaluates):
    """An optimizer of a user's own, which has never heard of the protocol."""


def test_it_is_known_by_what_it_can_do() -> None:
    weights = [nn.Parameter(torch.zeros(1))]
    assert isinstance(OwnModal(weights), Modal)
    assert not isinstance(Trains(weights), Modal) and not isinstance(Evaluates(weights), Modal)


@pytest.mark.parametrize("option", ["adamw", "sgd"])
def test_an_ordinary_optimizer_is_none(option: str) -> None:
    assert not isinstance(make(option, [nn.Parameter(torch.zeros(2, 2))]), Modal)


FREE = [name for name in places.options("optim", places.roots()) if name.startswith("schedule_free_")]


@pytest.mark.parametrize("option", FREE)
def test_a_schedule_free_one_is_and_has_each_set_as_often_as_it_is_asked(option: str) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    optimizer = make(option, [weight], lr=LR)
    assert isinstance(optimizer, Modal)
    optimizer.train()
    for _ in range(10):  # the first steps of RAdam are none
        weight.grad = torch.randn(4, 3, dtype=torch.float64)
        optimizer.step()
    trained = weight.detach().clone()
    optimizer.train()
    assert torch.equal(weight, trained)
    optimizer.eval()
    kept = weight.detach().clone()
    optimizer.eval()
    assert torch.equal(weight, kept) and not torch.allclose(kept, trained)
    optimizer.train()
    torch.testing.assert_close(weight.detach(), trained, rtol=1e-12, atol=1e-14)


def test_the_weights_to_use_are_the_mean_of_the_plain_steps() -> None:
    """Defazio et al., 2024: z steps along gradients taken at y, between z and its running mean x."""
    torch.manual_seed(0)
    target, start = torch.randn(2, 5, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    optimizer = make("schedule_free_sgd", [weight], lr=LR, momentum=BETA, weight_decay=0.0, warmup_steps=0)
    assert isinstance(optimizer, Modal)
    optimizer.train()
    z, x = start.clone(), start.clone()

    def gradient(at: Tensor) -> Tensor:
        return 2 * (at - target)

    for step in range(1, 8):
        y = (1 - BETA) * z + BETA * x
        torch.testing.assert_close(weight.detach(), y, rtol=1e-12, atol=1e-14)
        weight.grad = gradient(weight.detach())
        optimizer.step()
        z = z - LR * gradient(y)
        x = x + (z - x) / step
        optimizer.eval()
        torch.testing.assert_close(weight.detach(), x, rtol=1e-12, atol=1e-14)
        optimizer.train()
