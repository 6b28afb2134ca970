"""Layers: the files that Hydra lists, merged in its order, with the place of each key."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra import initialize_config_dir
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from trainer_cli.config import places
from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import Request
from trainer_cli.config.places import RECIPE, Document, Root
from trainer_cli.config.recipes import circle
from trainer_cli.config.schema import GROUPS, NAMED
from trainer_cli.config.sources import Sources

PRIMARY = "config"
"""The name of the file that holds the defaults list: always the built-in one."""

Chosen = tuple[tuple[str, tuple[str, ...]], ...]
"""The option, or several, of each group that a request has one for."""


@dataclass(frozen=True)
class Layers:
    """What the files say together: the values, the option of each group, and the place of each key."""

    config: DictConfig
    choices: dict[str, str]
    sources: Sources


def layers(request: Request, roots: tuple[Root, ...]) -> Layers:
    """Compose the chosen options and recipes; the command line's values come on top later.

    The jobs of a sweep choose alike: what the same files have been composed to is not composed again.
    """
    chosen = tuple(request.choices.items())
    return copy.deepcopy(_layers(request.recipes, chosen, roots, places.stamp(roots)))


@lru_cache(maxsize=32)
def _layers(
    recipes: tuple[str, ...],
    chosen: Chosen,
    roots: tuple[Root, ...],
    _stamp: tuple[Any, ...],
) -> Layers:
    files = [f"{group}/{name}" for group, names in [*chosen, (RECIPE, recipes)] for name in names]
    circles = [found for name in files if (found := circle(name, roots)) is not None]
    if circles:
        raise UserError.many(list(dict.fromkeys(circles)))
    lines = list(_lines(recipes, chosen))
    own = places.builtin().configs
    try:
        with places.searched(roots), initialize_config_dir(str(own), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            listed = loader.compute_defaults_list(PRIMARY, lines, RunMode.RUN)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError("the configuration cannot be composed", right=_reason(error)) from error
    config, sources = DictConfig({}), Sources()
    for document, default in _documents(listed.defaults, roots):
        is_recipe = (default.config_path or "").startswith(f"{RECIPE}/")
        package = (default.package or "").replace("_global_", "").strip(".")
        _merge(config, document, package)
        sources.add_document(document, package, "recipe" if is_recipe else "option")
    for group in NAMED:
        if group not in config or config[group] is None:
            config[group] = {}
    return Layers(config, _choices(recipes, chosen, listed.overrides.known_choices), sources)


def _merge(config: DictConfig, document: Document, package: str) -> None:
    """Merge a file's values into the configuration, at the place of its package."""
    values = {key: value for key, value in document.values.items() if key != "defaults"}
    for name in reversed(package.split(".") if package else []):
        values = {name: values}
    try:
        config.merge_with(values)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise UserError("the configuration cannot be composed", document.where(), what) from error


def default_options() -> dict[str, str]:
    """The option of each group that is used where nothing else is chosen."""
    listed = places.read(places.builtin().configs / f"{PRIMARY}.yaml").values["defaults"]
    return {group: option for item in listed if isinstance(item, dict) for group, option in item.items()}


def _lines(recipes: tuple[str, ...], chosen: Chosen) -> Iterator[str]:
    """The choices in Hydra's own words."""
    for group, names in chosen:
        add = "+" if "/" in group else ""
        yield f"{add}{group}={_listed(names)}" if names else f"~{group}"
    if recipes:
        yield f"+{RECIPE}={_listed(recipes)}"


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"[{','.join(quoted)}]"


def _documents(
    defaults: list[ResultDefault], roots: tuple[Root, ...]
) -> Iterator[tuple[Document, ResultDefault]]:
    for default in defaults:
        name = default.config_path or ""
        if name == PRIMARY:
            yield places.read(places.builtin().configs / f"{PRIMARY}.yaml"), default
        elif found := places.find(name, roots):
            yield places.read(found[0]), default


def _choices(recipes: tuple[str, ...], chosen: Chosen, known: dict[str, Any]) -> dict[str, str]:
    options = {group: option for group, option in known.items() if isinstance(option, str)}
    options |= {group: ",".join(names) for group, names in chosen}
    recipe = {RECIPE: ",".join(recipes)} if recipes else {}
    nested = [group for group in options if "/" in group and group.partition("/")[0] in GROUPS]
    return recipe | {group: options[group] for group in (*GROUPS, *nested) if options.get(group)}


def _reason(error: Exception) -> str:
    """Hydra's message, or that of the error behind it, without its pointers to Hydra's manual."""
    text = str(error) or str(error.__cause__ or "")
    return "\n".join(line for line in text.splitlines() if line.strip() and "hydra.cc" not in line)
