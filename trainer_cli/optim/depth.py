"""How deep in a model each parameter lies, for learning rates that differ by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Depths:
    """The layer of each parameter by its name, from 0, the embeddings, up to `top`, the head."""

    depth: dict[str, int]
    top: int

    def title(self, depth: int) -> str:
        """What the parameters of this depth are called."""
        return {0: "embeddings", self.top: "head"}.get(depth, f"layer_{depth - 1}")


@dataclass(frozen=True)
class Stack:
    """A list of layers of one class: its dotted name, its layers' names, and the depth below its first."""

    name: str
    layers: list[str]
    below: int

    @property
    def parent(self) -> str:
        """The name of the module that it is in."""
        return self.name.rpartition(".")[0]


def layer_depths(module: nn.Module) -> Depths | None:
    """The depths of all parameters; None for a model without repeated layers.

    What a module registers before its layers, and every embedding, is below them; what it registers after
    them is the head. Stacks in one module stand on each other, those of different modules side by side, as
    encoder and decoder do. A tied parameter is as deep as the lowest place that it has.
    """
    stacks = layer_stacks(module)
    if not stacks:
        return None
    top = max(stack.below + len(stack.layers) for stack in stacks) + 1
    embeddings = {name for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    places = list(module.named_parameters(remove_duplicate=False))
    order = [name for name, _ in places]
    depth: dict[int, int] = {}
    for index, (name, parameter) in enumerate(places):
        found = depth_in(stacks, name)
        if found is None:
            owner = name.rpartition(".")[0]
            is_embedding = owner in embeddings or "embedding" in name
            found = 0 if is_embedding or index < first_layer(stacks, owner, order) else top
        depth[id(parameter)] = min(found, depth.get(id(parameter), top))
    return Depths({name: depth[id(parameter)] for name, parameter in places}, top)


def layer_stacks(module: nn.Module) -> list[Stack]:
    """The stacks of layers that are modules of several parts; where there are none, of any layers."""
    found = list(repeated(module))
    whole = [(name, stack) for name, stack in found if list(next(stack.children()).children())]
    stacks: list[Stack] = []
    for name, stack in whole or found:
        parent = name.rpartition(".")[0]
        below = sum(len(other.layers) for other in stacks if other.parent == parent)
        stacks.append(Stack(name, [child for child, _ in stack.named_children()], below))
    return stacks


def repeated(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The lists and sequences of two or more layers of one class, none inside another, by name."""
    for name, child in module.named_children():
        layers = list(child.children()) if isinstance(child, nn.ModuleList | nn.Sequential) else []
        if len(layers) > 1 and len({type(layer) for layer in layers}) == 1 and list(layers[0].parameters()):
            yield prefix + name, child
        else:
            yield from repeated(child, f"{prefix}{name}.")


def depth_in(stacks: list[Stack], name: str) -> int | None:
    """The depth of a parameter that lies in a stack."""
    for stack in stacks:
        if name.startswith(f"{stack.name}."):
            layer = name.removeprefix(f"{stack.name}.").partition(".")[0]
            return stack.below + stack.layers.index(layer) + 1
    return None


def first_layer(stacks: list[Stack], owner: str, order: list[str]) -> int:
    """The place in `order` of the first layer in `owner`, or in the nearest module around it that has any."""
    while owner and not any(stack.name.startswith(f"{owner}.") for stack in stacks):
        owner = owner.rpartition(".")[0]
    around = f"{owner}." if owner else ""
    prefixes = tuple(f"{stack.name}." for stack in stacks if stack.name.startswith(around))
    return next(index for index, name in enumerate(order) if name.startswith(prefixes))
