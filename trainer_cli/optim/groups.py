"""Parameter groups: which parameters decay, and which have hyperparameters of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.optim.depth import layer_depths
from trainer_cli.optim.learned import defaults


def parameter_groups(module: nn.Module, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trainable parameters, each in one group, with what a group has that the optimizer's node has not.

    `config` is that node. The groups of `config["groups"]` come after all others, and of each the higher
    layers and what decays come first: the first group has the node's own learning rate, unless all parameters
    that would are in entries. Which groups there are does not depend on the values in them: with other values
    on resume, each parameter is where it was.
    Raises UserError for a pattern that matches nothing.
    """
    entries = config.get("groups") or []
    patterns = [as_list(entry["modules"]) for entry in entries]
    check_patterns(module, patterns)
    factor: float | None = config.get("layerwise_lr_decay")
    depths = {} if factor is None else trained_depths(module)
    groups: dict[tuple[int, int, bool], dict[str, Any]] = {}
    for name, parameter, decayed in trainable(module):
        index = next((i for i, part in enumerate(patterns) if found_in(part, name)), -1)
        own = {} if index < 0 else {key: value for key, value in entries[index].items() if key != "modules"}
        titles = [] if index < 0 else ["|".join(patterns[index])]
        below = 0
        if factor is not None and "lr" not in own:
            below, title = depths[name]
            titles.append(title)
            if below:
                own["lr"] = rate(config) * factor**below
        if not decayed:
            own["weight_decay"] = 0.0
        titles.append("decay" if decayed else "no_decay")
        key = (index, below, not decayed)
        group = groups.setdefault(key, {"name": ".".join(titles), "params": [], **own})
        group["params"].append(parameter)
    check_entries(entries, groups)
    return [groups[key] for key in sorted(groups)]


def check_hyperparameters(optimizer: Optimizer, config: Mapping[str, Any]) -> None:
    """Raise UserError for what an entry sets, but the optimizer has for all its parameters together."""
    for index, entry in enumerate(config.get("groups") or []):
        for name in entry.keys() - {"modules", *defaults(optimizer)}:
            raise UserError(
                f"optim.groups.{index}.{name}: {type(optimizer).__name__} has one {name} for all parameters",
                right=f"optim.{name}=VALUE",
            )


def check_fused(optimizer: Optimizer, module: nn.Module) -> None:
    """Raise UserError for what a fused optimizer refuses in its first update: complex parameters."""
    complex_ones = [name for name, parameter, _ in trainable(module) if parameter.is_complex()]
    if complex_ones and optimizer.defaults.get("fused"):
        raise UserError(
            f"optim.fused=true updates real numbers, and {', '.join(complex_ones)} is complex",
            right="optim.fused=false",
        )


def trainable(module: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Each parameter that is not frozen, once, in the module's order, and whether it decays."""
    owners = dict(module.named_modules())
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            owner, _, leaf = name.rpartition(".")
            yield name, parameter, decays(owners[owner], leaf, parameter)


def decays(owner: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: not to biases, norms and whatever else has fewer than two dimensions."""
    is_bias = "bias" in name.split("_")
    return parameter.ndim >= 2 and not is_bias and not isinstance(owner, nn.LayerNorm | nn.RMSNorm)


def trained_depths(module: nn.Module) -> dict[str, tuple[int, str]]:
    """How far each parameter is below the highest one that is trained, and what its layer is called.

    Raises UserError for a model that has no layers to count.
    """
    depths = layer_depths(module)
    if depths is None:
        raise UserError(
            f"optim.layerwise_lr_decay: {type(module).__name__} has no list of equal layers to count",
            right="optim.groups=[{modules: REGEX, lr: ...}] sets learning rates by name",
        )
    trained = {name: depths.depth[name] for name, _, _ in trainable(module)}
    return {name: (max(trained.values()) - depth, depths.title(depth)) for name, depth in trained.items()}


def rate(config: Mapping[str, Any]) -> float:
    """The node's own learning rate; raises UserError where it has none."""
    lr = config.get("lr")
    if lr is None:
        raise UserError("optim.layerwise_lr_decay needs a learning rate", right="optim.lr=VALUE")
    return float(lr)


def check_patterns(module: nn.Module, patterns: Sequence[list[str]]) -> None:
    """Raise UserError for a pattern that is found in no parameter's name, with the names that are near."""
    names = [name for name, _ in module.named_parameters()]
    aliases = {name for name, _ in module.named_parameters(remove_duplicate=False)} - set(names)
    for index, pattern in ((i, pattern) for i, part in enumerate(patterns) for pattern in part):
        if found_in([pattern], *names):
            continue
        modules = [name for name, _ in module.named_modules()]
        top = ", ".join(name for name, _ in module.named_children())
        right = did_you_mean(pattern, [*modules, *(part for name in names for part in name.split("."))])
        if found_in([pattern], *aliases):
            right = "it is tied to another parameter, which has the name that counts"
        raise UserError(
            f"optim.groups.{index}.modules: {pattern} is in no parameter's name",
            right=right or f"at the top the model has {top}",
        )


def check_entries(
    entries: Sequence[Mapping[str, Any]], groups: Mapping[tuple[int, int, bool], Mapping[str, Any]]
) -> None:
    """Raise UserError for an entry without parameters, or with a weight decay that none of them takes."""
    for index, entry in enumerate(entries):
        decaying = [not undecayed for number, _, undecayed in groups if number == index]
        if not decaying:
            raise UserError(
                f"optim.groups.{index}: what {entry['modules']} matches is frozen, or in a group before it",
                right="the first group that matches counts: put the narrower one first",
            )
        if entry.get("weight_decay") and not any(decaying):
            raise UserError(
                f"optim.groups.{index}.weight_decay: {entry['modules']} matches only biases, norms and"
                " vectors, which never decay",
                right="leave it out",
            )


def as_list(modules: str | list[str]) -> list[str]:
    """One pattern or several as several."""
    return [modules] if isinstance(modules, str) else list(modules)


def found_in(patterns: Sequence[str], *names: str) -> bool:
    """Whether any pattern is found in any of the names."""
    return any(re.search(pattern, name) for pattern in patterns for name in names)
