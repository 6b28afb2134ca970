"""The command line's overrides: read with Hydra's grammar, sorted, applied, and expanded for a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.hugging_face import other_name
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.places import RECIPE, Root, find, is_group, options
from trainer_cli.config.schema import GROUPS, NAMED

SEARCH_PATH = "hydra.searchpath"


@dataclass(frozen=True)
class Request:
    """What a command line asks for: recipes, an option (or several) of a group, and values of keys.

    `unknown` are the groups for which it names an option that does not exist.
    """

    recipes: tuple[str, ...] = ()
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: tuple[Override, ...] = ()
    unknown: frozenset[str] = frozenset()


def where(override: Override) -> str:
    """How the place of a value given on the command line is named."""
    return f"command line: {override.input_line}"


def parse(overrides: Iterable[str]) -> tuple[list[Override], list[Problem]]:
    """The overrides that can be read, and a problem for each one that cannot."""
    parser = OverridesParser.create()
    parsed: list[Override] = []
    problems: list[Problem] = []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException:
            problems.append(Problem(f"cannot read the override {text!r}", right=_grammar(text)))
    return parsed, problems


def _grammar(text: str) -> str:
    if "=" not in text and not text.startswith("~"):
        return f"write {text.lstrip('+')}=VALUE to set it, or ~{text.lstrip('+')} to remove it"
    key, _, value = text.partition("=")
    quoted = value.replace("'", "\\'")
    return f"put a value with special characters in quotes, twice for the shell: \"{key}='{quoted}'\""


def request(parsed: Sequence[Override], roots: Sequence[Root]) -> tuple[Request, list[Problem]]:
    """Sort single-valued overrides into recipes, choices and values; a group's last choice wins."""
    problems: list[Problem] = []
    recipes: list[tuple[str, ...]] = []
    choices: dict[str, tuple[str, ...]] = {}
    values: list[Override] = []
    unknown: set[str] = set()
    for override in parsed:
        problem = _refusal(override, roots)
        if problem:
            problems.append(problem)
        elif not chooses(override, roots):
            values.append(override)
        else:
            chosen, wrong = _chosen(override, roots)
            problems += wrong
            if wrong:
                unknown.add(override.key_or_group)
            elif override.key_or_group == RECIPE:
                recipes.append(chosen)
            else:
                choices[override.key_or_group] = chosen
    if len(recipes) > 1:
        both = ",".join(dict.fromkeys(itertools.chain(*recipes)))
        problems.append(Problem("recipe is given twice", right=f"to combine them: recipe=[{both}]"))
    last = recipes[-1] if recipes else ()
    return Request(last, choices, tuple(values), frozenset(unknown)), problems


def chooses(override: Override, roots: Sequence[Root]) -> bool:
    """Whether the override picks a group's option (`optim=sgd`) rather than sets a value."""
    is_value = override.is_delete() or isinstance(override.value(), dict)
    return not is_value and is_group(override.key_or_group, roots)


def _refusal(override: Override, roots: Sequence[Root]) -> Problem | None:
    line, key = override.input_line or "", override.key_or_group
    if override.is_sweep_override():
        name, _, several = line.lstrip("+").partition("=")
        return Problem(
            f"{name} is given several values: {several}",
            where(override),
            f"-m {line} sweeps over them; {name}=[{several}] is one list",
        )
    if key == "hydra" or override.is_hydra_override():
        return Problem(
            f"{key} is not a key of trainer-cli",
            where(override),
            f"only {SEARCH_PATH} of Hydra's settings is used; args.output_dir and run.name place the runs",
        )
    if override.package is not None:
        return Problem(f"{line}: an option cannot be placed elsewhere with @", where(override))
    if "/" in key and not is_group(key, roots):
        hint = did_you_mean(key.partition("/")[0], GROUPS)
        return Problem(f"there is no group {key}", where(override), hint)
    return None


