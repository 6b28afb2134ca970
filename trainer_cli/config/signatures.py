"""Signatures: what a `_target_` takes, read from its source file: checking a key imports nothing."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from trainer_cli.config import types
from trainer_cli.config.nearest import did_you_mean, nearest
from trainer_cli.config.places import short
from trainer_cli.config.types import Kind


@dataclass(frozen=True)
class Parameter:
    """A parameter that can be given by name; `default` is its text in the source, None where it has none."""

    name: str
    kind: Kind
    default: str | None = None
    doc: str = ""


@dataclass(frozen=True)
class Signature:
    """What a class or function takes, and the module that defines it (empty: not looked for)."""

    module: str
    parameters: tuple[Parameter, ...] = ()
    accepts_any: bool = False
    doc: str = ""
    is_function: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


class NoTarget(Exception):
    """A `_target_` names nothing; `hint` says what may have been meant."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


class _Opaque(Exception):
    """What stands behind a name is only known once it is imported."""


@dataclass(frozen=True)
class _Module:
    """A module: its source file (None: a namespace package, or not Python), its submodules' folders."""

    name: str
    file: Path | None
    locations: tuple[str, ...]

    @property
    def tree(self) -> _Tree:
        """The module's source."""
        if self.file:
            return _parse(self.file, self.file.stat().st_mtime_ns)
        return _Tree({}, [], dynamic=not self.locations)


@dataclass(frozen=True)
class _Tree:
    """The names that a module binds, its star imports, and whether it makes names at run time."""

    names: dict[str, ast.stmt]
    stars: list[ast.ImportFrom]
    dynamic: bool


@dataclass(frozen=True)
class _Found:
    """A class or function, the module that defines it, and the outermost class it was reached through."""

    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    module: _Module
    owner: ast.ClassDef | None = None


