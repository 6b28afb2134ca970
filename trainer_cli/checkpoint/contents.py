"""Training state as files: tensors in optimizer.safetensors, everything else in state.json."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainer_cli import durable
from trainer_cli.checkpoint.plain import Packer, unpack
from trainer_cli.checkpoint.store import FORMAT, STATE, check_format
from trainer_cli.config.errors import UserError
from trainer_cli.counts import Position
from trainer_cli.optim.learned import give_back, kind, learned
from trainer_cli.strategy import Strategy

TENSORS = "optimizer.safetensors"


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds beside the model, each part in the form of its `state_dict`.

    `data` and `eval_data` are fingerprints of the rows that train and that are scored, `num_training_steps`
    is what the schedule was made for.
    """

    run: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    generators: list[dict[str, Any]]  # one for each process
    data: str = ""
    eval_data: str = ""
    num_training_steps: int = 0


@dataclass(frozen=True)
class Packed:
    """Training state taken apart: the text of state.json, and the tensors that it names."""

    text: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Stored:
    """What a checkpoint gave back; `optimizer` and `scheduler` are for `restore_optimizer` and its like."""

    training: TrainingState
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]


def pack(
    training: TrainingState, optimizer: Optimizer, scheduler: LRScheduler, names: list[list[str]]
) -> Packed:
    """Take the state apart; `names` are those of each group's parameters.

    The tensors are the optimizer's own, which the next update changes. Raises UserError for a state that is
    not made of tensors, numbers and text.
    """
    packed, packer = optimizer.state_dict(), Packer()
    state = {
        "format": FORMAT,
        "run": packer.pack(training.run, "run"),
        "optimizer": {
            "type": kind(optimizer),
            "names": names,
            "groups": [
                packer.pack(learned(optimizer, group), f"group{index}")
                for index, group in enumerate(packed["param_groups"])
            ],
            "state": {
                str(key): packer.pack(value, str(key)) for key, value in sorted(packed["state"].items())
            },
        },
        "scheduler": {
            "type": type(scheduler).__name__,
            "num_training_steps": training.num_training_steps,
            "state": plain_state(scheduler),
        },
        "data": training.data,
        "eval_data": training.eval_data,
        "callbacks": packer.pack(training.callbacks, "callbacks"),
        "generators": training.generators,
    }
    return Packed(json.dumps(state), packer.tensors)  # indented, it would take five times as long


def write(directory: Path, packed: Packed) -> None:
    """Write both files."""
    save_file(packed.tensors, str(directory / TENSORS))
    (directory / STATE).write_text(packed.text, encoding="utf-8")


def read(directory: Path) -> Stored:
    """What `pack` took apart; raises UserError for a checkpoint without it, or of another format."""
    state = read_state(directory)
    # The file's tensors begin at any byte, and some kernels round by how their memory is aligned.
    tensors = {name: tensor.clone() for name, tensor in load_file(str(directory / TENSORS)).items()}
    optimizer, scheduler = state["optimizer"], state["scheduler"]
    return Stored(
        TrainingState(
            run=unpack(state["run"], tensors),
            callbacks=unpack(state["callbacks"], tensors),
            generators=state["generators"],
            data=state["data"],
            eval_data=state.get("eval_data", ""),
            num_training_steps=scheduler["num_training_steps"],
        ),
        optimizer={
            **optimizer,
            "groups": unpack(optimizer["groups"], tensors),
            "state": {int(index): unpack(value, tensors) for index, value in optimizer["state"].items()},
        },
        scheduler=scheduler,
    )


def read_state(directory: Path) -> Any:
    """What state.json holds; raises UserError for a checkpoint without it, or of another format."""
    if not (directory / STATE).exists():
        raise UserError(
            f"{directory} holds the model alone (args.save_only_model=true): no run can go on from it",
            right=f"model.pretrained={directory} starts a run with its weights",
        )
    state = durable.read_json(directory / STATE)
    check_format(state["format"], directory)
    return state


@dataclass(frozen=True)
class Start:
    """Where a run starts from: its position, and the updates that its schedule was made for."""

    at: Position
    planned: int


