"""What a configuration value may be: types read from annotations as text, and values checked against them."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Doc:
    """The one-line meaning of a field, inside `Annotated`."""

    text: str


@dataclass(frozen=True)
class Ge:
    """At least `bound`, inside `Annotated`."""

    bound: float


@dataclass(frozen=True)
class Gt:
    """More than `bound`, inside `Annotated`."""

    bound: float


@dataclass(frozen=True)
class Le:
    """At most `bound`, inside `Annotated`."""

    bound: float


@dataclass(frozen=True)
class Lt:
    """Less than `bound`, inside `Annotated`."""

    bound: float


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    `name` is one of any none bool int float str literal union list tuple dict; `parts` are the alternatives
    of a union, the item of a list, the items of a tuple, the key and value of a dict.
    """

    name: str
    parts: tuple[Kind, ...] = ()
    choices: tuple[Any, ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()
    doc: str = ""

    def __str__(self) -> str:
        bounds = " and ".join(f"{sign} {bound:g}" for sign, bound in self.bounds)
        return f"{self._words()} {bounds}".rstrip()

    def _words(self) -> str:
        match self.name:
            case "literal":
                return ("one of " if len(self.choices) > 1 else "") + ", ".join(map(str, self.choices))
            case "union":
                return " or ".join(str(part) for part in self.parts if part.name != "any")
            case "list" | "dict" if not self.parts or self.parts[-1] == ANY:
                return _WORDS[self.name]
            case "list" | "dict":
                return f"{_WORDS[self.name]}, each {self.parts[-1]}"
            case "tuple" if len(set(self.parts)) == 1:
                return f"a list of {len(self.parts)}, each {self.parts[0]}"
            case "tuple":
                return f"a list of {len(self.parts)}: " + ", ".join(map(str, self.parts))
        return _WORDS[self.name]


ANY = Kind("any")
NONE = Kind("none")

_WORDS = {
    "any": "anything",
    "none": "null",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
}
_NAMES = {"int": "int", "float": "float", "bool": "bool", "str": "str", "None": "none"}
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "MutableSequence"}
_DICTS = {"dict", "Dict", "Mapping", "MutableMapping"}
_SIGNS = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
    "<=": lambda value, bound: value <= bound,
    "<": lambda value, bound: value < bound,
}

Aliases = Callable[[str], "ast.expr | None"]


def optional(kind: Kind) -> Kind:
    """The same kind, or null."""
    if kind.name in ("any", "none") or (kind.name == "union" and NONE in kind.parts):
        return kind
    return Kind("union", (replace(kind, doc=""), NONE), doc=kind.doc)


def parse(annotation: str) -> Kind:
    """The kind that an annotation's text stands for; what cannot be read is `ANY`."""
    try:
        return read(ast.parse(annotation, mode="eval").body)
    except SyntaxError:
        return ANY


def read(node: ast.expr, aliases: Aliases = lambda _: None, depth: int = 8) -> Kind:
    """The kind that an annotation's syntax tree stands for; `aliases` looks up a name of its module."""
    if depth == 0:
        return ANY
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str(text)):
            return parse(text)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([read(left, aliases, depth - 1), read(right, aliases, depth - 1)])
        case ast.Subscript(value=value, slice=inner):
            parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
            return _subscript(last_name(value), parts, aliases, depth - 1)
        case ast.Name() | ast.Attribute():
            name = last_name(node)
            if name in _NAMES:
                return Kind(_NAMES[name])
            if name in _LISTS or name in ("tuple", "Tuple"):
                return Kind("list")
            if name in _DICTS:
                return Kind("dict")
            alias = aliases(name) if isinstance(node, ast.Name) else None
            return read(alias, aliases, depth - 1) if alias is not None else ANY
    return ANY


