"""Labels from files to ids and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.data.labels import encode_labels, infer_labels
from trainer_cli.data.source import Labels


def place(row: int) -> str:
    return f"train.csv:{row + 2}"


@pytest.mark.parametrize(
    ("values", "names", "encoded"),
    [
        (["pos", "neg", "pos"], ("neg", "pos"), [1, 0, 1]),
        (["10", "9", "2"], ("2", "9", "10"), [2, 1, 0]),
        ([0, 1, 1], ("0", "1"), [0, 1, 1]),
        ([-1, 1], ("-1", "1"), [0, 1]),
        ([True, False], ("false", "true"), [1, 0]),
        (["1", "many"], ("1", "many"), [0, 1]),
        (["2.5", "3", "-1e1"], (), [2.5, 3.0, -10.0]),
        ([3.0, 4.0], (), [3.0, 4.0]),
    ],
)
def test_classes_or_numbers_follow_from_the_data(
    values: list[Any], names: tuple[str, ...], encoded: list[Any]
) -> None:
    labels = infer_labels(values, place)
    assert labels == Labels(names)
    assert encode_labels(values, labels, place) == encoded


def test_whole_numbers_are_ids_of_named_classes() -> None:
    labels = Labels(("negative", "positive"))
    assert encode_labels([0, "1", "negative"], labels, place) == [0, 1, 0]
    assert encode_labels(["5", "1"], Labels(("1", "5")), place) == [1, 0]
    for outside in (2, -1):
        with pytest.raises(UserError, match=f"train.csv:2: label '{outside}' is none of the 2 classes"):
            encode_labels([outside], labels, place)


def test_a_label_outside_the_classes_names_row_classes_and_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        encode_labels(["neg", "postive"], Labels(("neg", "positive")), place)
    block = caught.value.block()
    assert "train.csv:3: label 'postive'" in block and "the classes: neg, positive" in block
    assert "did you mean positive?" in block


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0.5", "1.5", "high"], "train.csv:4: label 'high' is no number, unlike '0.5' at train.csv:2"),
        (["a", ""], "train.csv:3: no label"),
        (["a", None], "train.csv:3: no label"),
        (["a", "a"], "every label is 'a'"),
    ],
)
def test_labels_that_make_no_task(values: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        infer_labels(values, place)


@pytest.mark.parametrize("value", ["nan", "inf", "high"])
def test_a_regression_takes_finite_numbers_alone(value: str) -> None:
    with pytest.raises(UserError, match=f"train.csv:3: label '{value}' is no finite number"):
        encode_labels(["1.0", value], Labels(()), place)
