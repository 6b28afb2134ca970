"""A module as files: as `from_pretrained` loads it where it is transformers' own, else its weights alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer_cli.checkpoint.snapshot import dense, shared

WEIGHTS = "model.safetensors"


def is_transformers_model(module: nn.Module) -> bool:
    """Whether the module is transformers' own, without importing that library."""
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


def save(module: Any, tokenizer: Any, directory: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write weights, and the config and tokenizer where there are any.

    `weights` stand for the module's own where they are given, dense and on the CPU.
    """
    if is_transformers_model(module):
        module.save_pretrained(directory, state_dict=None if weights is None else dict(weights))
    else:
        save_weights(module.state_dict() if weights is None else weights, directory / WEIGHTS)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def save_weights(weights: Mapping[str, Tensor], file: Path) -> None:
    """Write weights alone; what shares its memory is written once."""
    firsts = dict.fromkeys(shared(weights).values())
    save_file(dense({name: weights[name] for name in firsts}), str(file))


def load(module: Any, directory: Path) -> None:
    """Put the weights that `save` wrote into the module; raises RuntimeError when they do not fit."""
    weights = read(module, directory)
    if wrong := misfits(module, weights):
        raise RuntimeError(f"{directory}: {wrong[0]}")
    put(module, weights)


def read(module: Any, directory: Path) -> dict[str, Tensor]:
    """The weights that `save` wrote for such a module, under the names that they have in it."""
    if not is_transformers_model(module):
        return read_weights(directory / WEIGHTS)
    stored, found = type(module).from_pretrained(directory, dtype=module.dtype, output_loading_info=True)
    return {name: weight for name, weight in stored.state_dict().items() if name not in found["missing_keys"]}


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights that `save_weights` wrote."""
    return load_file(str(file))


def misfits(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In what the weights are not such a module's, in words, a line a name."""
    own = module.state_dict()
    there = {first for name, first in shared(own).items() if name in weights}
    wrong = []
    for name, first in shared(own).items():
        if name in weights and weights[name].shape != own[name].shape:
            wrong.append(f"{name} is {shape(weights[name])} there and {shape(own[name])} here")
        elif first not in there:
            wrong.append(f"{name} is not there")
    return wrong + [f"{name} is not here" for name in weights if name not in own]


def put(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put those of the weights that fit into the module."""
    own = module.state_dict()
    fitting = {
        name: weight for name, weight in weights.items() if name in own and weight.shape == own[name].shape
    }
    module.load_state_dict(fitting, strict=False)


def shape(tensor: Tensor) -> str:
    """A tensor's dimensions, as people write them."""
    return " × ".join(map(str, tensor.shape)) or "a number"
