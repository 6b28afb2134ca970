"""Composition: built-in and user's groups, recipes and the command line become one checked configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer_cli import durable
from trainer_cli.config import overrides as command_line
from trainer_cli.config import places, recipes
from trainer_cli.config.check import check
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.layers import default_options, layers
from trainer_cli.config.places import RECIPE, Root
from trainer_cli.config.schema import NAMED, NODES, ORDER
from trainer_cli.config.sources import Source, Sources
from trainer_cli.config.swaps import swaps, warnings


@dataclass(frozen=True)
class Composition:
    """A resolved and checked configuration, and where it came from.

    `sources` has the places of each key in the order of composition, the last one counts; `folders` are the
    project folders whose modules a `_target_` may name, to be put in front of sys.path before it is imported.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    sources: dict[str, list[Source]]
    overrides: list[str]
    warnings: list[str]
    folders: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()


def compose(
    overrides: Sequence[str], *, config_dirs: Sequence[str | Path] = (), strict: bool = True
) -> Composition:
    """Compose and check what the overrides ask for; raises UserError with all problems at once.

    With `strict=False` problems of keys and values are returned instead: for verbs that only look.
    """
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    used = recipes.inspect(request.recipes, roots)
    problems += [*refused, *used.problems]
    # Nobody misses what a broken recipe or an unknown option would have said: all else is still checked.
    sound = not used.problems and RECIPE not in request.unknown
    skip = request.unknown if sound else {*NODES, *NAMED}
    composed = layers(request if sound else replace(request, recipes=()), roots)
    problems += command_line.apply(composed.config, request.values)
    composed.sources.add_overrides(request.values)
    config = _plain(composed.config, composed.sources, problems)
    swapped = swaps(request, used, default_options())
    folders = project_folders(roots)
    config, found = check(config, composed.sources, folders=folders, swaps=swapped, skip=skip)
    problems += found
    if problems and (strict or not sound):
        raise UserError.many(problems)
    return Composition(
        config,
        composed.choices,
        composed.sources,
        list(overrides),
        list(warnings(swapped, config, composed.sources, roots)),
        folders,
        tuple(problems),
    )


def sweep(overrides: Sequence[str], *, config_dirs: Sequence[str | Path] = ()) -> list[list[str]]:
    """The override lists of a sweep's jobs: the product of all axes, in Hydra's order."""
    parsed, problems = command_line.parse(overrides)
    if problems:
        raise UserError.many(problems)
    _, roots = _search_path(parsed, config_dirs)
    return command_line.expand(parsed, roots)


def choices(overrides: Sequence[str], *, config_dirs: Sequence[str | Path] = ()) -> dict[str, str]:
    """The recipe and the options that the overrides themselves name."""
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    if problems or refused:
        raise UserError.many([*problems, *refused])
    named = {group: ",".join(names) for group, names in request.choices.items()}
    return {RECIPE: ",".join(request.recipes), **named} if request.recipes else named


