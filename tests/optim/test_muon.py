"""Muon and AdamW as one optimizer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from small_network import Network, gradients_of, network, train, weights_of

from trainer_cli.optim import Muon

SETTINGS: dict[str, Any] = {
    "lr": 0.02,
    "weight_decay": 0.1,
    "momentum": 0.95,
    "nesterov": True,
    "ns_steps": 5,
    "adjust_lr_fn": "match_rms_adamw",
    "adamw_modules": [r"(^|\.)head$"],
    "betas": [0.9, 0.99],
    "eps": 1e-8,
    "fused": True,
}


def groups(module: Network) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in module.parameters() if parameter.ndim == 2]
    rest = [parameter for parameter in module.parameters() if parameter.ndim == 1]
    return [
        {"name": "decay", "params": matrices},
        {"name": "no_decay", "params": rest, "weight_decay": 0.0},
    ]


def muon(module: Network) -> Muon:
    return Muon(groups(module), module, **SETTINGS)


def test_muon_has_the_hidden_matrices_and_adamw_the_rest() -> None:
    module = network(torch.float32)
    optimizer = muon(module)
    of_muon, *of_adamw = optimizer.param_groups
    assert (of_muon["name"], of_muon["params"]) == ("decay by muon", [module.hidden.weight])
    assert [(group["name"], len(group["params"])) for group in of_adamw] == [("decay", 2), ("no_decay", 2)]
    train(module, optimizer, steps=1)
    assert set(optimizer.state[module.hidden.weight]) == {"momentum_buffer"}
    assert "exp_avg" in optimizer.state[module.embed.weight]


def test_it_is_both_optimizers_side_by_side() -> None:
    module, other = network(torch.float32), network(torch.float32)
    train(module, muon(module), steps=5)
    apart = torch.optim.Muon(
        [other.hidden.weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw", ns_steps=5
    )
    adamw = torch.optim.AdamW(
        [
            {"params": [other.embed.weight, other.head.weight]},
            {"params": [other.hidden.bias, other.head.bias], "weight_decay": 0.0},
        ],
        lr=0.02,
        weight_decay=0.1,
        betas=(0.9, 0.99),
        fused=True,
    )
    for step in range(5):
        found = gradients_of(list(other.parameters()), step)
        for parameter, gradient in zip(other.parameters(), found, strict=True):
            parameter.grad = gradient
        apart.step()
        adamw.step()
    for got, wanted in zip(weights_of(module), weights_of(other), strict=True):
        assert torch.equal(got, wanted)


def test_a_schedule_changes_both() -> None:
    module = network(torch.float32)
    optimizer = muon(module)
    before = weights_of(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(module, optimizer, steps=2)
    assert all(torch.equal(*pair) for pair in zip(before, weights_of(module), strict=True))


def test_a_loaded_state_goes_on() -> None:
    module = network(torch.float32)
    optimizer = muon(module)
    train(module, optimizer, steps=3)
    other = copy.deepcopy(module)
    resumed = muon(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in (*optimizer.param_groups, *resumed.param_groups):
        group["lr"] = 0.01
    train(module, optimizer, steps=3, first=3)
    train(other, resumed, steps=3, first=3)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_a_module_without_hidden_matrices_has_adamw_alone() -> None:
    module = network(torch.float32)
    optimizer = Muon(groups(module), module, **{**SETTINGS, "adamw_modules": ["hidden", "head"]})
    assert [type(part) for part in optimizer.inner] == [torch.optim.AdamW]