@dataclass
class Resolver:
    """Finds what a dotted name stands for, in the project folders first, then where Python would look."""

    folders: Sequence[Path] = ()
    _modules: dict[str, _Module | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        importlib.invalidate_caches()

    def signature(self, target: str) -> Signature | None:
        """The signature of `pkg.module.Class`, `pkg.function` or `pkg.Class.method`.

        None where only an import could tell; raises NoTarget where there is nothing of that name.
        """
        try:
            return self._callable(self._resolve(target))
        except _Opaque:
            return None

    def source(self, target: str) -> Path | None:
        """The file of the module that the target names, whether or not it has such a name in it."""
        try:
            module, _ = self._split(target.split("."))
        except (NoTarget, _Opaque):
            return None
        return module.file

    def absence(self, target: str) -> NoTarget | None:
        """Why there is no code that the target may be in: no module, or a folder without it; else None."""
        try:
            module, rest = self._split(target.split("."))
        except NoTarget as error:
            return error
        if module.file or not module.locations or not rest:
            return None
        near = nearest(rest[0], modules_in(module.locations))
        names = [".".join([module.name, name, *rest[1:]]) for name in near]
        hint = f"did you mean {' or '.join(names)}?" if names else ""
        return NoTarget(f"there is no {'module ' if rest[1:] else ''}{module.name}.{rest[0]}", hint)

    def _resolve(self, target: str) -> _Found:
        module, rest = self._split(target.split("."))
        if not rest:
            raise NoTarget(f"{target} is a module, not a class or function")
        found: _Found | _Module = module
        for index, name in enumerate(rest):
            below = self._member(found, name)
            if (
                isinstance(found, _Module)
                and isinstance(below, _Module)
                and below.name != f"{found.name}.{name}"
            ):
                direct = ".".join([below.name, *rest[index + 1 :]])
                raise NoTarget(f"{target} goes through another module", f"name it directly: {direct}")
            found = below
        if isinstance(found, _Module):
            raise NoTarget(f"{target} is a module, not a class or function")
        return found

    def _split(self, parts: list[str]) -> tuple[_Module, list[str]]:
        """The longest module that the name begins with, and the rest; the last part may be an attribute."""
        module = self._top(parts[0])
        if module is None:
            raise NoTarget(f"there is no module {parts[0]}")
        for index, part in enumerate(parts[1:], start=1):
            is_last = index == len(parts) - 1
            below = None if is_last and _binds(module, part) else self._below(module, part)
            if below is None:
                return module, parts[index:]
            module = below
        return module, []

    def _top(self, name: str) -> _Module | None:
        if name not in self._modules:
            spec = PathFinder.find_spec(name, [str(folder) for folder in self.folders])
            if spec is None or spec.origin is None:
                try:
                    spec = importlib.util.find_spec(name) or spec
                except ValueError:
                    spec = None
            self._modules[name] = _module(name, spec)
        return self._modules[name]

    def _below(self, module: _Module, part: str) -> _Module | None:
        name = f"{module.name}.{part}"
        if name not in self._modules:
            spec = PathFinder.find_spec(part, list(module.locations)) if module.locations else None
            self._modules[name] = _module(name, spec)
        return self._modules[name]

    def _import(self, name: str) -> _Module | None:
        """The module of a dotted name, or None."""
        top, *parts = name.split(".")
        module = self._top(top)
        for part in parts:
            module = self._below(module, part) if module else None
        return module

    def _member(self, found: _Found | _Module, name: str) -> _Found | _Module:
        if isinstance(found, _Module):
            return self._name(found, name, frozenset())
        if not isinstance(found.node, ast.ClassDef):
            raise NoTarget(f"{found.node.name} is a function: it has no {name}")
        for owner in self._bases(found):
            if owner is None:
                raise _Opaque
            assert isinstance(owner.node, ast.ClassDef)
            for statement in owner.node.body:
                if isinstance(statement, _DEFINITIONS) and statement.name == name:
                    return _Found(statement, owner.module, owner.node)
        raise NoTarget(f"{found.node.name} has no {name}")

    def _name(self, module: _Module, name: str, seen: frozenset[tuple[str, str]]) -> _Found | _Module:
        """What a name of a module stands for, imports followed."""
        if (module.name, name) in seen:
            raise _Opaque
        seen |= {(module.name, name)}
        tree = module.tree
        statement = tree.names.get(name)
        if statement is not None:
            return self._bound(module, name, statement, seen)
        if tree.dynamic:
            raise _Opaque
        for star in tree.stars:
            source = self._import(_absolute(star, module))
            if source is None:
                raise _Opaque
            try:
                return self._name(source, name, seen)
            except NoTarget:
                continue
        below = self._below(module, name)
        if below is not None:
            return below
        names = [*tree.names, *modules_in(module.locations)]
        public = [other for other in names if not other.startswith("_")]
        hint = did_you_mean(name, public, prefix=f"{module.name}.")
        raise NoTarget(f"there is no {name} in {module.name}", hint)

    def _bound(
        self, module: _Module, name: str, statement: ast.stmt, seen: frozenset[tuple[str, str]]
    ) -> _Found | _Module:
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                return _Found(statement, module)
            case ast.Import(names=aliases):
                alias = next(alias for alias in aliases if (alias.asname or alias.name.split(".")[0]) == name)
                imported = self._import(alias.name if alias.asname else name)
            case ast.ImportFrom(names=aliases):
                original = next(alias.name for alias in aliases if (alias.asname or alias.name) == name)
                source = self._import(_absolute(statement, module))
                if source is None:
                    raise _Opaque
                below = self._below(source, original)
                # `from torch import optim` in torch itself binds the submodule.
                if below is not None and (source.name == module.name or original not in source.tree.names):
                    return below
                return self._name(source, original, seen)
            case ast.Assign(value=ast.Name(id=other)):
                return self._name(module, other, seen)
            case _:
                raise _Opaque
        if imported is None:
            raise _Opaque
        return imported

    def _bases(self, found: _Found, depth: int = 20) -> Iterator[_Found | None]:
        """The class and its bases in the order of look-up, near enough; None for one that is not known."""
        yield found
        assert isinstance(found.node, ast.ClassDef)
        for base in found.node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            if types.last_name(base) in ("object", "ABC", "Protocol", "Generic"):
                continue
            try:
                resolved = self._expression(found.module, base)
            except (NoTarget, _Opaque):
                yield None
                continue
            if depth and isinstance(resolved, _Found) and isinstance(resolved.node, ast.ClassDef):
                yield from self._bases(resolved, depth - 1)
            else:
                yield None

    def _expression(self, module: _Module, node: ast.expr) -> _Found | _Module:
        match node:
            case ast.Name(id=name):
                return self._name(module, name, frozenset())
            case ast.Attribute(value=value, attr=name):
                return self._member(self._expression(module, value), name)
        raise _Opaque

    def _callable(self, found: _Found) -> Signature:
        if isinstance(found.node, ast.ClassDef):
            return self._class(found)
        decorators = {types.last_name(decorator) for decorator in found.node.decorator_list}
        skip_first = found.owner is not None and "classmethod" in decorators
        signature = _function(found.node, found.module, skip_first)
        return replace(signature, is_function=found.owner is None)

    def _class(self, found: _Found) -> Signature:
        assert isinstance(found.node, ast.ClassDef)
        doc = ast.get_docstring(found.node) or ""
        fields: dict[str, Parameter] = {}
        is_dataclass = False
        for owner in self._bases(found):
            if owner is None:
                raise _Opaque
            assert isinstance(owner.node, ast.ClassDef)
            if _decorated(owner.node, "dataclass"):
                is_dataclass = True
                # Fields of bases come first; a class of its own overrides them.
                fields = {**{p.name: p for p in _fields(owner)}, **fields}
                continue
            init = _method(owner.node, "__init__")
            if init and not is_dataclass:
                signature = _function(init, owner.module, skip_first=True)
                doc = doc + "\n\n" + signature.doc if doc else signature.doc
                return replace(_documented(signature, doc), module=found.module.name)
        if not is_dataclass and (found.node.keywords or _method(found.node, "__new__")):
            raise _Opaque
        return _documented(Signature(found.module.name, tuple(fields.values())), doc)


_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def from_callable(target: Callable[..., Any]) -> Signature | None:
    """The signature of something imported; None where Python cannot tell."""
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):
        return None
    parameters = []
    accepts_any = False
    for parameter in signature.parameters.values():
        accepts_any |= parameter.kind is parameter.VAR_KEYWORD
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation = parameter.annotation
            text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            kind = types.ANY if annotation is parameter.empty else types.parse(text)
            kind = types.optional(kind) if parameter.default is None else kind
            default = None if parameter.default is parameter.empty else repr(parameter.default)
            parameters.append(Parameter(parameter.name, kind, default, kind.doc))
    return Signature("", tuple(parameters), accepts_any, is_function=inspect.isfunction(target))


