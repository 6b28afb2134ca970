"""Optimizers on projections, apart from how these are chosen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_network import Network, network, train, weights_of
from torch import Tensor

from trainer_cli.optim.galore import GaLore, ProjType
from trainer_cli.optim.low_rank import LowRank, sides
from trainer_cli.optim.modules import targeted


def groups(module: Network) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim == 2]
    rest = [parameter for parameter in module.parameters() if parameter.ndim == 1]
    return [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]


def galore(module: Network, rank: int = 2, proj_type: ProjType = "std") -> LowRank:
    def make(given: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(given, lr=0.05, momentum=0.9, weight_decay=0.0)

    return GaLore(groups(module), make, targeted(module, "all-linear"), rank, 100, 1.0, proj_type)


@pytest.mark.parametrize(
    ("shape", "proj_type", "expected"),
    [
        ((6, 4), "std", ("right",)),
        ((4, 6), "std", ("left",)),
        ((5, 5), "std", ("right",)),
        ((6, 4), "reverse_std", ("left",)),
        ((4, 6), "reverse_std", ("right",)),
        ((4, 6), "right", ("right",)),
        ((6, 4), "left", ("left",)),
        ((6, 4), "full", ("left", "right")),
    ],
)
def test_std_projects_the_shorter_dimension(
    shape: tuple[int, int], proj_type: ProjType, expected: tuple[str, ...]
) -> None:
    assert sides(torch.empty(shape), proj_type) == expected


def test_a_projection_of_full_rank_changes_nothing() -> None:
    module, other = network(), network()
    train(module, galore(module, rank=50), steps=5)
    train(other, torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9), steps=5)
    for got, wanted in zip(weights_of(module), weights_of(other), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("proj_type", "expected"), [("std", (6, 2)), ("reverse_std", (2, 5)), ("full", (2, 2))]
)
def test_the_inner_state_is_of_low_rank(proj_type: ProjType, expected: tuple[int, int]) -> None:
    module = network()
    optimizer = galore(module, proj_type=proj_type)
    train(module, optimizer, steps=1)
    state = optimizer.state[module.hidden.weight]
    assert state["inner"]["momentum_buffer"].shape == expected
    assert optimizer.state[module.embed.weight]["momentum_buffer"].shape == module.embed.weight.shape
    assert all(isinstance(state[side], Tensor) for side in sides(module.hidden.weight, proj_type))


def test_an_update_has_the_rank_that_was_asked_for() -> None:
    module = network()
    before = module.hidden.weight.detach().clone()
    train(module, galore(module, rank=2), steps=1)
    assert torch.linalg.matrix_rank(module.hidden.weight - before) == 2


def test_weight_decay_reaches_the_matrix_itself() -> None:
    module, other = network(), network()
    for part, decay in ((module, 0.5), (other, 0.0)):
        optimizer = galore(part)
        for group in optimizer.param_groups:
            group["weight_decay"] = decay
        train(part, optimizer, steps=1)
    difference = other.hidden.weight - module.hidden.weight
    torch.testing.assert_close(difference, network().hidden.weight * 0.05 * 0.5, rtol=0, atol=1e-12)


def test_a_schedule_is_seen_at_once() -> None:
    module = network()
    optimizer, before = galore(module), weights_of(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(module, optimizer, steps=2)
    assert all(torch.equal(*pair) for pair in zip(before, weights_of(module), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_state_goes_on(dtype: torch.dtype) -> None:
    module = network(dtype)
    optimizer = galore(module)
    train(module, optimizer, steps=3)
    other = copy.deepcopy(module)
    resumed = galore(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(module, optimizer, steps=3, first=3)
    train(other, resumed, steps=3, first=3)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    module = network()
    optimizer = galore(module)
    module.hidden.weight.requires_grad_(False)
    before = module.hidden.weight.detach().clone()
    train(module, optimizer, steps=2)
    assert torch.equal(module.hidden.weight, before)
    assert module.hidden.weight not in optimizer.state
