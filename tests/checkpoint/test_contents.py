"""Training state as files."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

from trainer_cli.checkpoint import contents
from trainer_cli.checkpoint.contents import (
    STATE,
    Start,
    TrainingState,
    gather_generators,
    generator_state,
    pack,
    parameter_names,
    restore_generators,
    restore_optimizer,
    restore_schedule,
)
from trainer_cli.checkpoint.store import FORMAT
from trainer_cli.config.errors import UserError
from trainer_cli.counts import Position
from trainer_cli.strategy import SingleProcess

CPU = torch.device("cpu")
NOTHING = TrainingState(run={}, callbacks={}, generators=[])


class Counting(Optimizer):
    """Keeps numbers, text and nothing at all beside its tensors."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        continue
                    state = self.state[parameter]
                    state["calls"] = state.get("calls", 0) + 1
                    state["rate"] = 0.1 / state["calls"]
                    state["mode"] = "plain"
                    state["nothing"] = None
                    state["mean"] = state.get("mean", 0) + parameter.grad
                    parameter -= group["lr"] * state["rate"] * state["mean"]


def adamw(params: Any, lr: float) -> Optimizer:
    return AdamW(params, lr=lr, fused=True)


def amsgrad(params: Any, lr: float) -> Optimizer:
    return AdamW(params, lr=lr, amsgrad=True, foreach=True)


def momentum(params: Any, lr: float) -> Optimizer:
    return SGD(params, lr=lr, momentum=0.9, nesterov=True)


def plain_sgd(params: Any, lr: float) -> Optimizer:
    return SGD(params, lr=lr)


def halving(optimizer: Optimizer) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: 0.5**step)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def write(
    directory: Path, training: TrainingState, module: nn.Module, optimizer: Optimizer, scheduler: LRScheduler
) -> None:
    names = parameter_names(module, optimizer)
    contents.write(directory, pack(training, optimizer, scheduler, names))


def read(
    directory: Path, module: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, step: int
) -> TrainingState:
    stored = contents.read(directory)
    names = parameter_names(module, optimizer)
    restore_optimizer(optimizer, stored.optimizer, names, set(dict(module.named_parameters())))
    restore_schedule(scheduler, optimizer, stored.scheduler, step)
    return stored.training


def groups(module: nn.Module) -> list[dict[str, Any]]:
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    return [{"params": weights}, {"params": [p for p in module.parameters() if p.ndim == 1]}]


def updates(module: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        module(torch.randn(4, 3, generator=generator)).square().sum().backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("make", [adamw, amsgrad, momentum, plain_sgd, Counting])
def test_an_optimizer_goes_on_bit_for_bit(tmp_path: Path, make: Callable[..., Optimizer]) -> None:
    module = network()
    optimizer = make(groups(module), lr=0.1)
    scheduler = halving(optimizer)
    updates(module, optimizer, scheduler, 0, 5)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    resumed = copy.deepcopy(module)
    other = make(groups(resumed), lr=0.1)
    other_scheduler = halving(other)
    read(tmp_path, resumed, other, other_scheduler, 5)
    updates(module, optimizer, scheduler, 5, 9)
    updates(resumed, other, other_scheduler, 5, 9)
    assert same(weights(module), weights(resumed))


def test_hyperparameters_are_todays(tmp_path: Path) -> None:
    module = network()
    optimizer = adamw(groups(module), lr=0.1)
    scheduler = halving(optimizer)
    updates(module, optimizer, scheduler, 0, 3)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    other = AdamW(groups(module), lr=0.8, betas=(0.5, 0.9), weight_decay=0.25)
    read(tmp_path, module, other, halving(other), 3)
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.1]  # 0.8 halved three times
    assert all(group["betas"] == (0.5, 0.9) for group in other.param_groups)
    assert all(group["weight_decay"] == 0.25 for group in other.param_groups)
    exp_avg = [state["exp_avg"] for state in optimizer.state.values()]
    assert same(exp_avg, [state["exp_avg"] for state in other.state.values()])


def test_frozen_parameters_without_state_stay_without(tmp_path: Path) -> None:
    module = network()
    module[0].requires_grad_(False)
    optimizer = adamw(module.parameters(), lr=0.1)
    scheduler = halving(optimizer)
    updates(module, optimizer, scheduler, 0, 2)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    other = adamw(module.parameters(), lr=0.1)
    read(tmp_path, module, other, halving(other), 2)
    assert other.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys() == {2, 3}


def cosine(optimizer: Optimizer) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=10)


def milestones(optimizer: Optimizer) -> LRScheduler:
    return MultiStepLR(optimizer, milestones=[2, 4, 6], gamma=0.1)


def one_cycle(optimizer: Optimizer) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=0.2, total_steps=10)


@pytest.mark.parametrize("schedule", [halving, cosine, milestones, one_cycle])
def test_a_schedule_goes_on_where_it_was(tmp_path: Path, schedule: Callable[..., LRScheduler]) -> None:
    def rates(count: int) -> list[list[float]]:
        found = []
        for _ in range(count):
            optimizer.step()
            scheduler.step()
            found.append([group["lr"] for group in optimizer.param_groups])
        return found

    module = network()
    optimizer = momentum(groups(module), lr=0.1)
    scheduler = schedule(optimizer)
    rates(3)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    expected = rates(5)
    optimizer = momentum(groups(module), lr=0.1)
    scheduler = schedule(optimizer)
    read(tmp_path, module, optimizer, scheduler, 3)
    assert scheduler.last_epoch == 3
    assert rates(5) == expected