def _module(name: str, spec: ModuleSpec | None) -> _Module | None:
    if spec is None:
        return None
    # As text: transformers, once imported, has paths there, which Python's finder passes over.
    locations = tuple(map(str, spec.submodule_search_locations or ()))
    if spec.origin and spec.origin.endswith(".py"):
        return _Module(name, Path(spec.origin), locations)
    return _Module(name, None, locations)


def modules_in(folders: Iterable[str]) -> Iterator[str]:
    """The names of the modules that lie in the folders, and of the folders in them that have modules."""
    for folder in map(Path, folders):
        yield from (file.stem for file in sorted(folder.glob("*.py")))
        yield from sorted({file.parent.name for file in folder.glob("*/*.py")})


def _binds(module: _Module, name: str) -> bool:
    """Whether the source of the module has the name; one that is not Python has none."""
    try:
        return name in module.tree.names
    except NoTarget:
        return False


@lru_cache(maxsize=512)
def _parse(file: Path, _mtime: int) -> _Tree:
    try:
        source = file.read_bytes()  # which may say itself how it is encoded
        tree = ast.parse(source)
    except OSError as error:
        raise NoTarget(f"{short(file)} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        place = f"{short(file)}:{error.lineno}" if error.lineno else short(file)
        raise NoTarget(f"{place} is not Python: {error.msg}", (error.text or "").strip()) from None
    except ValueError as error:  # a null byte
        raise NoTarget(f"{short(file)} is not Python: {error}") from None
    names: dict[str, ast.stmt] = {}
    stars: list[ast.ImportFrom] = []
    for statement in _statements(tree.body):
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            stars.append(statement)
        for name in _bound_names(statement):
            names.setdefault(name, statement)
    dynamic = "__getattr__" in names or b"_LazyModule" in source or b"globals()" in source
    return _Tree(names, stars, dynamic)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those of its branches included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _statements(statement.body)
            yield from _statements([] if isinstance(statement, ast.With) else statement.orelse)
            for handler in statement.handlers if isinstance(statement, ast.Try) else ():
                yield from _statements(handler.body)


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(decorator_list=decorators) if "overload" in map(types.last_name, decorators):
            pass  # a type checker's; the function itself stands below
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Import(names=aliases):
            yield from (alias.asname or alias.name.split(".")[0] for alias in aliases)
        case ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name for alias in aliases)
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _absolute(statement: ast.ImportFrom, module: _Module) -> str:
    """The dotted name of the module that `from ..x import y` names."""
    if not statement.level:
        return statement.module or ""
    is_package = module.file is not None and module.file.name == "__init__.py"
    parts = module.name.split(".")
    parts = parts[: len(parts) - statement.level + is_package]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _decorated(node: ast.ClassDef, name: str) -> bool:
    decorators = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return any(types.last_name(decorator) == name for decorator in decorators)


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    methods = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == name)
    return next(
        (item for item in methods if "overload" not in map(types.last_name, item.decorator_list)), None
    )


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, module: _Module, skip_first: bool) -> Signature:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(
        arguments.defaults
    )
    named = list(zip(plain, defaults, strict=True))[max(len(arguments.posonlyargs), int(skip_first)) :]
    named += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    parameters = tuple(_parameter(a.arg, a.annotation, default, module) for a, default in named)
    signature = Signature(module.name, parameters, arguments.kwarg is not None)
    return _documented(signature, ast.get_docstring(node) or "")


