"""That the same data has the same fingerprint, and other data another."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.data.fingerprint import fingerprint

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=6),
    st.binary(max_size=3),
)
COLUMNS = st.lists(st.lists(st.one_of(VALUES, st.lists(VALUES, max_size=2)), max_size=4), max_size=3)


@given(COLUMNS, COLUMNS)
def test_it_is_the_same_for_the_same_data_alone(one: list[list[Any]], other: list[list[Any]]) -> None:
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(one))
    assert fingerprint(iter(map(iter, one))) == fingerprint(one)
    # By their texts: 1, 1.0 and True are equal, and not the same data.
    assert (fingerprint(one) == fingerprint(other)) == (repr(one) == repr(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[1, 23]], [[12, 3]]),
        ([[0.1, 128]], [[0.11, 28]]),
        ([["ab"]], [["a", "b"]]),
        ([["a,", "b"]], [["a", ",b"]]),
        ([["a"], ["b"]], [["a", "b"]]),
        ([["a"], []], [[], ["a"]]),
        ([["a\n"], ["b"]], [["a"], ["\nb"]]),
        ([["a", "b"]], [["b", "a"]]),
        ([["1"]], [[1]]),
        ([[1]], [[1.0]]),
        ([[None]], [["None"]]),
        ([[1, 2]], [[[1, 2]]]),
        ([], [[]]),
    ],
)
def test_values_do_not_run_into_each_other(one: list[list[Any]], other: list[list[Any]]) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_text_that_no_file_can_hold_has_one_too() -> None:
    assert fingerprint([["\ud83d"]]) != fingerprint([["\ud83e"]])


def test_what_was_stored_is_known_again() -> None:
    assert fingerprint([["Étude\n", "☕"], [0, 2.5, None]]) == "576df24c6e95a7bd"
