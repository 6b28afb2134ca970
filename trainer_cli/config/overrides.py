"""The command line's overrides: read with Hydra's grammar, sorted, applied, and expanded for a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer_cli.config import advice
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.places import RECIPE, Root, find, is_group, options
from trainer_cli.config.schema import GROUPS, NAMED, ORDER

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
            problems.append(Problem(f"cannot read the override {text!r}", right=advice.of_override(text)))
    return parsed, problems


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
    if not key:
        right = "~KEY takes a key away" if override.is_delete() else "KEY=VALUE sets a field"
        return Problem(f"{line} names no key", where(override), right)
    if override.package is not None:
        return Problem(f"{line}: an option cannot be placed elsewhere with @", where(override))
    if "/" in key and not is_group(key, roots):
        group = key.partition("/")[0]
        dotted = f"a field is named with dots: {key.replace('/', '.')}" if group in ORDER else ""
        return Problem(f"there is no group {key}", where(override), dotted or did_you_mean(group, GROUPS))
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
            hint = advice.of_option(group, name, known)
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
            what = f"there is no {key}: {prefix} is {'a list' if isinstance(value, list) else 'a value'}"
            return Problem(what, where(override), f"{prefix}=VALUE sets all of it")
    try:
        OmegaConf.update(config, key, override.value(), merge=True, force_add=True)
    except (OmegaConfBaseException, ValueError) as error:
        return Problem(f"{key} cannot be set", where(override), str(error).splitlines()[0])
    return None


def _plain(config: DictConfig, key: str) -> Any:
    """What stands at a key, without following interpolations; None where there is nothing."""
    section = OmegaConf.masked_copy(config, key.partition(".")[0])  # all of it is ten times as much work
    node: Any = OmegaConf.to_container(section, resolve=False)
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
        if isinstance(value, dict):
            right = f"~{override.key_or_group} removes all of it"
            return Problem(f"{override.key_or_group} is no single value: not removed", where(override), right)
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


def last_of_each(parsed: Iterable[Override]) -> list[Override]:
    """The overrides, of those with the same key the last."""
    return list({override.get_key_element(): override for override in parsed}.values())


def expand(
    parsed: Sequence[Override], roots: Sequence[Root], zipped: Sequence[Sequence[str]] = ()
) -> list[list[str]]:
    """The jobs of a sweep: the product of all axes in the order given, the last one fastest.

    Axes that are `zipped` go in step, where the first of them stands. Raises UserError for one that names no
    values, or not as many as those that it goes in step with.
    """
    lines: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for override in last_of_each(parsed):
        key = override.get_key_element()
        lines[key] = [override.input_line or ""]
        if override.is_sweep_override():
            lines[key] = [f"{key}={value}" for value in axis_values(override, roots)]
            if not lines[key]:
                problems.append(_no_values(override))
    bare = {key.lstrip("+"): key for key in lines}
    swept = [item.key_or_group for item in last_of_each(parsed) if item.is_sweep_override()]
    steps: dict[str, list[str]] = {}
    names = [name for group in zipped for name in group]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problems.append(Problem(f"sweep.zip names {name} more than once", "sweep.zip"))
    for group in zipped:
        problems += _ill_zipped(group, swept, {name: lines[key] for name, key in bare.items()})
        keys = [bare[name] for name in group if name in bare]
        steps |= dict.fromkeys(keys, keys)
    if problems:
        raise UserError.many(problems)
    columns = list({id(keys): keys for key in lines for keys in [steps.get(key, [key])]}.values())
    products = itertools.product(*(list(zip(*(lines[key] for key in keys), strict=True)) for keys in columns))
    order = [key for keys in columns for key in keys]
    jobs = (dict(zip(order, itertools.chain(*parts), strict=True)) for parts in products)
    return [[job[key] for key in lines] for job in jobs]


def _no_values(override: Override) -> Problem:
    what = f"{override.input_line} cannot be swept over: it names no values"
    if override.is_interval_sweep():
        return Problem(
            f"{override.input_line}: an interval has no values to go through",
            right="sweep.search=random or sweep.search=tpe draws from it",
        )
    return Problem(what)


def _ill_zipped(
    group: Sequence[str], swept: Sequence[str], lines: Mapping[str, Sequence[str]]
) -> Iterable[Problem]:
    """What is wrong with axes that are to go in step."""
    for name in group:
        if name not in swept:
            hint = did_you_mean(name, swept)
            yield Problem(f"sweep.zip names {name}, which is not swept over", "sweep.zip", hint)
    counts = {name: len(lines[name]) for name in group if name in swept}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield Problem(f"sweep.zip: these do not have as many values: {listed}", "sweep.zip")


def axis_values(override: Override, roots: Sequence[Root]) -> list[str]:
    """The values of an axis, as they are written; none for an interval."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(options(override.key_or_group, roots))
    if not override.is_discrete_sweep():
        return []
    try:
        return list(override.sweep_string_iterator())
    except ValueError as error:  # a range whose step is 0
        raise UserError(f"{override.input_line} cannot be swept over: {error}", where(override)) from error
