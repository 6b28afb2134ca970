"""Swaps: options chosen on the command line over values that a recipe tuned for another option."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_cli.config.overrides import Request
from trainer_cli.config.places import Root, find, read
from trainer_cli.config.recipes import Recipes
from trainer_cli.config.sources import Sources


@dataclass(frozen=True)
class Swap:
    """`group=chosen` on the command line, where the recipe was written for `group=meant`."""

    group: str
    chosen: str
    meant: str


def swaps(request: Request, used: Recipes, defaults: dict[str, str]) -> list[Swap]:
    """The groups whose option on the command line is not the one that the recipes were written for."""
    found = []
    for group, names in request.choices.items():
        meant = ",".join(used.choices.get(group, (defaults.get(group, ""),)))
        if used.documents and ",".join(names) != meant:
            found.append(Swap(group, ",".join(names), meant))
    return found


def warnings(
    swaps: Sequence[Swap], config: dict[str, Any], sources: Sources, roots: Sequence[Root]
) -> Iterator[str]:
    """A warning for each swapped group that keeps values which a recipe tuned for the other option."""
    for swap in swaps:
        own = _own_values(swap, roots)
        kept, resets = [], []
        for key, places in sources.items():
            name = key.removeprefix(f"{swap.group}.")
            if name == key or places[-1].origin != "recipe" or not _is_set(config, key):
                continue
            value = places[-1].value
            if isinstance(value, dict) or own.get(name, ...) == value:
                continue
            kept.append(f"{key}={plain(value)} ({places[-1].text})")
            resets.append(f"{key}={plain(own[name])}" if name in own else f"~{key}")
        if kept:
            yield (
                f"{swap.group}={swap.chosen} keeps what the recipe tuned for {swap.group}={swap.meant}: "
                f"{', '.join(kept)}\n  for the values of {swap.chosen} add: {' '.join(resets)}"
            )


def plain(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(plain, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{plain(item)}' for key, item in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _own_values(swap: Swap, roots: Sequence[Root]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in swap.chosen.split(","):
        for path in find(f"{swap.group}/{name}", roots)[:1]:
            values |= _flat(read(path).values)
    return values


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _is_set(config: dict[str, Any], key: str) -> bool:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True