def test_the_rest_comes_back_and_the_file_is_plain_json(tmp_path: Path) -> None:
    module = network()
    optimizer = Counting(groups(module), lr=0.1)
    scheduler = halving(optimizer)
    updates(module, optimizer, scheduler, 0, 2)
    training = TrainingState(
        run={"step": 2, "skipped_steps": 1, "epoch": 1, "samples": 8, "best_metric": 0.1 + 0.2},
        callbacks={"early_stopping": {"waited": 1, "best": None}},
        generators=gather_generators(SingleProcess(CPU)),
        data="0123456789abcdef",
        num_training_steps=20,
    )
    write(tmp_path, training, module, optimizer, scheduler)
    assert contents.starting_point(tmp_path) == Start(Position(updates=3, epoch=1, samples=8), planned=20)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    state = json.loads((tmp_path / STATE).read_text(), parse_constant=refuse)
    assert state["format"] == FORMAT
    assert state["optimizer"]["type"] == "Counting"
    assert state["scheduler"]["type"] == "LambdaLR"
    assert read(tmp_path, module, optimizer, scheduler, 2) == training


def draws() -> list[Any]:
    return [
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        [random.random(), random.gauss(0, 1), random.getrandbits(40)],
        np.random.rand(3).tolist(),
        np.random.randn(3).tolist(),
    ]


@pytest.mark.parametrize("odd", [False, True])
def test_every_generator_gives_the_same_next_numbers(odd: bool) -> None:
    if odd:  # a normal draw leaves its pair's other half behind
        np.random.randn()
        random.gauss(0, 1)
        torch.randn(1)
    state = json.loads(json.dumps(generator_state(CPU)))
    expected = draws()
    draws()
    restore_generators(state, CPU)
    assert draws() == expected


def test_taking_the_generators_state_draws_nothing() -> None:
    state = generator_state(CPU)
    first = draws()
    restore_generators(state, CPU)
    generator_state(CPU)
    gather_generators(SingleProcess(CPU))
    assert draws() == first


@pytest.mark.parametrize(("number", "release"), [(99, "a newer"), (1, "an older")])
def test_a_checkpoint_of_another_release_is_refused(tmp_path: Path, number: int, release: str) -> None:
    module = network()
    optimizer = adamw(groups(module), lr=0.1)
    write(tmp_path, NOTHING, module, optimizer, halving(optimizer))
    state = json.loads((tmp_path / STATE).read_text())
    (tmp_path / STATE).write_text(json.dumps({**state, "format": number}))
    with pytest.raises(UserError, match=f"by {release} release: its state is of format {number}, and this"):
        contents.read(tmp_path)


@pytest.mark.parametrize("make", [adamw, momentum, Counting])
def test_what_was_learned_goes_to_the_parameter_of_the_name(
    tmp_path: Path, make: Callable[..., Optimizer]
) -> None:
    module = network()
    optimizer = make(groups(module), lr=0.1)
    scheduler = halving(optimizer)
    updates(module, optimizer, scheduler, 0, 5)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    resumed = copy.deepcopy(module)
    other = make(list(resumed.parameters()), lr=0.1)  # one group, in another order
    other_scheduler = halving(other)
    read(tmp_path, resumed, other, other_scheduler, 5)
    updates(module, optimizer, scheduler, 5, 9)
    updates(resumed, other, other_scheduler, 5, 9)
    assert same(weights(module), weights(resumed))


def test_what_is_not_kept_begins_anew(tmp_path: Path) -> None:
    module = network()
    optimizer = adamw(groups(module), lr=0.1)
    updates(module, optimizer, halving(optimizer), 0, 5)
    write(tmp_path, NOTHING, module, optimizer, halving(optimizer))
    other = adamw(groups(module), lr=0.1)
    stored = contents.read(tmp_path)
    restore_optimizer(other, stored.optimizer, parameter_names(module, other), {"0.weight", "gone"})
    assert [list(other.state[p]) != [] for p in module.parameters()] == [True, False, False, False]


@pytest.mark.parametrize("schedule", [halving, cosine])
def test_a_learning_rate_in_a_tensor_stays_in_it(
    tmp_path: Path, schedule: Callable[[Optimizer], LRScheduler]
) -> None:
    def make(module: nn.Module) -> tuple[Optimizer, LRScheduler]:
        optimizer = AdamW(module.parameters(), lr=torch.tensor(0.1), fused=True)
        return optimizer, schedule(optimizer)

    module = network()
    optimizer, scheduler = make(module)
    updates(module, optimizer, scheduler, 0, 3)
    write(tmp_path, NOTHING, module, optimizer, scheduler)
    resumed = copy.deepcopy(module)
    other, other_scheduler = make(resumed)
    read(tmp_path, resumed, other, other_scheduler, 3)
    assert isinstance(other.param_groups[0]["lr"], Tensor)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    updates(module, optimizer, scheduler, 3, 6)
    updates(resumed, other, other_scheduler, 3, 6)
    assert same(weights(module), weights(resumed))


def test_what_is_read_begins_where_kernels_like_it(tmp_path: Path) -> None:
    module = network()
    optimizer = Counting(groups(module), lr=0.1)
    updates(module, optimizer, halving(optimizer), 0, 1)
    write(tmp_path, NOTHING, module, optimizer, halving(optimizer))
    read(tmp_path, module, optimizer, halving(optimizer), 1)
    assert all(state["mean"].data_ptr() % 16 == 0 for state in optimizer.state.values())
