"""Values that are read from the environment: a run computes with them, its files have only their names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

from trainer_cli.config.secrets import Secret, refer_to

Path = tuple[Any, ...]
"""The keys, and the places in lists, that lead to a value."""

_reading: ContextVar[list[str] | None] = ContextVar("reading", default=None)


def _env(key: str, *default: Any) -> str | None:
    """`${oc.env:NAME}`, and a note that it was read."""
    names = _reading.get()
    if names is not None:
        names.append(key)
    refer_to(key)
    return oc.env(key, *default)


OmegaConf.register_new_resolver("oc.env", _env, replace=True)


@contextlib.contextmanager
def reading() -> Iterator[list[str]]:
    """The names of the variables that are read within it, also by a value that another one refers to."""
    names: list[str] = []
    token = _reading.set(names)
    try:
        yield names
    finally:
        _reading.reset(token)


class Configuration(dict[str, Any]):
    """A resolved and checked configuration.

    `read` has the text of each value that was read from the environment, and the value that it gave.
    """

    def __init__(self, values: Mapping[str, Any], read: Mapping[Path, tuple[str, Any]]) -> None:
        super().__init__(values)
        self.read = dict(read)

    @classmethod
    def of(cls, values: Mapping[str, Any], texts: Mapping[Path, str]) -> Configuration:
        """The configuration, in which values have these texts; a secret refers to the environment anyway."""
        found = {path: (text, value_at(values, path)) for path, text in texts.items()}
        return cls(values, {path: pair for path, pair in found.items() if not isinstance(pair[1], Secret)})


def as_written(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the files of a run have: a reference where a value is the one that the environment gave."""
    written: dict[str, Any] = copied(config)
    for path, (text, value) in config.read.items() if isinstance(config, Configuration) else ():
        if value_at(config, path) == value:
            put(written, path, Secret(text))
    return written


MISSING = object()


def value_at(node: Any, path: Path) -> Any:
    """The value that a path leads to."""
    for name in path:
        if isinstance(node, Mapping):
            node = node.get(name, MISSING)
        elif isinstance(node, list) and isinstance(name, int) and name < len(node):
            node = node[name]
        else:
            return MISSING
    return node


def put(node: Any, path: Path, value: Any) -> None:
    """Set what a path leads to, where it leads anywhere."""
    above = value_at(node, path[:-1])
    if value_at(node, path) is not MISSING:
        above[path[-1]] = value


def copied(node: Any) -> Any:
    """The same mappings and lists anew."""
    if isinstance(node, Mapping):
        return {name: copied(value) for name, value in node.items()}
    return [copied(value) for value in node] if isinstance(node, list) else node


def reads(config: DictConfig, written: Any) -> dict[Path, tuple[str, list[str]]]:
    """The text of each value that is read from the environment, and the names of the variables.

    `written` is the configuration with its interpolations, none of which is broken.
    """
    return dict(_reads(config, written, ())) if "oc.env" in str(written) else {}


def _reads(
    node: DictConfig | ListConfig, written: Any, path: Path
) -> Iterator[tuple[Path, tuple[str, list[str]]]]:
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        if OmegaConf.is_missing(node, name):
            continue
        if OmegaConf.is_interpolation(node, name):
            with reading() as read:
                value = node[name]
                if isinstance(value, DictConfig | ListConfig):
                    OmegaConf.to_container(value, resolve=True)
            if read:
                yield (*path, name), (str(written[name]), read)
        elif isinstance(node[name], DictConfig | ListConfig):
            yield from _reads(node[name], written[name], (*path, name))