def _chosen(override: Override, roots: Sequence[Root]) -> tuple[tuple[str, ...], list[Problem]]:
    group, value = override.key_or_group, override.value()
    if value is None and group in (*NAMED, RECIPE):
        return (), []
    items = value if isinstance(value, list) else [value]
    names = tuple("null" if item is None else str(item) for item in items)
    return names, list(unknown_options(group, names, roots, where(override)))


FEW = 12
"""Options that are listed where one is misspelt."""


def unknown_options(group: str, names: Iterable[str], roots: Sequence[Root], place: str) -> Iterable[Problem]:
    """A problem for each name that is not an option of the group."""
    for name in names:
        if not find(f"{group}/{name}", roots):
            known = options(group, roots)
            hint = other_name(group, name) or did_you_mean(name, known, prefix=f"{group}=")
            if len(known) > FEW:
                listed = f"trainer-cli list {group} has all {len(known)} of them"
            else:
                listed = f"there are: {', '.join(known)}" if known else f"there is no {group} at all"
            yield Problem(f"there is no {group}={name}", place, "\n".join(filter(None, (hint, listed))))


def apply(config: DictConfig, values: Iterable[Override]) -> list[Problem]:
    """Set and remove the values in place; a problem for each one that does not fit in."""
    return [problem for override in values if (problem := _apply(config, override)) is not None]


def _apply(config: DictConfig, override: Override) -> Problem | None:
    if override.is_delete():
        return _remove(config, override)
    key = override.key_or_group
    above = key.split(".")[:-1]
    for end in range(1, len(above) + 1):
        prefix = ".".join(above[:end])
        value = _plain(config, prefix)
        if value != "???" and not isinstance(value, dict | None):
            return Problem(f"there is no {key}: {prefix} is a value, not a mapping", where(override))
    try:
        OmegaConf.update(config, key, override.value(), merge=True, force_add=True)
    except (OmegaConfBaseException, ValueError) as error:
        return Problem(f"{key} cannot be set", where(override), str(error).splitlines()[0])
    return None


def _plain(config: DictConfig, key: str) -> Any:
    """What stands at a key, without following interpolations; None where there is nothing."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _remove(config: DictConfig, override: Override) -> Problem | None:
    parent, _, name = override.key_or_group.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig) or name not in node.keys():  # noqa: SIM118  (`in` is False for ???)
        hint = did_you_mean(override.key_or_group, keys(config), prefix="~")
        return Problem(f"there is no {override.key_or_group} to remove", where(override), hint)
    expected: Any = override.value()
    value = _plain(node, name)
    if expected not in (None, "") and value != expected:
        what = f"{override.key_or_group} is {value}, not {expected}: not removed"
        return Problem(what, where(override))
    del node[name]
    return None


def keys(config: DictConfig | dict[str, Any], prefix: str = "") -> list[str]:
    """All dotted keys of a configuration, inner ones included."""
    plain: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else config
    found: list[str] = []
    for name, value in plain.items():
        found.append(f"{prefix}{name}")
        if isinstance(value, dict):
            found += keys(value, f"{prefix}{name}.")
    return found


def expand(parsed: Sequence[Override], roots: Sequence[Root]) -> list[list[str]]:
    """The jobs of a sweep: the product of all axes in the order given, the last one fastest."""
    axes: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for override in parsed:
        line = override.input_line or ""
        if not override.is_sweep_override():
            axes[override.get_key_element()] = [line]
            continue
        values = _axis(override, roots)
        if not values:
            problems.append(Problem(f"{line} cannot be swept over: it names no values"))
        axes[override.get_key_element()] = [f"{override.get_key_element()}={value}" for value in values]
    if problems:
        raise UserError.many(problems)
    return [list(job) for job in itertools.product(*axes.values())]


def _axis(override: Override, roots: Sequence[Root]) -> list[str]:
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(options(override.key_or_group, roots))
    return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
