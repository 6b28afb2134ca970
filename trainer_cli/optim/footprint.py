"""How many bytes an optimizer keeps of what it has seen: measured, on one parameter of each kind."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer_cli.optim.in_backward import InBackward, Layerwise
from trainer_cli.optim.learned import Wrapper
from trainer_cli.optim.low_rank import LowRank
from trainer_cli.optim.modal import Modal

LARGE = 1 << 22
"""Elements from which on a part of a tensor is measured in its place."""

PART = (1024, 896)
"""The largest first dimension of such a part, and the largest of the others: whole blocks of 8-bit states."""

Kind = tuple[str, torch.Size, torch.dtype, int]
"""What parameters have in common whose state is alike: the name less its numbers, shape, type and group."""


def state_bytes(module: nn.Module, optimizer: Optimizer) -> int:
    """The bytes of the optimizer's state once it has updated every parameter.

    It makes an update of one parameter of each kind, whose weights are put back; the optimizer is not to be
    used for training after that.
    """
    if any(optimizer.state.values()):  # it has made updates already
        held = {id(tensor): tensor for tensor in tensors(optimizer.state)}
        return sum(map(nbytes, held.values()))
    counts: dict[Kind, int] = defaultdict(int)
    one: dict[Kind, nn.Parameter] = {}
    for kind, parameter in kinds(module, optimizer):
        counts[kind] += 1
        one.setdefault(kind, parameter)
    if isinstance(optimizer, Modal):
        optimizer.train()
    shapes = {parameter: parameter.shape for parameter in one.values()}
    weights = {parameter: parameter.data for parameter in one.values()}
    try:
        for parameter in shapes:
            is_small = parameter.numel() < LARGE or _takes_part(optimizer, parameter)
            parameter.data = (parameter.data if is_small else part(parameter.data)).clone()
            parameter.grad = torch.full_like(parameter, 1e-3)
        update(optimizer, list(shapes))
        shared = {id(tensor): tensor for tensor in _shared(optimizer)}
        total, met = 0, set()
        for kind, parameter in one.items():
            own = {id(tensor): tensor for tensor in tensors(optimizer.state.get(parameter))}
            met |= own.keys() & shared.keys()
            alone = [tensor for name, tensor in own.items() if name not in shared]
            total += counts[kind] * sum(_size(tensor, parameter.shape, shapes[parameter]) for tensor in alone)
        return total + sum(nbytes(shared[name]) for name in met)
    finally:
        for parameter, data in weights.items():
            parameter.grad, parameter.data = None, data


def kinds(module: nn.Module, optimizer: Optimizer) -> Iterator[tuple[Kind, nn.Parameter]]:
    """Each parameter that the optimizer has, with its kind."""
    group_of = {
        parameter: index
        for index, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
    }
    for name, parameter in module.named_parameters():
        if parameter in group_of:
            yield (
                (re.sub(r"\d+", "#", name), parameter.shape, parameter.dtype, group_of[parameter]),
                parameter,
            )


def part(tensor: Tensor) -> Tensor:
    """A corner of a tensor."""
    corner = tensor
    for dimension, size in enumerate(tensor.shape):
        corner = corner.narrow(dimension, 0, min(size, PART[min(dimension, 1)]))
    return corner


@torch.no_grad()
def update(optimizer: Optimizer, parameters: list[nn.Parameter]) -> None:
    """Update these parameters, which alone have gradients."""
    if isinstance(optimizer, InBackward):
        for parameter in parameters:
            if isinstance(optimizer, Layerwise):
                inner = optimizer.of(parameter)
                _begin(inner, [parameter])
            (group,) = [
                group for group in optimizer.param_groups if any(p is parameter for p in group["params"])
            ]
            optimizer.update(parameter, group)
        return
    _begin(optimizer, parameters)
    optimizer.step()


def _begin(optimizer: Optimizer, parameters: list[nn.Parameter]) -> None:
    if isinstance(optimizer, LowRank):
        for parameter in parameters:
            optimizer.begin(parameter)


def _takes_part(optimizer: Optimizer, parameter: nn.Parameter) -> bool:
    """Whether the optimizer sees a small parameter in the place of this one."""
    inner = optimizer.of(parameter) if isinstance(optimizer, Layerwise) else optimizer
    return isinstance(inner, LowRank) and inner.projects(parameter)


def _shared(optimizer: Optimizer) -> Iterator[Tensor]:
    """The tensors that belong to the optimizer, to which the states of many parameters may refer."""
    own = {name: value for name, value in vars(optimizer).items() if name not in ("state", "param_groups")}
    yield from tensors(own)
    if isinstance(optimizer, Wrapper):
        for inner in optimizer.inner:
            yield from _shared(inner)


def _size(tensor: Tensor, measured: torch.Size, whole: torch.Size) -> int:
    """The bytes of a tensor of a state that was measured on a part, as it is for the whole parameter."""
    if measured == whole:
        return nbytes(tensor)
    grown = dict(zip(measured, whole, strict=True))
    if tensor.ndim == 1 and tensor.shape[0] not in grown and tensor.numel() > 1:  # of its blocks
        return round(nbytes(tensor) * whole.numel() / measured.numel())
    return round(nbytes(tensor) * math.prod(grown.get(size, size) / size for size in tensor.shape))


def tensors(state: Any) -> Iterator[Tensor]:
    """The tensors anywhere in a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from tensors(value)


def nbytes(tensor: Tensor) -> int:
    """The bytes of a tensor; of one made of others, as torchao's are, those of these."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.nbytes
    return sum(nbytes(getattr(tensor, name)) for name in flatten()[0])
