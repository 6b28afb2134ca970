"""APOLLO against the paper's arithmetic, written out."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from small_network import Network, gradients_of, network, train, train_in_backward, weights_of

from trainer_cli.optim import apollo_adamw
from trainer_cli.optim.low_rank import LowRank

LR, BETA1, BETA2, EPS, DECAY, RANK, GAP, SCALE = 0.02, 0.9, 0.99, 1e-8, 0.1, 2, 3, 4.0


def groups(module: Network) -> list[dict[str, Any]]:
    return [{"params": list(module.parameters())}]


def apollo(module: Network, scale_type: Literal["channel", "tensor"], layerwise: bool = False) -> Any:
    return apollo_adamw(
        groups(module),
        module,
        lr=LR,
        betas=[BETA1, BETA2],
        eps=EPS,
        weight_decay=DECAY,
        target_modules="hidden",
        rank=RANK,
        update_proj_gap=GAP,
        scale=SCALE,
        scale_type=scale_type,
        proj_type="std",
        layerwise=layerwise,
    )


@pytest.mark.parametrize("scale_type", ["channel", "tensor"])
def test_it_is_the_papers(scale_type: Literal["channel", "tensor"]) -> None:
    """Algorithm 1 and equation 5, on the projections that the optimizer drew."""
    module = network()
    optimizer = apollo(module, scale_type)
    assert isinstance(optimizer, LowRank)
    mean, square, before = torch.zeros(6, RANK).double(), torch.zeros(6, RANK).double(), 0.0
    for step in range(7):
        weight = module.hidden.weight.detach().clone()
        gradient = gradients_of(list(module.parameters()), step)[1]
        train(module, optimizer, steps=1, first=step)
        small = gradient @ optimizer.state[module.hidden.weight]["right"].T
        mean = BETA1 * mean + (1 - BETA1) * small
        square = BETA2 * square + (1 - BETA2) * small**2
        adam = mean / (1 - BETA1 ** (step + 1)) / ((square / (1 - BETA2 ** (step + 1))).sqrt() + EPS)
        if scale_type == "channel":
            factor = (adam.norm(dim=1) / small.norm(dim=1)).unsqueeze(1)
        else:
            factor = adam.norm() / small.norm()
        scaled = gradient * factor
        if before and float(scaled.norm()) > 1.01 * before:
            scaled = scaled / scaled.norm() * 1.01 * before
        before = float(scaled.norm())
        expected = weight * (1 - LR * DECAY) - LR * math.sqrt(SCALE) * scaled
        torch.testing.assert_close(module.hidden.weight.detach(), expected, rtol=0, atol=1e-7)


def test_the_same_projections_are_drawn_whatever_else_is_drawn() -> None:
    module, other = network(), network()
    train(module, apollo(module, "channel"), steps=7)
    torch.manual_seed(99)
    train(other, apollo(other, "channel"), steps=7)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_layerwise_gives_the_same_bits() -> None:
    module, other = network(torch.float32), network(torch.float32)
    train(module, apollo(module, "channel"), steps=7)
    train_in_backward(other, apollo(other, "channel", layerwise=True), steps=7)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_at_a_learning_rate_of_zero_nothing_moves() -> None:
    module = network()
    optimizer, before = apollo(module, "tensor"), weights_of(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(module, optimizer, steps=2)
    assert all(torch.equal(*pair) for pair in zip(before, weights_of(module), strict=True))
