"""From a checked configuration to objects: targets named, arguments bound, refusals in plain words."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from trainer_cli.config import offers, targets
from trainer_cli.config.check import bind, targets_own
from trainer_cli.config.compose import escaped
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.own_code import headline, is_refusal, raised_in
from trainer_cli.config.schema import OFFERED
from trainer_cli.config.secrets import revealed
from trainer_cli.config.signatures import Resolver

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it prints what it raises as well


def instantiate(where: str, node: Mapping[str, Any], **offered: Any) -> Any:
    """What the node's `_target_` makes of its keys, and of those offered values that it has parameters for.

    Raises UserError when the target refuses its values; an error in the user's own code comes as it is.
    """
    node = targets_own(where, node)
    target = hydra.utils.get_object(node["_target_"])
    names = _parameters(target)
    given = {name: value for name, value in offered.items() if name in names and name not in node}
    try:
        # Hydra resolves what it is given, and then the result of that.
        values = escaped(revealed(guarded(node)), times=2)
        make = hydra.utils.instantiate({**values, "_partial_": True}, _convert_="all")
        return make(**given)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(cause, UserError):
            raise cause from None
        if is_refusal(cause):
            what = f"{where} ({node['_target_']}) refuses its values: {str(cause) or type(cause).__name__}"
            raise UserError(what, right=raised_in(cause)) from cause
        raise cause from None


def part(where: str, node: Mapping[str, Any], **offered: Any) -> Any:
    """A part of a group, as `instantiate` makes it; raises UserError where it is not what the group takes."""
    made = instantiate(where, node, **offered)
    group = offers.group_of(where)
    base = offers.PARTS[group].base
    if not offers.is_instance(made, base):
        what = f"{where}._target_ gives a {type(made).__name__}, not a {base}"
        raise UserError(what, right=targets.takes(group))
    return made


def guarded(value: Any) -> Any:
    """The values, with what transformers loads held to safetensors and to code that is installed.

    Unasked it would unpickle the one, and ask on the terminal about the other.
    """
    if isinstance(value, Mapping):
        defaults = offers.load_defaults(str(value.get("_target_", "")))
        return {**defaults, **{name: guarded(item) for name, item in value.items()}}
    return [guarded(item) for item in value] if isinstance(value, list) else value


def has_parameter(node: Mapping[str, Any], name: str) -> bool:
    """Whether the node's `_target_` has a parameter of this name."""
    return name in _parameters(hydra.utils.get_object(node["_target_"]))


def _parameters(target: Any) -> Collection[str]:
    """The names that a target can be given values by; none where Python cannot tell, as of some in C."""
    try:
        return inspect.signature(target).parameters
    except ValueError:
        return ()


def parts(where: str, nodes: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
    """The parts of a group of named nodes, in order; a name that was set to null is left out."""
    return {
        name: part(f"{where}.{name}", node, **offered) for name, node in nodes.items() if node is not None
    }


def check_targets(config: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Check that each node's target may stand there, and takes the node's keys, before anything is built."""
    problems: list[Problem] = []
    plugins, resolver = config["plugins"], Resolver(folders)
    for where, node in target_nodes(config):
        named = str(node["_target_"])
        why = targets.refusal(named, plugins, resolver, offers.group_of(where))
        if why:
            problems.append(Problem(f"{where}._target_ may not name {named}", right=why))
            continue
        try:
            target = hydra.utils.get_object(node["_target_"])
        except Exception as error:  # whatever the import of a user's module raises
            cause = error.__cause__ or error  # what Hydra wraps
            what = f"{where}._target_={node['_target_']} cannot be imported: {headline(cause)}"
            problems.append(Problem(what, right=raised_in(cause)))
            continue
        problems += bind(
            where,
            node,
            target,
            offered=OFFERED.get(where.split(".")[0], ()),
            plugins=plugins,
            folders=folders,
        )
    if problems:
        raise UserError.many(problems)


def target_nodes(config: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, at any depth, with its dotted key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield where, config
        for name, value in config.items():
            yield from target_nodes(value, f"{where}.{name}" if where else str(name))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from target_nodes(value, f"{where}.{index}")
