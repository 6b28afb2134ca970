"""Where configs and recipes are found: the folders in the order of search, and how Hydra reads them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer_cli import durable
from trainer_cli.config import bounds, documents
from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import GROUPS

RECIPE = "recipe"
"""The group that the folder recipes/ is to Hydra."""

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Root:
    """A folder that is searched: its configs/ (a folder a group), its recipes/, the project it is part of."""

    project: Path
    configs: Path
    recipes: Path

    def locate(self, name: str) -> Path:
        """The file or folder of `optim/adamw`, `optim` or `recipe/glue` here, whether or not it exists."""
        group, _, rest = name.partition("/")
        return self.recipes / rest if group == RECIPE else self.configs / name

    def file(self, name: str) -> Path | None:
        """The YAML file of `optim/adamw` or `recipe/glue`, if it is here."""
        if name.partition("/")[0] not in (*GROUPS, RECIPE):
            return None
        path = self.locate(name)
        path = path.with_name(path.name + ".yaml")
        return path if path.is_file() else None

    def options(self, group: str) -> list[str]:
        """The options of a group that are here, sorted."""
        folder = self.locate(group)
        files = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
        return sorted(path.as_posix() for path in files)


def builtin() -> Root:
    """What comes with trainer-cli: in the package when it is installed, else in the checkout."""
    folder = _PACKAGE if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent
    return Root(folder, folder / "configs", folder / "recipes")


def builtin_options(group: str, key: str) -> list[str]:
    """The options of a group, of those that come with trainer-cli, whose file sets this key."""
    root = builtin()
    files = {option: root.file(f"{group}/{option}") for option in root.options(group)}
    return [option for option, file in files.items() if file is not None and key in read(file).values]


def roots(config_dirs: Sequence[str | Path] = ()) -> tuple[Root, ...]:
    """The folders to search, first found first: project, --config-dir, $TRAINER_CLI_PATH, home, built-in."""
    cwd = Path.cwd()
    home = Path.home() / ".config" / "trainer-cli"
    env = [part for part in os.environ.get("TRAINER_CLI_PATH", "").split(os.pathsep) if part]
    found = [Root(cwd, cwd / "configs", cwd / "recipes")]
    found += [_given(str(folder), "--config-dir") for folder in config_dirs]
    found += [_given(folder, "$TRAINER_CLI_PATH") for folder in env]
    # Nobody has asked for it: where it cannot be read, there is nothing in it.
    found += [Root(home, home / "configs", home / "recipes")] if _can_be_read(home) else []
    found.append(builtin())
    unique = {root.configs.resolve(): root for root in reversed(found)}
    return tuple(root for root in found if unique.get(root.configs.resolve()) is root)


def _given(text: str, origin: str) -> Root:
    """The root that a user named: a folder that holds configs/ or recipes/, or a config folder itself."""
    folder = _folder(text, origin).resolve()
    if not _can_be_read(folder):
        raise UserError(f"{text} cannot be read", origin, "its permissions, and those of what is in it")
    if (folder / "configs").is_dir() or (folder / "recipes").is_dir():
        return Root(folder, folder / "configs", folder / "recipes")
    if not any((folder / group).is_dir() for group in GROUPS):
        raise UserError(
            f"nothing to configure in {text}",
            origin,
            "it needs configs/ or recipes/, or folders of groups such as model/ or optim/",
        )
    return Root(folder.parent if folder.name == "configs" else folder, folder, folder / "recipes")


def _can_be_read(folder: Path) -> bool:
    """Whether there is such a folder, which can be looked into."""
    inner = (path for path in (folder / "configs", folder / "recipes") if os.path.lexists(path))
    return all(os.access(path, os.R_OK | os.X_OK) for path in (folder, *inner))


def _folder(text: str, origin: str) -> Path:
    scheme, _, rest = text.rpartition("://")
    folder = Path(rest).expanduser()
    if scheme == "pkg":
        package, *parts = rest.replace("/", ".").split(".")
        spec = importlib.util.find_spec(package)
        locations = list(spec.submodule_search_locations or ()) if spec else []
        folder = Path(locations[0], *parts) if locations else Path(rest)
    if not folder.is_dir():
        raise UserError(f"no directory {text}", origin)
    return folder


def find(name: str, roots: Sequence[Root]) -> list[Path]:
    """The files of `optim/adamw` or `recipe/glue`: the one that is used, then those that it shadows."""
    return [path for root in roots if (path := root.file(name)) is not None]


def options(group: str, roots: Sequence[Root]) -> list[str]:
    """The names of a group's options in all roots, sorted."""
    return sorted({option for root in roots for option in root.options(group)})


def is_group(name: str, roots: Sequence[Root]) -> bool:
    """Whether `optim`, `recipe` or a nested `data/collator` is a group."""
    head, _, rest = name.partition("/")
    if not rest:
        return head in (*GROUPS, RECIPE)
    return head in GROUPS and any(root.locate(name).is_dir() for root in roots)


def chosen(folder: Path) -> str:
    """How a folder becomes one whose modules a configuration may name."""
    has_configs = any((folder / name).is_dir() for name in ("configs", "recipes", *GROUPS))
    return f"--config-dir {folder}" if has_configs else f"start from there: cd {folder}"


