"""From a checked configuration to objects: targets named, arguments bound, refusals in plain words."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from trainer_cli.config.check import bind, targets_own
from trainer_cli.config.compose import escaped
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.own_code import headline, is_refusal, raised_in
from trainer_cli.config.schema import OFFERED
from trainer_cli.config.secrets import revealed

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
        values = escaped(revealed(node), times=2)
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


def _parameters(target: Any) -> Collection[str]:
    """The names that a target can be given values by; none where Python cannot tell, as of some in C."""
    try:
        return inspect.signature(target).parameters
    except ValueError:
        return ()


def instantiate_named(where: str, nodes: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
    """The parts of a group of named nodes, in order; a name that was set to null is left out."""
    return {
        name: instantiate(f"{where}.{name}", node, **offered)
        for name, node in nodes.items()
        if node is not None
    }


def check_targets(config: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Bind every node's keys to its target's real signature, before anything is built."""
    problems: list[Problem] = []
    for where, node in target_nodes(config):
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
            plugins=config["plugins"],
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