def _subscript(name: str, parts: list[ast.expr], aliases: Aliases, depth: int) -> Kind:
    if name == "Literal":
        return Kind("literal", choices=tuple(c for c in map(_constant, parts) if c is not None))
    if name == "Annotated":
        return _annotate(read(parts[0], aliases, depth), parts[1:])
    if name in ("tuple", "Tuple") and isinstance(parts[-1], ast.Constant) and parts[-1].value is ...:
        return Kind("list", (read(parts[0], aliases, depth),))
    kinds = tuple(read(part, aliases, depth) for part in parts)
    if name == "Optional":
        return optional(kinds[0])
    if name == "Union":
        return _union(list(kinds))
    if name in ("tuple", "Tuple"):
        return Kind("tuple", kinds)
    if name in _LISTS:
        return Kind("list", kinds)
    if name in _DICTS:
        return Kind("dict", kinds)
    return ANY


def _annotate(kind: Kind, markers: list[ast.expr]) -> Kind:
    bounds, doc = list(kind.bounds), kind.doc
    for marker in markers:
        if not isinstance(marker, ast.Call):
            continue
        argument = _constant(next(iter([*marker.args, *(keyword.value for keyword in marker.keywords)])))
        name = last_name(marker.func)
        if name == "Doc" and isinstance(argument, str):
            doc = argument
        elif name in _SIGNS and isinstance(argument, int | float):
            bounds.append((_SIGNS[name], argument))
    return replace(kind, bounds=tuple(bounds), doc=doc)


def _union(kinds: list[Kind]) -> Kind:
    parts = [part for kind in kinds for part in (kind.parts if kind.name == "union" else (kind,))]
    return Kind("union", tuple(dict.fromkeys(parts)))


def _constant(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None


def last_name(node: ast.expr) -> str:
    """`c` of the expression `a.b.c`; empty for any other expression."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""


class Mismatch(Exception):
    """A value is not of its kind."""


def coerce(value: Any, kind: Kind) -> Any:
    """The value as its kind has it ("1e-3" as 0.001, 3.0 as 3, false as "no"); raises Mismatch."""
    match kind.name:
        case "any":
            return value
        case "union":
            return _coerce_union(value, kind)
        case "literal":
            return _choice(value, kind)
        case "list" | "tuple":
            return _coerce_list(value, kind)
        case "dict" if isinstance(value, dict):
            return {k: coerce(v, kind.parts[-1]) for k, v in value.items()} if kind.parts else value
        case "none" if value is None:
            return None
        case "str" if isinstance(value, str):
            return value
        case "str" if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case "bool" if isinstance(value, bool):
            return value
        case "int" | "float":
            return _number(value, kind)
    raise Mismatch


def _number(value: Any, kind: Kind) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Mismatch
    try:
        number: int | float = value if isinstance(value, int) else float(value)
    except ValueError:
        raise Mismatch from None
    if kind.name == "float":
        number = float(number)
    elif int(number) != number if math.isfinite(number) else True:
        raise Mismatch
    else:
        number = int(number)
    if kind.bounds and not math.isfinite(number):
        raise Mismatch
    if not all(_HOLDS[sign](number, bound) for sign, bound in kind.bounds):
        raise Mismatch
    return number


_SWITCHES = (("no", "off", "false"), ("yes", "on", "true"))


def _choice(value: Any, kind: Kind) -> Any:
    # False and `off` are the word `no` where there is one.
    spelt = str(value).lower() if isinstance(value, str | bool) else ""
    switches = next((words for words in _SWITCHES if spelt in words), ())
    for word in (value, *switches):
        for choice in kind.choices:
            if type(word) is type(choice) and word == choice:
                return choice
    raise Mismatch


def _coerce_list(value: Any, kind: Kind) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise Mismatch
    if kind.name == "tuple":
        if len(value) != len(kind.parts):
            raise Mismatch
        return [coerce(item, part) for item, part in zip(value, kind.parts, strict=True)]
    return [coerce(item, kind.parts[0]) if kind.parts else item for item in value]


def _coerce_union(value: Any, kind: Kind) -> Any:
    exact = {bool: "bool", int: "int", float: "float", str: "str", type(None): "none"}.get(type(value))
    # The alternative of the value's own type comes first, "anything" last.
    parts = sorted(kind.parts, key=lambda part: (part.name == "any", part.name != exact))
    for part in parts:
        try:
            return coerce(value, part)
        except Mismatch:
            continue
    raise Mismatch
