"""What an optimizer has learned, and what it was made with."""

from __future__ import annotations

import copy
from typing import Any

import optimi
import pytest
import schedulefree
import torch
from pytorch_optimizer import Prodigy
from small_network import Network, network, train, weights_of
from torch.optim import AdamW, Optimizer

from trainer_cli.optim import galore_adamw
from trainer_cli.optim.learned import give_back, kind, learned


def groups(module: Network) -> list[dict[str, Any]]:
    weights = list(module.parameters())
    return [{"name": "a", "params": weights[:2]}, {"name": "b", "params": weights[2:], "weight_decay": 0.0}]


def galore(module: Network, layerwise: bool) -> Optimizer:
    return galore_adamw(
        groups(module), module, 0.01, [0.9, 0.99], 1e-8, 0.1, "all-linear", 2, 3, 1.0, "std", layerwise
    )


def of_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [learned(optimizer, group) for group in optimizer.state_dict()["param_groups"]]


def test_hyperparameters_are_not_learned() -> None:
    module = network()
    optimizer = AdamW(groups(module), lr=0.1, betas=(0.5, 0.9), weight_decay=0.1)
    train(module, optimizer, steps=1)
    assert of_groups(optimizer) == [{}, {}]


@pytest.mark.parametrize("layerwise", [False, True])
def test_nor_are_those_of_an_inner_optimizer(layerwise: bool) -> None:
    module = network(torch.float32)
    optimizer = galore(module, layerwise)
    for step in range(2):
        train(module, optimizer, steps=1, first=step)
    assert of_groups(optimizer) == [{}, {}]


def test_counts_and_sums_in_groups_are() -> None:
    module = network()
    optimizer = schedulefree.AdamWScheduleFree(groups(module), lr=0.1, betas=(0.5, 0.9))
    optimizer.train()
    train(module, optimizer, steps=3)
    first, second = of_groups(optimizer)
    assert set(first) == {"k", "train_mode", "weight_sum", "lr_max", "scheduled_lr"}
    assert (first["k"], first["train_mode"], second["k"]) == (3, True, 3)


def test_so_is_a_hyperparameter_that_was_left_to_the_optimizer() -> None:
    module = network(torch.bfloat16)
    optimizer = optimi.StableAdamW(groups(module), lr=0.1)
    train(module, optimizer, steps=1)
    first, _ = of_groups(optimizer)
    assert first["kahan_sum"] is True
    other = optimi.StableAdamW(groups(module), lr=0.1, kahan_sum=False)
    give_back(other, optimizer.state_dict()["state"], of_groups(optimizer))
    assert other.param_groups[0]["kahan_sum"] is False


def test_derived_hyperparameters_stay_todays() -> None:
    module = network()
    optimizer = optimi.StableAdamW(groups(module), lr=0.1, betas=(0.9, 0.95))
    train(module, optimizer, steps=1)
    other = optimi.StableAdamW(groups(module), lr=0.1, betas=(0.8, 0.9))
    give_back(other, optimizer.state_dict()["state"], of_groups(optimizer))
    assert [group["beta1"] for group in other.param_groups] == [0.8, 0.8]
    assert int(other.param_groups[0]["step"]) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda module: Prodigy(groups(module), lr=1.0),
        lambda module: optimi.StableAdamW(groups(module), lr=0.01),
        lambda module: optimi.Lion(groups(module), lr=0.001),
        lambda module: torch.optim.Adagrad(groups(module), lr=0.01),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_given_back_goes_on_bit_for_bit(make: Any, dtype: torch.dtype) -> None:
    module = network(dtype)
    optimizer = make(module)
    train(module, optimizer, steps=3)
    other = copy.deepcopy(module)
    resumed = make(other)
    give_back(resumed, copy.deepcopy(optimizer.state_dict()["state"]), copy.deepcopy(of_groups(optimizer)))
    train(module, optimizer, steps=3, first=3)
    train(other, resumed, steps=3, first=3)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_an_optimizer_that_went_on_is_put_back() -> None:
    module = network()
    optimizer = schedulefree.SGDScheduleFree(groups(module), lr=0.1)
    empty = of_groups(optimizer)
    optimizer.train()
    train(module, optimizer, steps=3)
    give_back(optimizer, {}, empty)
    assert [group["k"] for group in optimizer.param_groups] == [0, 0]
    assert not optimizer.state_dict()["state"]


def test_every_type_of_the_state_is_kept() -> None:
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    state = {
        "exact": torch.tensor([1.0000001]),
        "codes": torch.tensor([7], dtype=torch.uint8),
        "step": 3,
        "word": "plain",
        "nothing": None,
        "list": [torch.tensor([0.1]), [], torch.tensor(2)],
        "nested": {"deep": torch.tensor([0.1], dtype=torch.float64)},
    }
    give_back(optimizer, {0: copy.deepcopy(state)}, [{}])
    loaded = optimizer.state[weight]
    assert loaded["exact"].dtype == torch.float32 and torch.equal(loaded["exact"], state["exact"])  # type: ignore[arg-type]
    assert loaded["codes"].dtype == torch.uint8
    assert (loaded["step"], loaded["word"], loaded["nothing"]) == (3, "plain", None)
    assert [value.dtype for value in loaded["list"] if isinstance(value, torch.Tensor)] == [
        torch.float32,
        torch.int64,
    ]
    assert loaded["nested"]["deep"].dtype == torch.float64


def test_a_kind_names_what_is_within() -> None:
    module = network(torch.float32)
    assert kind(AdamW(module.parameters())) == "AdamW"
    assert kind(galore(module, layerwise=False)) == "GaLore of AdamW"
    assert kind(galore(module, layerwise=True)) == "Layerwise of GaLore of AdamW"