def short(path: Path) -> str:
    """The path as people know it: from the current folder, or marked as built-in, or from home."""
    here = builtin().project
    path = path if path.is_absolute() else Path.cwd() / path
    for base, prefix in ((Path.cwd(), ""), (here, "built-in "), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return prefix + path.relative_to(base).as_posix()
    return path.as_posix()


@dataclass(frozen=True)
class Document:
    """A YAML file: its text, its values, and the line of each key."""

    path: Path
    text: str
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    @cached_property
    def comments(self) -> list[str]:
        """The comment lines above the first key, without their marks."""
        lines = (line.strip() for line in self.text.splitlines() if line.strip())
        return [line.lstrip("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]

    @property
    def package(self) -> str | None:
        """What the header `# @package` says, or None without one; it may follow other comments."""
        headers = [line.split() for line in self.comments if line.startswith("@package ")]
        return headers[0][1] if headers else None

    def where(self, *keys: str) -> str:
        """`configs/optim/adamw.yaml:3`: the place of a key, or of the file without one."""
        line = self.lines.get(keys)
        return f"{short(self.path)}:{line}" if line else short(self.path)


def read(path: Path) -> Document:
    """A YAML file with the place of each key; raises UserError where it is not a YAML mapping."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{short(path)} cannot be read: {error.strerror}") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _read(path: Path, _mtime: int, _size: int) -> Document:
    try:
        text = durable.read_text(path)
        with suppress(yaml.YAMLError):  # which is met again below, and told from there
            bounds.check(text)
        root, read = documents.parse(text)
        values = OmegaConf.create(read) if isinstance(root, yaml.MappingNode) else DictConfig({})
    except yaml.YAMLError as error:
        line, what, right = documents.mistake(error, text)
        place = short(path) if line is None else f"{short(path)}:{line}"
        raise UserError(f"{place} is not YAML: {what}", right=right) from None
    except bounds.OutOfBounds as error:
        raise UserError(f"{short(path)}:{error.line} is not read: {error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{short(path)} cannot be read: {documents.undecodable(error)}") from None
    except OmegaConfBaseException as error:  # half an interpolation, or a key that is no name
        key = error.full_key or ""
        number = dict(_marks(root, ())).get(tuple(key.split(".")))
        place = f"{short(path)}:{number}" if number else short(path)
        raise UserError(f"{key} cannot be read: {str(error).splitlines()[0]}", place) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{short(path)} cannot be read: {why}") from None
    if not isinstance(root, yaml.MappingNode | None):
        raise UserError(f"{short(path)} is not a mapping of keys to values")
    plain = OmegaConf.to_container(values, resolve=False)
    assert isinstance(plain, dict)
    named = {str(key): value for key, value in plain.items()}
    document = Document(path, text.removeprefix("\ufeff"), named, dict(_marks(root, ())))
    if not isinstance(plain.get("defaults", []), list):
        right = "defaults:\n  - override /GROUP: OPTION"
        raise UserError("defaults is not a list", document.where("defaults"), right)
    return document


def _marks(node: yaml.Node | None, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = (*prefix, str(key.value))
            yield name, key.start_mark.line + 1
            yield from _marks(value, name)


def stamp(roots: Sequence[Root]) -> tuple[Any, ...]:
    """What tells whether the roots' files still say the same, and are still named the same by `short`."""
    files = (
        path for root in roots for group in (*GROUPS, RECIPE) for path in root.locate(group).rglob("*.yaml")
    )
    return Path.cwd(), Path.home(), *((path, _changed(path)) for path in files)


def _changed(path: Path) -> tuple[int, int] | None:
    """When a file was last written, and its size; None where a link leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_searched: ContextVar[tuple[Root, ...]] = ContextVar("searched")


@contextmanager
def searched(roots: tuple[Root, ...]) -> Iterator[None]:
    """Within it, Hydra finds groups and recipes in these roots, in their order."""
    plugins = Plugins.instance()
    plugins.register(RootSource)
    plugins.register(RootSearchPath)
    token = _searched.set(roots)
    try:
        yield
    finally:
        _searched.reset(token)


class RootSearchPath(SearchPathPlugin):
    """Puts the roots in front of Hydra's own search path, so that a user's file shadows a built-in one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the roots that are searched at present; none outside `searched`."""
        for number in reversed(range(len(_searched.get(())))):
            search_path.prepend("trainer-cli", f"{RootSource.scheme()}://{number}")


class RootSource(ConfigSource):
    """Serves one root to Hydra: the known groups and the recipes; no other folder becomes a group."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.root = _searched.get()[int(self.path)]

    @staticmethod
    def scheme() -> str:
        """The scheme of the search path's entries."""
        return "trainer-cli"

    def load_config(self, config_path: str) -> ConfigResult:
        """The defaults list of `optim/adamw`, which is all that Hydra is asked for."""
        path = self.root.file(config_path)
        assert path is not None
        document = read(path)
        listed = {key: value for key, value in document.values.items() if key == "defaults"}
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(listed),
            header={"package": document.package},
        )

    def available(self) -> bool:
        """Every root is: what is missing in it is found in the next one."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether the root has a folder for this group."""
        return is_group(config_path, [self.root]) and self.root.locate(config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Whether the root has a file for this option."""
        return self.root.file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The options of a group; groups within groups are not listed."""
        if results_filter == ObjectType.GROUP or not self.is_group(config_path):
            return []
        return self.root.options(config_path)
