"""Labels as they are spelt: the texts they are taken for, the classes they name, their numbers."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.data.source import Labels
from trainer_cli.data.spelling import (
    LabelColumn,
    encode_labels,
    finder,
    is_number,
    kind_of,
    label_text,
    same_class,
)


def column(*values: Any) -> LabelColumn:
    """Labels that stand in a file from its second line on."""
    return LabelColumn(values, lambda row: f"train.csv:{row + 2}", "train.csv")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("pos ", "pos"),
        ("\u00a0pos\t", "pos"),
        ("cafe\u0301", "café"),
        ("True", "true"),
        (" FALSE", "false"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        (Decimal("1.50"), "1.50"),
        ("Not True", "Not True"),
        (None, ""),
        ("", ""),
        (" \t", ""),
        (float("nan"), ""),
        (Decimal("NaN"), ""),
    ],
)
def test_a_label_as_text(value: Any, text: str) -> None:
    assert label_text(value) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("pos", "word"),
        ("1_000", "word"),
        ("١", "word"),
        ("0x10", "word"),
        ("2024-01-01", "word"),
        ("9" * 19, "word"),
        ("9" * 5000, "word"),
        (True, "word"),
        ("-7", "whole"),
        ("007", "whole"),
        (10**17, "whole"),
        ("0.5", "fraction"),
        (".5", "fraction"),
        ("-1.5e-3", "fraction"),
        (1e-7, "fraction"),
        (Decimal("0.1"), "fraction"),
        ("1.0", "point"),
        ("1.", "point"),
        (3.0, "point"),
        (1e300, "point"),
        ("1e5", "exponent"),
        ("0,5", "comma"),
        ("nan", "endless"),
        ("-Infinity", "endless"),
        (float("inf"), "endless"),
        ("1.5e999", "endless"),
    ],
)
def test_what_a_label_looks_like(value: Any, kind: str) -> None:
    assert kind_of(value, label_text(value)) == kind
    counts = kind in ("whole", "fraction", "point", "exponent") or value == "9" * 19
    assert is_number(value, label_text(value)) == counts


def test_names_that_a_reader_takes_for_the_same() -> None:
    assert same_class("Not  Entailed") == same_class("not entailed") != same_class("not_entailed")
    assert same_class("01") == same_class("+1") == same_class("1") != same_class("-1")
    assert same_class("\ufeffpo\u200bs") == same_class("pos")
    assert same_class("ﬁne") == same_class("FINE")


def test_each_different_value_comes_with_its_text_and_its_rows() -> None:
    found = list(column(1, "1", True, 1.0, 1, " 1").spellings())
    assert found == [(1, "1", 2), ("1", "1", 1), (" 1", "1", 1), (True, "true", 1), (1.0, "1.0", 1)]


@pytest.mark.parametrize("missing", [None, "", "  ", float("nan")])
def test_a_row_without_a_label_is_named(missing: Any) -> None:
    with pytest.raises(UserError, match=r"^train.csv:3: no label"):
        list(column("a", missing, "b").spellings())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["a"], "list"),
        ({"name": "a"}, "dict"),
        (datetime.date(2024, 1, 1), "date"),
        (b"a", "bytes"),
    ],
)
def test_what_is_no_label_is_no_class_by_its_spelling(value: Any, kind: str) -> None:
    with pytest.raises(UserError, match=rf"^train.csv:3: the label is a {kind}: ") as caught:
        encode_labels(column("a", value), Labels(("a", str(value))))
    assert "a text or a number" in caught.value.block()


@pytest.mark.parametrize(
    ("names", "values", "ids"),
    [
        (("neg", "pos"), ["pos", "neg", " Pos", "NEG\u00a0"], [1, 0, 1, 0]),
        (("pos", "Pos"), ["pos", "Pos"], [0, 1]),
        (("0", "1"), [0, "1", 1.0, "1.0", "01", False + 0], [0, 1, 1, 1, 1, 0]),
        (("1", "5"), ["5", 1], [1, 0]),
        (("false", "true"), [True, "False", "TRUE"], [1, 0, 1]),
    ],
)
def test_classes_by_their_names(names: tuple[str, ...], values: list[Any], ids: list[int]) -> None:
    assert encode_labels(column(*values), Labels(names)) == ids


def test_whole_numbers_count_the_names_that_were_given_for_them() -> None:
    model = Labels(("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
    given = ("entailment", "neutral", "contradiction")
    assert encode_labels(column(0, "1", 2.0, "neutral"), model, given) == [2, 1, 0, 1]
    for outside in (3, -1):
        with pytest.raises(UserError, match=f"train.csv:2: label '{outside}' is none of the 3 classes"):
            encode_labels(column(outside), model, given)
    with pytest.raises(UserError, match="label '0' is none of the 3 classes"):
        encode_labels(column(0), model)
    assert encode_labels(column(5, 1), Labels(("1", "5")), ("1", "5")) == [1, 0]


def test_a_name_that_several_could_be_is_none_of_them() -> None:
    find = finder(("pos", "Pos"))
    assert (find("pos", "pos"), find("POS", "POS")) == (0, None)


def test_a_label_outside_the_classes_names_row_classes_the_nearest_and_how_many_more() -> None:
    with pytest.raises(UserError) as caught:
        encode_labels(column("neg", "postive", "x", "x"), Labels(("neg", "positive")))
    block = caught.value.block()
    assert "train.csv:3: label 'postive' is none of the 2 classes, nor are 2 more labels" in block
    assert "the classes: neg, positive" in block and "did you mean positive?" in block


def test_a_fraction_among_classes_is_told_what_makes_numbers_of_them() -> None:
    with pytest.raises(UserError) as caught:
        encode_labels(column(1, 1.5), Labels(("1", "2")))
    assert "label '1.5' is none" in caught.value.block() and "data.label_names=[]" in caught.value.block()


def test_many_classes_are_not_all_listed() -> None:
    with pytest.raises(UserError) as caught:
        encode_labels(column("x"), Labels(tuple(f"class {index}" for index in range(30))))
    assert "class 19, …" in caught.value.block() and "class 20" not in caught.value.block()


def test_a_regression_takes_numbers_however_they_are_written() -> None:
    values: Sequence[Any] = ("0.5", " 2 ", 3, 4.0, "1e1", Decimal("0.25"))
    assert encode_labels(column(*values), Labels(())) == [0.5, 2.0, 3.0, 4.0, 10.0, 0.25]


@pytest.mark.parametrize("value", ["nan", "inf", "high", "1_000", "0,5", "١", True, float("inf")])
def test_a_regression_takes_finite_numbers_alone(value: Any) -> None:
    with pytest.raises(UserError, match=r"^train.csv:3: label '.*' is no finite number"):
        encode_labels(column("1.0", value), Labels(()))
