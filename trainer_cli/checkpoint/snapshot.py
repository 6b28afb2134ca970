"""Tensors as they are at one moment, for a checkpoint that is written while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """Copies tensors to the CPU, into memory that is kept from one checkpoint to the next.

    New memory takes the kernel longer to give than the copying takes.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A dense copy of each; what shares its memory is one copy. It holds until the next is taken."""
        names = shared(tensors)
        firsts = {name: tensors[name].detach() for name in dict.fromkeys(names.values())}
        kept = {name: self._room(name, tensor) for name, tensor in firsts.items()}
        if kept:
            torch._foreach_copy_(list(kept.values()), list(firsts.values()))
        self._kept = kept
        return {name: kept[first] for name, first in names.items()}

    def _room(self, name: str, tensor: Tensor) -> Tensor:
        known = self._kept.get(name)
        if known is not None and known.shape == tensor.shape and known.dtype == tensor.dtype:
            return known
        # A GPU copies faster into memory that the kernel cannot move.
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)


def dense(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU and contiguous, themselves where they are so already."""
    names = shared(tensors)
    firsts = {name: alone(tensors[name]) for name in dict.fromkeys(names.values())}
    return {name: firsts[first] for name, first in names.items()}


def alone(tensor: Tensor) -> Tensor:
    """The same values on the CPU, dense, in memory that is no part of a larger tensor's."""
    values = tensor.detach().cpu().contiguous()
    return values.clone() if values.untyped_storage().nbytes() > values.nbytes else values


def shared(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """For each name the first one whose tensor has the same memory, in the same order."""
    first: dict[tuple[Any, ...], str] = {}
    return {name: first.setdefault(place(tensor), name) for name, tensor in tensors.items()}


def place(tensor: Tensor) -> tuple[Any, ...]:
    """Where in memory a tensor is, and how it lies there; of an empty one its identity."""
    if not tensor.numel():
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
