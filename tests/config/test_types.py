from __future__ import annotations

import ast
from typing import Any

import pytest

from trainer_cli.config.types import ANY, Kind, Mismatch, coerce, optional, parse, read


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("float", "1e-3", 0.001),
        ("float", 1, 1.0),
        ("int", 3.0, 3),
        ("int", "8", 8),
        ("bool", True, True),
        ("str", 7, "7"),
        ("None", None, None),
        ("int | None", None, None),
        ("Optional[int]", "3", 3),
        ("typing.Union[int, str]", "3", "3"),
        ("float | Tensor", "1e-3", 0.001),
        ("Tensor", {"a": 1}, {"a": 1}),
        ("Literal['no', 'steps']", False, "no"),
        ("Literal[-1] | Annotated[int, Ge(1)]", -1, -1),
        ("list[float]", ["1e-3", 2], [0.001, 2.0]),
        ("Sequence[str]", ["a"], ["a"]),
        ("tuple[float, float]", [0, 1], [0.0, 1.0]),
        ("tuple[int, ...]", [1, 2, 3], [1, 2, 3]),
        ("dict[str, float]", {"a": 1}, {"a": 1.0}),
        ("'int'", 2.0, 2),
        ("Annotated[float, annotated_types.Ge(ge=0)]", 0, 0.0),
        ("not an annotation", "x", "x"),
    ],
)
def test_coerce_takes(annotation: str, value: Any, expected: Any) -> None:
    result = coerce(value, parse(annotation))
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("float", "fast"),
        ("float", True),
        ("float", None),
        ("int", 3.5),
        ("int", float("inf")),
        ("int", "1e-3"),
        ("bool", "true"),
        ("bool", 1),
        ("str", 1.5),
        ("str", None),
        ("Literal['a', 'b']", "c"),
        ("list[int]", "12"),
        ("list[int]", [1, "x"]),
        ("tuple[float, float]", [1.0]),
        ("dict", [1]),
        ("Annotated[float, Ge(0), Lt(1)]", 1.0),
        ("Annotated[float, Ge(0), Lt(1)]", -0.1),
        ("Annotated[float, Gt(0), Le(1)]", 0),
        ("Annotated[float, Ge(0)]", float("nan")),
        ("Annotated[float, Ge(0)]", float("inf")),
        ("Annotated[int, Ge(1)] | None", 0),
    ],
)
def test_coerce_refuses(annotation: str, value: Any) -> None:
    with pytest.raises(Mismatch):
        coerce(value, parse(annotation))


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("Annotated[int, Ge(1)] | None", "a whole number >= 1 or null"),
        ("Annotated[float, Ge(0), Lt(1)]", "a number >= 0 and < 1"),
        ("Literal['no', 'steps']", "one of no, steps"),
        ("list[Literal['a', 'b']]", "a list, each one of a, b"),
        ("tuple[float, float]", "a list of 2, each a number"),
        ("tuple[float, int]", "a list of 2: a number, a whole number"),
        ("float | Tensor", "a number"),
        ("dict", "a mapping"),
    ],
)
def test_a_kind_reads_as_words(annotation: str, words: str) -> None:
    assert str(parse(annotation)) == words


def test_aliases_of_the_module_are_followed_and_a_circle_ends() -> None:
    aliases = {"Reduction": ast.parse("Literal['mean']", mode="eval").body, "A": ast.Name("A")}
    assert read(ast.Name("Reduction"), aliases.get).choices == ("mean",)
    assert read(ast.Name("A"), aliases.get) == ANY


def test_optional_adds_null_once() -> None:
    kind = optional(parse("Annotated[int, Doc('rows')]"))
    assert kind == optional(kind)
    assert kind.doc == "rows"
    assert optional(ANY) is ANY
    assert coerce(None, kind) is None
    assert kind.parts[0] == Kind("int")