def _parameter(
    name: str, annotation: ast.expr | None, default: ast.expr | None, module: _Module
) -> Parameter:
    def alias(name: str) -> ast.expr | None:
        statement = module.tree.names.get(name)
        return statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None

    kind = types.read(annotation, alias) if annotation is not None else types.ANY
    if isinstance(default, ast.Constant) and default.value is None:
        kind = types.optional(kind)
    return Parameter(name, kind, ast.unparse(default) if default is not None else None, kind.doc)


def _fields(found: _Found) -> Iterator[Parameter]:
    """The fields of a dataclass that its constructor takes."""
    for statement in found.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
                if types.last_name(base) in ("ClassVar", "KW_ONLY"):
                    continue
                if not (isinstance(value, ast.Call) and types.last_name(value.func) == "field"):
                    yield _parameter(name, annotation, value, found.module)
                    continue
                options = {keyword.arg: keyword.value for keyword in value.keywords}
                init = options.get("init")
                if not (isinstance(init, ast.Constant) and init.value is False):
                    default = options.get("default", options.get("default_factory"))
                    yield _parameter(name, annotation, default, found.module)


def _documented(signature: Signature, docstring: str) -> Signature:
    """Add a docstring's first line, and its `Args:` section to the parameters that have no meaning yet."""
    docs = dict(_arguments_section(docstring))
    parameters = tuple(
        replace(parameter, doc=parameter.doc or docs.get(parameter.name, ""))
        for parameter in signature.parameters
    )
    return replace(signature, parameters=parameters, doc=docstring.strip().partition("\n")[0].strip())


def _arguments_section(docstring: str) -> Iterator[tuple[str, str]]:
    """The entries of a Google-style `Args:` section."""
    section = re.search(r"^( *)(?:Args|Arguments):\n((?:\1 +.*\n|\s*\n)+)", docstring + "\n", re.MULTILINE)
    if section is None:
        return
    lines = section[2].splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    entry: tuple[str, list[str]] | None = None
    for line in lines:
        start = re.match(rf" {{{indent}}}(\w+)(?: \([^)]*\))?: *(.*)", line)
        if start:
            if entry:
                yield entry[0], " ".join(entry[1])
            entry = (start[1], [start[2]])
        elif entry and line.strip():
            entry[1].append(line.strip())
    if entry:
        yield entry[0], " ".join(entry[1])
