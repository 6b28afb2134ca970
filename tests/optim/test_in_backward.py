"""Updates within the backward pass."""

from __future__ import annotations

import copy
from typing import Any

import torch
from small_network import Network, network, train, train_in_backward, weights_of
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.checkpoint import checkpoint

from trainer_cli.optim import InBackward
from trainer_cli.optim.in_backward import Layerwise


class Recording(InBackward):
    """Notes how many gradients there are when it is called."""

    def __init__(self, params: Any, module: nn.Module) -> None:
        super().__init__(params, {"lr": 1.0})
        self.module = module
        self.alive: list[int] = []

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        self.alive.append(sum(weight.grad is not None for weight in self.module.parameters()))


def groups(module: Network) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim == 2]
    rest = [parameter for parameter in module.parameters() if parameter.ndim == 1]
    return [{"params": decayed, "lr": 0.02}, {"params": rest, "weight_decay": 0.0}]


def adamw(given: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(given, lr=0.01, weight_decay=0.1, fused=True)


def test_one_gradient_is_alive_at_a_time() -> None:
    module = network()
    optimizer = Recording(module.parameters(), module)
    train_in_backward(module, optimizer, steps=2)
    assert optimizer.alive == [1] * 10


def test_layerwise_is_the_optimizer_itself() -> None:
    module, other = network(torch.float32), network(torch.float32)
    train(module, adamw(groups(module)), steps=5)
    train_in_backward(other, Layerwise(groups(other), adamw), steps=5)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_a_schedule_is_seen_at_once() -> None:
    module = network()
    optimizer, before = Layerwise(groups(module), adamw), weights_of(module)
    scheduler = LambdaLR(optimizer, lambda step: 0.0)
    train_in_backward(module, optimizer, steps=2)
    scheduler.step()
    for group in optimizer.param_groups:
        assert group["lr"] == 0.0
    for parameter, wanted in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, wanted)


def test_a_loaded_state_goes_on() -> None:
    module = network(torch.bfloat16)
    optimizer = Layerwise(groups(module), adamw)
    train_in_backward(module, optimizer, steps=3)
    other = copy.deepcopy(module)
    resumed = Layerwise(groups(other), adamw)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train_in_backward(module, optimizer, steps=3, first=3)
    train_in_backward(other, resumed, steps=3, first=3)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_a_weight_in_two_places_is_updated_once_by_the_sum() -> None:
    def run(in_backward: bool) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(4, 4).double()
        optimizer: Any = Layerwise([{"params": layer.parameters()}], adamw) if in_backward else None
        optimizer = optimizer or adamw([{"params": layer.parameters()}])
        for step in range(3):
            rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(step)).double()
            twice = checkpoint(layer, torch.tanh(layer(rows)), use_reentrant=False)
            assert isinstance(twice, Tensor)
            twice.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return layer.weight.detach()

    assert torch.equal(run(in_backward=True), run(in_backward=False))
