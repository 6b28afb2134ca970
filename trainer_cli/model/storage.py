"""A module as files: as `from_pretrained` loads it where it is transformers' own, else its weights alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from torch import nn

WEIGHTS = "model.safetensors"


def is_transformers_model(module: nn.Module) -> bool:
    """Whether the module is transformers' own, without importing that library."""
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


def save(module: Any, tokenizer: Any, directory: Path) -> None:
    """Write weights, and the config and tokenizer where there are any."""
    if is_transformers_model(module):
        module.save_pretrained(directory)
    else:
        save_weights(module, directory / WEIGHTS)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def load(module: Any, directory: Path) -> None:
    """Put the weights that `save` wrote into the module; raises RuntimeError when they do not fit."""
    if is_transformers_model(module):
        stored = type(module).from_pretrained(directory, dtype=module.dtype)
        module.load_state_dict(stored.state_dict())
    else:
        load_weights(module, directory / WEIGHTS)


def save_weights(module: nn.Module, file: Path) -> None:
    """Write the module's weights alone."""
    save_model(module, str(file))


def load_weights(module: nn.Module, file: Path) -> None:
    """Put the weights that `save_weights` wrote into the module."""
    load_model(module, str(file))