def load(path: Path, *, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The configuration of a run's config.yaml, checked as a composed one is.

    Fields of `args`, the strategy or `checkpoint` that it lacks, being older, stand at their defaults.
    """
    document = places.read(path)
    sources = Sources()
    sources.add_document(document, "", "option")
    values = _plain(OmegaConf.create(document.values), sources, [])
    strategy = values.get("strategy")
    name = strategy.get("name") if isinstance(strategy, dict) else None
    for section, option in {"args": "default", "strategy": name, "checkpoint": "default"}.items():
        file = places.builtin().configs / section / f"{option}.yaml"
        own = values.get(section, {})
        if file.is_file() and isinstance(own, dict):
            values[section] = {**places.read(file).values, **own}
    config, problems = check(values, sources, folders=folders)
    if problems:
        raise UserError.many(problems)
    return config


def apply(
    config: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    chosen: Mapping[str, str],
    made_of: Sequence[str] = (),
    config_dirs: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """A run's configuration with today's values on top, checked.

    `chosen` are the choices and `made_of` the overrides that the run was composed of. A group for which
    today's overrides choose another option is composed anew; another recipe is refused, and another model,
    data or optimizer too, unless `checkpoint.allow` has it.
    """
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    problems += refused
    if request.recipes and ",".join(request.recipes) != chosen.get(RECIPE, ""):
        problems.append(_other(RECIPE, request.recipes, chosen, "a run keeps its recipe: leave it out"))
    node = OmegaConf.create(escaped(dict(config)))
    others = [group for group, names in request.choices.items() if ",".join(names) != chosen.get(group, "")]
    if others and not problems:
        chosen_now = [override for override in parsed if override.key_or_group in others]
        lines = [str(override.input_line) for override in chosen_now if command_line.chooses(override, roots)]
        anew = _anew([*without(made_of, others), *lines], config_dirs)
        for section in dict.fromkeys(group.partition("/")[0] for group in others):
            node[section] = anew[section]
    problems += command_line.apply(node, request.values)
    allowed = OmegaConf.select(node, "checkpoint.allow") or []
    for group in others:
        part = ALLOWED.get(group.partition("/")[0])
        if part is not None and part not in allowed:
            right = f"checkpoint.allow=[{part}] goes on with it; or leave it out"
            problems.append(_other(group, request.choices[group], chosen, right))
    sources = Sources()
    sources.add_overrides(request.values)
    result, found = check(_plain(node, sources, problems), sources, folders=project_folders(roots))
    if problems or found:
        raise UserError.many([*problems, *found])
    return result


ALLOWED = {"model": "model", "data": "data", "optim": "optimizer"}
"""What `checkpoint.allow` calls the groups that a run goes on with another option of only if it is there."""


def without(overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """The overrides less those that choose an option of the groups, or set a value in one."""
    sections = {group.partition("/")[0] for group in groups}
    keys = {word: word.lstrip("+~").partition("=")[0].replace("/", ".") for word in overrides}
    return [word for word in overrides if keys[word].partition(".")[0] not in sections]


def _other(group: str, names: Sequence[str], chosen: Mapping[str, str], right: str) -> Problem:
    """The problem of an option that is not the one of the run to resume."""
    before = f"{group}={chosen[group]}" if chosen.get(group) else f"no {group}"
    what = f"{group}={','.join(names)}: the run to resume was made with {before}"
    return Problem(what, right=f"{right}, or start afresh with resume=null")


def _anew(overrides: Sequence[str], config_dirs: Sequence[str | Path]) -> DictConfig:
    """What the overrides compose, unresolved and unchecked."""
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    config = layers(request, roots).config
    problems += [*refused, *command_line.apply(config, request.values)]
    if problems:
        raise UserError.many(problems)
    return config


def dump(config: Mapping[str, Any], path: Path, header: str) -> None:
    """Write a configuration as YAML below a header of comment lines, its keys in the order of the groups."""
    ordered = {key: config[key] for key in sorted(config, key=_rank)}
    comments = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    durable.write(path, comments + OmegaConf.to_yaml(OmegaConf.create(escaped(ordered))))


def project_folders(roots: Sequence[Root]) -> tuple[Path, ...]:
    """The folders of the user's own modules: the current one, and those of the search path."""
    own = places.builtin().project
    named = (root.project for root in roots if root.project != own and root.project.is_dir())
    return tuple(dict.fromkeys((Path.cwd(), *named)))


def _rank(key: str) -> int:
    return ORDER.index(key) if key in ORDER else len(ORDER)


def _search_path(
    parsed: list[Override], config_dirs: Sequence[str | Path]
) -> tuple[list[Override], tuple[Root, ...]]:
    """Take hydra.searchpath out of the overrides: its folders are searched as those of --config-dir are."""
    folders = [str(folder) for folder in config_dirs]
    rest = []
    for override in parsed:
        value = override.value()
        if override.key_or_group != command_line.SEARCH_PATH:
            rest.append(override)
        else:
            folders += [str(item) for item in (value if isinstance(value, list) else [value])]
    return rest, places.roots(folders)


def _plain(config: DictConfig, sources: Sources, problems: list[Problem]) -> dict[str, Any]:
    """The configuration as plain values; raises UserError where an interpolation leads nowhere."""
    broken = list(_broken(config, "", sources))
    if broken:
        raise UserError.many([*problems, *broken])
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _broken(node: DictConfig | ListConfig, prefix: str, sources: Sources) -> Iterator[Problem]:
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        key = f"{prefix}{name}"
        if OmegaConf.is_missing(node, name):
            continue
        try:
            value = node[name]
        except OmegaConfBaseException as error:
            yield Problem(
                f"{key} refers to what is not there", sources.where(key), str(error).splitlines()[0]
            )
        else:
            if isinstance(value, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, name):
                yield from _broken(value, f"{key}.", sources)


def escaped(value: Any) -> Any:
    """Text in a resolved configuration is meant literally: what looks like an interpolation is none."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