def starting_point(directory: Path) -> Start:
    """Where a run starts that is resumed from the checkpoint; raises UserError as `read` does."""
    state = read_state(directory)
    run = state["run"]
    at = Position(run["step"] + run["skipped_steps"], run["epoch"], run["samples"])
    return Start(at, int(state["scheduler"]["num_training_steps"]))


def parameter_names(module: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    """The dotted name of each parameter of each of the optimizer's groups."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def restore_optimizer(
    optimizer: Optimizer, stored: Mapping[str, Any], names: list[list[str]], kept: Collection[str]
) -> None:
    """Give the optimizer what it had learned of the `kept` parameters, whatever group they are in now.

    Hyperparameters (learning rate, decay, …) are those of today's configuration; what was learned of a group
    as a whole goes to the one that has its parameters now.
    """
    indices = {name: index for index, name in enumerate(chain.from_iterable(stored["names"]))}
    group_of = {name: index for index, group in enumerate(stored["names"]) for name in group}
    today = list(chain.from_iterable(names))
    state = {
        index: stored["state"][indices[name]]
        for index, name in enumerate(today)
        if name in kept and indices.get(name) in stored["state"]
    }
    known = [[group_of[name] for name in group if name in group_of] for group in names]
    give_back(optimizer, state, [stored["groups"][found[0]] if found else {} for found in known])


def plain_state(scheduler: LRScheduler) -> dict[str, Any]:
    """The schedule's state less what JSON cannot hold: the functions that today's configuration builds."""
    state = scheduler.state_dict()
    return {name: numbers(value) for name, value in state.items() if name != "lr_lambdas"}


def numbers(value: Any) -> Any:
    """A value without the tensors that some optimizers keep their learning rate in."""
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return value.item() if isinstance(value, Tensor) else value


def set_lr(group: dict[str, Any], lr: float | Tensor) -> None:
    """Give a parameter group a learning rate, in the tensor that holds it where one does."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def restore_schedule(
    scheduler: LRScheduler, optimizer: Optimizer, stored: Mapping[str, Any], step: int
) -> None:
    """Go on after so many updates; a schedule that is a function of them follows today's configuration.

    One that is not has its state back; it begins anew where the run had another kind.
    """
    if isinstance(scheduler, LambdaLR):
        scheduler.last_epoch, scheduler._step_count = step, step + 1
        factors = [function(step) for function in scheduler.lr_lambdas]
        for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, factors, strict=True):
            set_lr(group, base * factor)
        scheduler._last_lr = [float(group["lr"]) for group in optimizer.param_groups]
    elif stored["type"] == type(scheduler).__name__:
        scheduler.load_state_dict(with_integer_keys(stored["state"]))
        for group, lr in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            set_lr(group, lr)


def with_integer_keys(value: Any) -> Any:
    """JSON makes every key text; those that are numbers, as a schedule's milestones are, made so again."""
    if isinstance(value, Mapping):
        return {int(key) if key.isdigit() else key: with_integer_keys(item) for key, item in value.items()}
    return [with_integer_keys(item) for item in value] if isinstance(value, list) else value


def gather_generators(strategy: Strategy) -> list[dict[str, Any]]:
    """Every process's `generator_state`, in rank order."""
    own = json.dumps(generator_state(strategy.device)).encode()
    parts = strategy.gather(torch.frombuffer(bytearray(own), dtype=torch.uint8))
    return [json.loads(bytes(part.tolist())) for part in parts]


def generator_state(device: torch.device) -> dict[str, Any]:
    """This process's random generators (torch, CUDA, Python, NumPy) in JSON's types."""
    version, internal, gauss = random.getstate()
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    state = {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "python": [version, list(internal), gauss],
        "numpy": {
            **numpy_state,
            "state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()},
        },
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).numpy().tobytes().hex()
    return state


def restore_generators(state: Mapping[str, Any], device: torch.device) -> None:
    """Put this process's random generators where `generator_state` found them."""
    torch.set_rng_state(from_hex(state["torch"]))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    stored = state["numpy"]
    key = np.array(stored["state"]["key"], dtype=np.uint32)
    np.random.set_state({**stored, "state": {**stored["state"], "key": key}})
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(from_hex(state["cuda"]), device)


def from_hex(text: str) -> Tensor:
    """A byte tensor from its hex digits."""
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
