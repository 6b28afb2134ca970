"""What the verbs `list` and `show` tell: the options there are, and all that is known of one key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli.config import places, schema
from trainer_cli.config.check import SPECIAL, TARGET, unknown_key
from trainer_cli.config.compose import Composition
from trainer_cli.config.environment import as_written
from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.places import RECIPE
from trainer_cli.config.signatures import NoTarget, Resolver, Signature
from trainer_cli.config.sources import Source


@dataclass(frozen=True)
class Option:
    """An option of a group, or a recipe: what its file says of it, where it is, and the files it shadows."""

    group: str
    name: str
    description: str
    path: str
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A key of a composition: its value, type and meaning, and its places, of which the last one counts."""

    key: str
    value: Any
    type: str
    meaning: str
    sources: tuple[Source, ...]


def options(group: str | None = None, *, config_dirs: Sequence[str | Path] = ()) -> list[Option]:
    """The recipes and the options of all groups, or those of one group."""
    group = RECIPE if group == "recipes" else group
    groups = (RECIPE, *schema.GROUPS)
    if group is not None and group not in groups:
        hint = did_you_mean(group, groups)
        raise UserError(
            f"there is no group {group}", right="\n".join(filter(None, (hint, ", ".join(groups))))
        )
    roots = places.roots(config_dirs)
    return [
        _option(name, option, roots)
        for name in ([group] if group else groups)
        for option in places.options(name, roots)
    ]


def _option(group: str, name: str, roots: Sequence[places.Root]) -> Option:
    used, *shadowed = places.find(f"{group}/{name}", roots)
    try:
        comments = places.read(used).comments
    except UserError as error:
        comments = [error.problems[0].what]
    described = [line for line in comments if not line.startswith(("@", "trainer-cli "))]
    description = described[0] if described else ""
    return Option(group, name, description, places.short(used), tuple(map(places.short, shadowed)))


def show(key: str, composition: Composition) -> Shown:
    """All that is known of a key; raises UserError, with the nearest names, where there is no such key."""
    sources = tuple(composition.sources.get(key, ()))
    node: Any = as_written(composition.config)
    described = ("", "")
    parts = key.split(".")
    for depth, part in enumerate(parts):
        names, described = _members(composition, parts[:depth], node, part)
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif part in names and depth == len(parts) - 1:
            return Shown(key, None, *described, sources)
        else:
            siblings = [*names, *(node if isinstance(node, dict) else ())]
            problem = unknown_key(".".join(parts[: depth + 1]), composition.config, siblings)
            raise UserError.many([problem])
    if key in schema.GROUPS:
        described = _group(composition, key)
    return Shown(key, node, *described, sources)


def _members(
    composition: Composition, above: list[str], node: Any, name: str
) -> tuple[list[str], tuple[str, str]]:
    """The keys that there may be in a node, and the type and meaning of one of them."""
    if not above:
        kind = schema.TOP.get(name)
        return list(schema.ORDER), (str(kind or "a mapping"), kind.doc if kind else "")
    if above[0] in schema.TYPED:
        kinds = schema.kinds(schema.fields_of(above[0], node if isinstance(node, dict) else {}))
        kind = kinds.get(name)
        return list(kinds), (str(kind or ""), kind.doc if kind else "")
    taken = schema.TAKEN.get(".".join(above), {})
    if name in taken:
        return list(taken), (str(taken[name]), taken[name].doc)
    signature = _signature(composition, node)
    if signature is None:
        return list(taken), ("a mapping" if isinstance(node, dict) else "", "")
    names = [parameter.name for parameter in signature.parameters] + [*taken, *SPECIAL]
    if name == TARGET:
        return names, ("the dotted name of what is built", signature.doc)
    parameter = signature.parameter(name)
    if parameter is None:
        return names, ("", "")
    known = schema.KNOWN.get(above[0], {}).get(name)
    default = f"; {parameter.default} where it is not set" if parameter.default else ""
    kind = known if known and parameter.kind.name != "tuple" else parameter.kind
    return names, (f"{kind}{default}", parameter.doc or (known.doc if known else ""))


def _group(composition: Composition, group: str) -> tuple[str, str]:
    """The option of a group and its description."""
    choice = composition.choices.get(group, "")
    found = [option for option in options(group) if option.name == choice]
    return f"a group: {group}={choice}", found[0].description if found else ""


def _signature(composition: Composition, node: Any) -> Signature | None:
    if not isinstance(node, dict) or not isinstance(node.get(TARGET), str):
        return None
    try:
        return Resolver(composition.folders).signature(node[TARGET])
    except NoTarget:
        return None
