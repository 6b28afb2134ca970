"""State as tensors by name and a JSON tree that says where each belongs; no pickles."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from trainer_cli.checkpoint.snapshot import place
from trainer_cli.config.errors import UserError

WRAPPERS = "torchao.optim"
"""Where a tensor that wraps others may be defined: a checkpoint names a class of no other package."""


class Packer:
    """Takes values apart; `tensors` are those that it met, each once however many values share it."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def pack(self, value: Any, name: str) -> Any:
        """The value in JSON's types, its tensors by names that begin with this one.

        Raises UserError for what only a pickle could hold.
        """
        match value:
            case Tensor():
                return self._tensor(value, name)
            case Mapping() if all(isinstance(key, str) for key in value):
                return {key: self.pack(item, f"{name}.{key}") for key, item in value.items()}
            case tuple():
                return {"$tuple": self.pack(list(value), name)}
            case list():
                return [self.pack(item, f"{name}.{index}") for index, item in enumerate(value)]
            case torch.dtype():
                return {"$dtype": str(value).removeprefix("torch.")}
            case float() if not math.isfinite(value):
                return {"$float": str(value)}
            case None | bool() | int() | float() | str():
                return value
        raise UserError(
            f"no checkpoint can hold {name}, a {type(value).__name__}",
            right="state is made of tensors, numbers and text; args.save_strategy=no trains without saving",
        )

    def _tensor(self, tensor: Tensor, name: str) -> Any:
        if is_traceable_wrapper_subclass(tensor):
            parts, attributes = tensor.__tensor_flatten__()
            return {
                "$wrapper": wrapper_name(type(tensor)),
                "parts": {part: self._tensor(getattr(tensor, part), f"{name}.{part}") for part in parts},
                "attributes": self.pack(attributes, name),
            }
        where = place(tensor)
        known = self._names.setdefault(where, name)
        if known == name:
            self.tensors[name] = tensor.detach()
        # Matrix products round by the order in which the memory is read.
        return {"$tensor": known} | ({} if tensor.is_contiguous() else {"stride": list(tensor.stride())})


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `Packer.pack` took apart."""
    match value:
        case {"$tensor": name, "stride": stride}:
            tensor = tensors[name]
            return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)
        case {"$tensor": name}:
            return tensors[name]
        case {"$wrapper": name, "parts": parts, "attributes": attributes}:
            found = {part: unpack(item, tensors) for part, item in parts.items()}
            return wrapper(name).__tensor_unflatten__(found, unpack(attributes, tensors), None, None)
        case {"$tuple": items}:
            return tuple(unpack(items, tensors))
        case {"$dtype": name}:
            return getattr(torch, name)
        case {"$float": text}:
            return float(text)
        case dict():
            return {key: unpack(item, tensors) for key, item in value.items()}
        case list():
            return [unpack(item, tensors) for item in value]
    return value


def wrapper_name(kind: type) -> str:
    """The dotted name by which `wrapper` finds the class again; raises UserError where it would not."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not name.startswith(f"{WRAPPERS}."):
        raise UserError(f"no checkpoint can hold a tensor of {name}")
    return name


def wrapper(name: str) -> Any:
    """The class of a tensor that wraps others, from a name that a checkpoint gave."""
    module, _, attribute = name.rpartition(".")
    if not f"{module}.".startswith(f"{WRAPPERS}."):
        raise UserError(f"the checkpoint names {name}, which is no tensor of {WRAPPERS}")
    found = getattr(importlib.import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, Tensor)):
        raise UserError(f"the checkpoint names {name}, which is no tensor of {WRAPPERS}")
    return found
