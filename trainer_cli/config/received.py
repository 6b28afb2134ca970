"""What a run's own config.yaml may open: nothing that today's command line and the user's own files do not.

A run may be a received one, and nothing in its directory tells it from one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_cli.config import overrides, places
from trainer_cli.config.check import TARGET, plugins_of
from trainer_cli.config.compose import load
from trainer_cli.config.environment import Configuration
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.offers import group_of
from trainer_cli.config.places import short
from trainer_cli.config.signatures import Resolver
from trainer_cli.config.targets import below, is_free, refusal

REMOTE_CODE = ("trust_remote_code", "allow_all_kernels", "use_kernels", "attn_implementation")
"""Arguments by which transformers runs code that comes with weights, or from the hub."""

_OPTIONS = "model.trust_remote_code"
"""What the built-in options of `data` take their own `trust_remote_code` from."""


class Untrusted(UserError):
    """A run's own config.yaml asks for more than today's words and files give."""


@dataclass(frozen=True)
class Trusted:
    """What is the user's own: what today's words compose, those words, and the folders of today's modules."""

    config: Mapping[str, Any]
    overrides: Sequence[str]
    folders: Sequence[Path]
    plugins: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plugins", plugins_of(self.config))


def received(path: Path, trusted: Trusted, then: Sequence[Path] = ()) -> Configuration:
    """The configuration of a run's config.yaml, with those of its plugins that are today's too.

    `then` are the folders that its record names for its modules: they are looked into for a hint alone.
    Raises Untrusted where it needs more.
    """
    try:
        config = load(path, folders=trusted.folders, plugins=trusted.plugins)
    except UserError:
        if problems := list(_untrusted(path, trusted, then)):
            raise Untrusted.many(problems) from None
        raise
    if problems := list(_beside(path, config, trusted)):
        raise Untrusted.many(problems)
    config["plugins"] = [name for name in config["plugins"] if below(name, trusted.plugins)]
    return config


def check_remote_code(path: Path, config: Mapping[str, Any], trusted: Trusted) -> None:
    """Raise Untrusted where the configuration of a run would run code of a hub, and nobody says so today."""
    asked = [key for key, name, value in _leaves(config) if name in REMOTE_CODE and _runs_code(name, value)]
    said = _said(trusted.overrides)
    accepted = [key for key in asked if key in said or _is_same(config, trusted.config, key)]
    problems = []
    for key in asked:
        follows = key == "data.trust_remote_code" and (_OPTIONS in accepted or _OPTIONS in said)
        if key not in accepted and not follows:
            value = str(_at(config, key)).lower()
            what = f"{short(path)} sets {key}={value}, by which code of others would run"
            right = f"{key}={value} on the command line lets it, once you have read that code"
            problems.append(Problem(what, right=right, key=key))
    if problems:
        raise Untrusted.many(problems)


def _untrusted(path: Path, trusted: Trusted, then: Sequence[Path]) -> Iterator[Problem]:
    """The targets that only the run's own plugins, or the folders of its record, would allow."""
    values: dict[str, Any] = {str(key): value for key, value in places.read(path).values.items()}
    resolver = Resolver(trusted.folders)
    for key, target in _targets(values):
        if not refusal(target, trusted.plugins, resolver, group_of(key)):
            continue
        plugin = next((name for name in plugins_of(values) if below(target, [name])), None)
        if plugin is not None:
            what = f"{short(path)} has {key}.{TARGET}={target}, and the plugins=[{plugin}] that allows it"
            right = f"a run's files allow nothing themselves: plugins=[{plugin}] on the command line does"
            yield Problem(what, right=right, key=f"{key}.{TARGET}")
            continue
        for folder in then:
            if is_free(target, (), Resolver([folder])):
                what = f"{short(path)} has {key}.{TARGET}={target}, a module of {folder}"
                right = f"if what is there is yours: {places.chosen(folder)}"
                yield Problem(what, right=right, key=f"{key}.{TARGET}")
                break


def _beside(path: Path, config: Mapping[str, Any], trusted: Trusted) -> Iterator[Problem]:
    """The targets whose modules lie in the folder that the run lies in, and may have come with it."""
    run_dir = path.parent.resolve()
    resolver = Resolver(trusted.folders)
    known = {target for _, target in _targets(trusted.config)}
    for key, target in _targets(config):
        file = resolver.source(target)
        if target in known or below(target, trusted.plugins) or not is_free(target, (), resolver):
            continue
        assert file is not None
        file, folders = file.resolve(), [folder.resolve() for folder in trusted.folders]
        homes = [folder for folder in folders if file.is_relative_to(folder)]
        if all(file.is_relative_to(_bundle(run_dir, home)) for home in homes):
            what = f"{short(path)} has {key}.{TARGET}={target}, a module beside the run: {short(file)}"
            top = target.partition(".")[0]
            yield Problem(what, right=f"if it is yours: plugins=[{top}]", key=f"{key}.{TARGET}")


def _bundle(run_dir: Path, home: Path) -> Path:
    """What may have come with a run: the folder below `home` that it lies in; `home`, where that is in it."""
    if home.is_relative_to(run_dir):
        return home
    return home / run_dir.relative_to(home).parts[0] if run_dir.is_relative_to(home) else run_dir


def _targets(config: Any) -> Iterator[tuple[str, str]]:
    """Every key that has a `_target_`, with what it names."""
    for key, name, value in _leaves(config):
        if name == TARGET and isinstance(value, str):
            yield key.rpartition(".")[0], str(value)


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every value that is no mapping or list, with its dotted key and the last part of it."""
    items = config.items() if isinstance(config, Mapping) else enumerate(config)
    for name, value in items:
        key = f"{prefix}{name}"
        if isinstance(value, Mapping | list):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, str(name), value


def _runs_code(name: str, value: Any) -> bool:
    # An implementation of attention with a slash is a repository of kernels.
    return "/" in str(value) if name == "attn_implementation" else bool(value)


def _said(words: Sequence[str]) -> set[str]:
    """The keys that today's words set to what runs code."""
    parsed, _ = overrides.parse(words)
    values = {str(item.key_or_group): item.value() for item in parsed if not item.is_sweep_override()}
    return {key for key, value in values.items() if _runs_code(key.rpartition(".")[2], value)}


def _is_same(config: Mapping[str, Any], today: Mapping[str, Any], key: str) -> bool:
    """Whether today's configuration says the same of the same: all texts beside the value are equal."""
    parent = key.rpartition(".")[0]
    ours, theirs = _at(today, parent), _at(config, parent)
    name = key.rpartition(".")[2]
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping) or ours.get(name) != theirs[name]:
        return False
    return _texts(ours) == _texts(theirs)


def _texts(node: Any) -> dict[str, str]:
    return {key: value for key, _, value in _leaves(node) if isinstance(value, str)}


def _at(config: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for name in key.split("."):
        if isinstance(config, list) and name.isdigit() and int(name) < len(config):
            config = config[int(name)]
        elif isinstance(config, Mapping):
            config = config.get(name)
        else:
            return None
    return config
