"""YAML that is too deep, or that its aliases make too large, is refused by its line before it is built."""

from __future__ import annotations

import pytest

from trainer_cli.config.bounds import DEEPEST, MOST, OutOfBounds, check

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)
"""A gigabyte in 400 bytes."""


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a:\n  " + "[" * 200_000, 2, "more than 40 levels"),
        ("a:\n  " + "{b: " * 200_000, 2, "more than 40 levels"),
        ("a:\n  " + "- " * 200_000 + "x", 2, "more than 40 levels"),
        (BOMB, 5, "aliases make more than 10,000 values"),
        ("a: 1\nb: &b\n  c: *b\n", 3, "within its own anchor"),
        ("b: &b [1, {c: [*b]}]\n", 1, "within its own anchor"),
        ("a: &a {b: 1, c: 2}\nd: [" + "{<<: *a}, " * MOST + "]", 2, "aliases make"),
    ],
)
def test_what_is_out_of_bounds(text: str, line: int, why: str) -> None:
    assert len(BOMB) < 450
    with pytest.raises(OutOfBounds, match=why) as caught:
        check(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\nb: [1, 2, {c: x}]\n",
        "a: &a {lr: 1e-3}\nb: {<<: *a, wd: 0}\nc: [*a, *a]\n",
        "a: &a 1\nb: *a\nc: &a 2\nd: *a\n",
        "a: " + "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2),
        "a: [" + "1, " * 20_000 + "1]",
        "a: &a [" + "x, " * 900 + "]\nb: [" + "*a, " * 10 + "]",
    ],
)
def test_what_is_within_them(text: str) -> None:
    check(text)
