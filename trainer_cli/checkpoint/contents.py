"""Training state as files: tensors in optimizer.safetensors, everything else in state.json."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainer_cli.checkpoint.plain import Packer, unpack
from trainer_cli.config.errors import UserError
from trainer_cli.optim.learned import give_back, kind, learned
from trainer_cli.strategy import Strategy

OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
FORMAT = 2
"""Of state.json; a checkpoint of another one is refused."""


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds beside the model, each part in the form of its `state_dict`."""

    run: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    generators: list[dict[str, Any]]  # one for each process


def write(directory: Path, training: TrainingState, optimizer: Optimizer, scheduler: LRScheduler) -> None:
    """Write both files."""
    packed, packer = optimizer.state_dict(), Packer()
    state = {
        "format": FORMAT,
        "run": training.run,
        "optimizer": {
            "type": kind(optimizer),
            "sizes": group_sizes(optimizer),
            "groups": [
                packer.pack(learned(optimizer, group), f"group{index}")
                for index, group in enumerate(packed["param_groups"])
            ],
            "state": {str(key): packer.pack(value, str(key)) for key, value in packed["state"].items()},
        },
        "scheduler": {"type": type(scheduler).__name__, "state": plain_state(scheduler)},
        "callbacks": training.callbacks,
        "generators": training.generators,
    }
    save_file(packer.tensors, str(directory / OPTIMIZER))
    (directory / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")


def read(directory: Path, optimizer: Optimizer, scheduler: LRScheduler) -> TrainingState:
    """Put the optimizer and the schedule where they were, and return the rest.

    Hyperparameters (learning rate, decay, …) are those of today's configuration; what the optimizer learned
    is the checkpoint's. Raises UserError where another kind of optimizer, or one of other groups, learned it.
    """
    state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    if state["format"] != FORMAT:
        raise UserError(
            f"{directory} is of format {state['format']}, and this release reads format {FORMAT}",
            right=f"trainer-cli as {directory.parent / 'run.json'} names it goes on from it; "
            f"model.pretrained={directory} starts a run with its weights",
        )
    stored = state["optimizer"]
    check_same_optimizer(stored, optimizer, directory)
    # The file's tensors begin at any byte, and some kernels round by how their memory is aligned.
    tensors = {name: tensor.clone() for name, tensor in load_file(str(directory / OPTIMIZER)).items()}
    give_back(
        optimizer,
        {int(index): unpack(value, tensors) for index, value in stored["state"].items()},
        unpack(stored["groups"], tensors),
    )
    restore_schedule(scheduler, optimizer, state["scheduler"]["state"])
    return TrainingState(state["run"], state["callbacks"], state["generators"])


def check_same_optimizer(stored: Mapping[str, Any], optimizer: Optimizer, directory: Path) -> None:
    """Raise UserError unless the optimizer is of the kind that the checkpoint stored, in groups as large."""
    if stored["type"] != kind(optimizer):
        raise UserError(
            f"{directory.name} holds the state of {stored['type']}, but optim builds {kind(optimizer)}",
            right=f"only that of {directory.parent / 'config.yaml'} can go on; "
            f"model.pretrained={directory} starts a run with another one",
        )
    if stored["sizes"] != group_sizes(optimizer):
        raise UserError(
            f"{directory.name} has parameter groups of {stored['sizes']} parameters, but optim makes "
            f"{group_sizes(optimizer)}",
            right=f"only those of {directory.parent / 'config.yaml'} can go on",
        )


def group_sizes(optimizer: Optimizer) -> list[int]:
    """How many parameters each group has."""
    return [len(group["params"]) for group in optimizer.param_groups]


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


def restore_schedule(scheduler: LRScheduler, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Go on at the stored step; a schedule that is a function of the step follows today's configuration."""
    if not isinstance(scheduler, LambdaLR):
        scheduler.load_state_dict(with_integer_keys(state))
        for group, lr in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            set_lr(group, lr)
        return
    scheduler.last_epoch = state["last_epoch"]
    scheduler._step_count = state["_step_count"]
    factors = [function(scheduler.last_epoch) for function in scheduler.lr_lambdas]
    for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, factors, strict=True):
        set_lr(group, base * factor)
    scheduler._last_lr = [float(group["lr"]) for group in optimizer.param_groups]


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
