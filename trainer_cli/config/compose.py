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
from trainer_cli.config.environment import Configuration, as_written, reads
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.layers import default_options, layers
from trainer_cli.config.places import RECIPE, Root
from trainer_cli.config.schema import NAMED, NODES, ORDER, TYPED
from trainer_cli.config.secrets import MASK, Secret, hidden, leaves, missing
from trainer_cli.config.sources import Source, Sources
from trainer_cli.config.swaps import swaps, warnings


@dataclass(frozen=True)
class Composition:
    """A resolved and checked configuration, and where it came from.

    `sources` has the places of each key in the order of composition, the last one counts; `folders` are the
    project folders whose modules a `_target_` may name, to be put in front of sys.path before it is imported.
    """

    config: Configuration
    choices: dict[str, str]
    sources: dict[str, list[Source]]
    overrides: list[str]
    warnings: list[str]
    folders: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()


def compose(
    overrides: Sequence[str],
    *,
    config_dirs: Sequence[str | Path] = (),
    strict: bool = True,
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
    values, read = _plain(composed.config, composed.sources, problems)
    swapped = swaps(request, used, default_options())
    folders = project_folders(roots)
    checked, found = check(values, composed.sources, folders=folders, swaps=swapped, skip=skip)
    config = Configuration.of(checked, read)
    problems += found
    if problems and (strict or not sound):
        raise UserError.many(problems)
    return Composition(
        config,
        composed.choices,
        composed.sources,
        list(overrides),
        [*warnings(swapped, config, composed.sources, roots), *_written_out(config, composed.sources)],
        folders,
        tuple(problems),
    )


@dataclass(frozen=True)
class Axes:
    """What is swept over and what is not: parsed overrides, and where options of groups are found."""

    parsed: list[Override]
    roots: tuple[Root, ...]

    @property
    def swept(self) -> list[Override]:
        """The axes."""
        return [override for override in self.parsed if override.is_sweep_override()]

    @property
    def fixed(self) -> list[str]:
        """The overrides that all jobs share."""
        return [str(item.input_line) for item in self.parsed if not item.is_sweep_override()]

    def grid(self, zipped: Sequence[Sequence[str]] = ()) -> list[list[str]]:
        """The override lists of all jobs; raises UserError."""
        return command_line.expand(self.parsed, self.roots, zipped)

    def values(self, override: Override) -> list[str]:
        """The values of an axis, as they are written; none for an interval."""
        return command_line.axis_values(override, self.roots)


def axes(overrides: Sequence[str], *, config_dirs: Sequence[str | Path] = ()) -> Axes:
    """The axes of a sweep; raises UserError for overrides that cannot be read."""
    parsed, problems = command_line.parse(overrides)
    if problems:
        raise UserError.many(problems)
    parsed, roots = _search_path(parsed, config_dirs)
    return Axes(command_line.last_of_each(parsed), roots)


def choices(overrides: Sequence[str], *, config_dirs: Sequence[str | Path] = ()) -> dict[str, str]:
    """The recipe and the options that the overrides themselves name."""
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    if problems or refused:
        raise UserError.many([*problems, *refused])
    named = {group: ",".join(names) for group, names in request.choices.items()}
    return {RECIPE: ",".join(request.recipes), **named} if request.recipes else named


def load(path: Path, *, folders: Sequence[Path] = (), plugins: Sequence[str] | None = None) -> Configuration:
    """The configuration of a run's config.yaml, checked as a composed one is; `plugins` stand for its own.

    Fields of `args`, the strategy, `checkpoint` or `sweep` that it lacks, being older, have their defaults.
    """
    document = places.read(path)
    sources = Sources()
    sources.add_document(document, "", "option")
    values, read = _plain(OmegaConf.create(document.values), sources, [])
    strategy = values.get("strategy")
    name = strategy.get("name") if isinstance(strategy, dict) else None
    for section, option in {"args": "default", "strategy": name, "checkpoint": "default"}.items():
        file = places.builtin().configs / section / f"{option}.yaml"
        own = values.get(section, {})
        if file.is_file() and isinstance(own, dict):
            values[section] = {**places.read(file).values, **own}
    defaults = places.read(places.builtin().configs / "config.yaml").values["sweep"]
    if isinstance(values.get("sweep", {}), dict):
        values["sweep"] = {**defaults, **values.get("sweep", {})}
    config, problems = check(values, sources, folders=folders, plugins=plugins)
    if problems:
        raise UserError.many(problems)
    return Configuration.of(config, read)


def apply(
    config: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    chosen: Mapping[str, str],
    made_of: Sequence[str] = (),
    config_dirs: Sequence[str | Path] = (),
    afresh: bool = False,
) -> Configuration:
    """A run's configuration with today's values on top, checked.

    `chosen` are the choices and `made_of` the overrides that the run was composed of. A group for which
    today's overrides choose another option is composed anew; another recipe is refused, and another model,
    data or optimizer too, unless `checkpoint.allow` has it or the run is to be made `afresh`.
    """
    parsed, problems = command_line.parse(overrides)
    parsed, roots = _search_path(parsed, config_dirs)
    request, refused = command_line.request(parsed, roots)
    problems += refused
    if request.recipes and ",".join(request.recipes) != chosen.get(RECIPE, ""):
        problems.append(_other(RECIPE, request.recipes, chosen, "a run keeps its recipe: leave it out"))
    node = OmegaConf.create(escaped(as_written(config)))
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
        if part is not None and part not in allowed and not afresh:
            right = f"checkpoint.allow=[{part}] goes on with it; or leave it out"
            problems.append(_other(group, request.choices[group], chosen, right))
    sources = Sources()
    sources.add_overrides(request.values)
    values, read = _plain(node, sources, problems)
    result, found = check(values, sources, folders=project_folders(roots))
    if problems or found:
        raise UserError.many([*problems, *found])
    return Configuration.of(result, read)


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


UNSET = "environment"
"""The key of a problem with a variable that is not set."""


class Unset(UserError):
    """Variables that the configuration reads are not set here; nothing else is wrong with it."""


def dump(config: Mapping[str, Any], path: Path, header: str) -> None:
    """Write a configuration as YAML below a header of comment lines, its keys in the order of the groups.

    What was read from the environment is a reference to it.
    """
    written = as_written(config)
    ordered = {key: written[key] for key in sorted(written, key=_rank)}
    comments = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    durable.write(path, comments + OmegaConf.to_yaml(OmegaConf.create(escaped(ordered))))


def project_folders(roots: Sequence[Root]) -> tuple[Path, ...]:
    """The folders of the user's own modules: the current one, and those of the search path."""
    own = places.builtin().project
    named = (root.project for root in roots if root.project != own and root.project.is_dir())
    return tuple(dict.fromkeys((Path.cwd(), *named)))


def _written_out(config: Mapping[str, Any], sources: Sources) -> Iterator[str]:
    """A warning for each secret that stands in a file of the user's."""
    for key, _, value in leaves(config):
        source = sources.winner(key) if isinstance(value, Secret) else None
        if source is not None and source.value == MASK and source.origin != "override":
            yield f"{key} is a secret, and stands in {source.text}; ${{oc.env:NAME}} there keeps it out"


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


def _plain(
    config: DictConfig, sources: Sources, problems: list[Problem]
) -> tuple[dict[str, Any], dict[tuple[Any, ...], str]]:
    """The configuration as plain values, and the texts of those that are read from the environment.

    A secret stays a reference to it. Raises UserError where an interpolation leads nowhere.
    """
    broken = list(_broken(config, "", sources))
    if broken:
        kind = Unset if all(problem.key == UNSET for problem in broken) else UserError
        raise kind.many([*problems, *broken])
    plain, written = (OmegaConf.to_container(config, resolve=resolve) for resolve in (True, False))
    assert isinstance(plain, dict) and isinstance(written, dict)
    read = reads(config, written)
    parts = {str(key): value for key, value in plain.items() if key not in TYPED}
    variables = {".".join(map(str, path)): names for path, (_, names) in read.items()}
    values = {str(key): value for key, value in plain.items()} | hidden(parts, written, variables)
    return values, {path: text for path, (text, _) in read.items()}


def _broken(node: DictConfig | ListConfig, prefix: str, sources: Sources) -> Iterator[Problem]:
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        key = f"{prefix}{name}"
        if OmegaConf.is_missing(node, name):
            continue
        try:
            value = node[name]
        except OmegaConfBaseException as error:
            what, right, kind = f"{key} refers to what is not there", str(error).splitlines()[0], ""
            if forgotten := missing(key, right):
                what, right, kind = f"{key} is a secret, and no file has it", forgotten, UNSET
            elif variable := re.search(r"Environment variable '(\w+)' not found", right):
                what = f"{key} is read from the environment variable {variable[1]}, which is not set"
                right = f"export {variable[1]}=…; or ${{oc.env:{variable[1]},DEFAULT}} in the configuration"
                kind = UNSET
            yield Problem(what, sources.where(key), right, kind)
        else:
            if isinstance(value, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, name):
                yield from _broken(value, f"{key}.", sources)


def escaped(value: Any, times: int = 1) -> Any:
    """A resolved configuration's text is meant literally: only a reference to a secret is interpolated.

    `times` is how often it will be resolved.
    """
    if isinstance(value, dict):
        return {key: escaped(item, times) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item, times) for item in value]
    if isinstance(value, Secret):
        return str(value)
    for _ in range(times if isinstance(value, str) else 0):
        value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value
