"""What the labels of a file are taken for, what is refused as ambiguous, and what a model's head decides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.data.labels import understand
from trainer_cli.data.source import Head, Labels
from trainer_cli.data.spelling import LabelColumn, encode_labels

KEY = "data.label_names"
NLI = ("entailment", "neutral", "contradiction")


def column(*values: Any) -> LabelColumn:
    """Labels that stand in a file from its second line on."""
    return LabelColumn(values, lambda row: f"train.csv:{row + 2}", "train.csv")


def understood(*values: Any, names: Sequence[str] | None = None, head: Head | None = None) -> Labels:
    labels = understand(column(*values), names, KEY, head)
    assert labels is not None
    return labels


def block(*values: Any, names: Sequence[str] | None = None, head: Head | None = None) -> str:
    with pytest.raises(UserError) as caught:
        understand(column(*values) if values else None, names, KEY, head)
    return caught.value.block()


def head(*names: str, trains: bool = False) -> Head:
    """The head of a model with these classes, or of one that predicts a number."""
    return Head("M", Labels(names), bool(names) and not names[0].startswith("LABEL_"), trains)


@pytest.mark.parametrize(
    ("values", "names", "encoded", "line"),
    [
        (["pos", "neg", "pos"], ("neg", "pos"), [1, 0, 1], "2 classes (neg: 1, pos: 2), from train.csv"),
        (["10", "9", "2"], ("2", "9", "10"), [2, 1, 0], "3 classes (2: 1, 9: 1, 10: 1), from train.csv"),
        ([0, 1, 1], ("0", "1"), [0, 1, 1], "2 classes (0: 1, 1: 2), from train.csv"),
        ([-1, 1], ("-1", "1"), [0, 1], "2 classes (-1: 1, 1: 1), from train.csv"),
        (["01", "02"], ("01", "02"), [0, 1], "2 classes (01: 1, 02: 1), from train.csv"),
        (["1", "many"], ("1", "many"), [0, 1], "2 classes (1: 1, many: 1), from train.csv"),
        (["1e5", "2b7"], ("1e5", "2b7"), [0, 1], "2 classes (1e5: 1, 2b7: 1), from train.csv"),
        ([True, False, "True", "FALSE"], ("false", "true"), [1, 0, 1, 0], "(false: 2, true: 2)"),
        (
            ["pos", "pos ", "neg"],
            ("neg", "pos"),
            [1, 1, 0],
            "from train.csv, 1 without the blanks around them",
        ),
        (["cafe\u0301", "café", "x"], ("café", "x"), [0, 0, 1], "2 classes (café: 2, x: 1)"),
        (["2.5", "3", "-1e1"], (), [2.5, 3.0, -10.0], "numbers, because of '2.5' at train.csv:2"),
        (["3", "0.5 "], (), [3.0, 0.5], "numbers, because of '0.5' at train.csv:3"),
        ([3.0, 4.5], (), [3.0, 4.5], "numbers, because of '4.5' at train.csv:3"),
    ],
)
def test_classes_or_numbers_follow_from_the_data(
    values: list[Any], names: tuple[str, ...], encoded: list[Any], line: str
) -> None:
    labels = understood(*values)
    assert labels == Labels(names) and line in labels.understood
    assert encode_labels(column(*values), labels) == encoded


@pytest.mark.parametrize(
    ("values", "says", "right"),
    [
        (["0.5", "1.5", "high"], "train.csv:4: label 'high' is no number, unlike '0.5' at train.csv:2", KEY),
        (["high", 1.0], "train.csv:2: label 'high' is no number, unlike '1.0' at train.csv:3", KEY),
        (["0.5", "0,7"], "train.csv:3: label '0,7' is no number, unlike '0.5'", KEY),
        (["1", "1e5"], "train.csv:3: label '1e5' may be a number or the code of a class", "[] numbers"),
        ([0.0, 1.0], "train.csv:2: label '0.0' may be a number or a class", "[] numbers"),
        (["1", "2.0"], "train.csv:3: label '2.0' may be a number or a class", "[] numbers"),
        (
            ["0,5", "1"],
            "train.csv:2: label '0,5' reads like a number with a comma",
            "with a point; \"data.label_names=['NAME','NAME']\" makes classes of them",
        ),
        (["a", "nan"], "train.csv:3: label 'nan' is no finite number", "if it is a class"),
        ([0.5, float("inf")], "train.csv:3: label 'inf' is no finite number", "correct the row"),
        (["a", ""], "train.csv:3: no label", "leave the row out"),
        (["a", None], "train.csv:3: no label", "leave the row out"),
        (["a", " "], "train.csv:3: no label", "leave the row out"),
        (["a", ["b"]], "train.csv:3: the label is a list: ['b']", "a text or a number"),
        (["a", "a"], "train.csv:2: every label is 'a'", KEY),
        (["a", "a "], "train.csv:2: every label is 'a'", KEY),
        (["pos", "Pos"], "train.csv:3: label 'Pos' is perhaps the same class as 'pos' at train.csv:2", KEY),
        ([1, 0, True], "train.csv:4: label 'true' stands beside '0' at train.csv:3", KEY),
        (
            ["pos", "neg", "pos\u200b"],
            "train.csv:4: label 'pos\\u200b' is perhaps the same class as 'pos'",
            KEY,
        ),
        (["1", "2", "01"], "train.csv:4: label '01' is perhaps the same class as '1' at train.csv:2", KEY),
        (
            ["1"] * 199 + ["2", "0.5"],
            "train.csv:202: label '0.5' has a decimal point, as 1 of 201",
            "[] numb",
        ),
        (
            [f"id {n}" for n in range(50)],
            "train.csv:2: 50 rows have 50 different labels",
            "data.label_column",
        ),
        (list(range(60)), "train.csv:2: 60 rows have 60 different labels", "data.label_names=[] numbers"),
    ],
)
def test_what_is_ambiguous_is_refused_with_its_row_and_what_settles_it(
    values: list[Any], says: str, right: str
) -> None:
    text = block(*values)
    assert says in text and (text.endswith(right) if "comma" in says else right in text)


@pytest.mark.parametrize(
    ("names", "values", "encoded"),
    [
        (["0", "1"], [0.0, 1.0], [0, 1]),
        ([], [0.0, 1.0], [0.0, 1.0]),
        ([], ["1", "1e5"], [1.0, 1e5]),
        (["1", "1e5"], ["1", "1e5"], [0, 1]),
        (["neg", "pos"], ["Pos", "pos", "NEG"], [1, 1, 0]),
        (["nan", "cmn"], ["nan", "cmn"], [0, 1]),
        (["01", "1"], ["01", "1"], [0, 1]),
    ],
)
def test_what_settles_it(names: list[str], values: list[Any], encoded: list[Any]) -> None:
    labels = understood(*values, names=names)
    assert labels == Labels(tuple(names)) and f"as {KEY} says" in labels.understood
    assert encode_labels(column(*values), labels, names) == encoded


def test_a_label_of_one_row_in_hundreds_is_said_and_makes_a_class(caplog: pytest.LogCaptureFixture) -> None:
    values = ["pos"] * 300 + ["postive"] + ["neg"] * 300
    assert understood(*values).names == ("neg", "pos", "postive")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "label 'postive' stands in 1 of 601 rows (the first: train.csv:302)" in record.getMessage()
    caplog.clear()
    understood(*["a"] * 30, *["b"] * 30, "c")
    assert not caplog.records


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", " a"], ["a", ""]])
def test_names_are_at_least_two_and_different(names: list[str]) -> None:
    assert "has to be two or more different names" in block("a", names=names)


def test_without_labels_and_without_a_head_there_are_none() -> None:
    assert understand(None, None, KEY, None) is None
    declared = understand(None, ["a", "b"], KEY, None)
    assert declared == Labels(("a", "b"))


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize(
    ("own", "values", "names", "encoded"),
    [
        (NLI, ["contradiction", "neutral", "entailment"], None, [2, 1, 0]),
        (NLI, ["neutral", "entailment"], None, [1, 0]),
        (NLI, ["entailment"], None, [0]),
        (("NEGATIVE", "POSITIVE"), ["positive ", "Negative"], None, [1, 0]),
        (("0", "1", "2"), [1, 2.0, "1"], None, [1, 2, 1]),
        (("contradiction", "neutral", "entailment"), [0, 1, 2], NLI, [2, 1, 0]),
        (NLI, [0, 1, "neutral"], ["neutral", "entailment"], [1, 0, 1]),
        (("LABEL_0", "LABEL_1"), ["LABEL_1"], None, [1]),
        (("false", "true"), [True, "False"], None, [1, 0]),
        ((), [1, "2", "0.5"], None, [1.0, 2.0, 0.5]),
        ((), [1, 2], [], [1.0, 2.0]),
    ],
)
def test_the_models_own_labels_are_the_order(
    own: tuple[str, ...],
    values: list[Any],
    names: Sequence[str] | None,
    encoded: list[Any],
    trains: bool,
) -> None:
    labels = understood(*values, names=names, head=head(*own, trains=trains))
    assert labels == Labels(own) and "as in M" in labels.understood
    assert encode_labels(column(*values), labels, names) == encoded


def test_rows_without_labels_need_none() -> None:
    labels = understand(None, None, KEY, head(*NLI))
    assert labels == Labels(NLI)
    assert labels.understood == "3 classes (entailment, neutral, contradiction), as in M"
    assert understand(None, ["neutral", "entailment"], KEY, head(*NLI)) == Labels(NLI)


def test_names_in_another_order_than_the_models_are_said(caplog: pytest.LogCaptureFixture) -> None:
    understood("pos", "neg", names=["pos", "neg"], head=head("neg", "pos"))
    assert "have the ids that they have in M: neg, pos; whole numbers in the data count in" in caplog.text
    caplog.clear()
    understood("pos", "neg", names=["Neg", "pos"], head=head("neg", "pos"))
    assert not caplog.records


def test_numbers_of_a_model_whose_classes_have_no_names_are_its_ids() -> None:
    labels = understood(0, "2", head=head("LABEL_0", "LABEL_1", "LABEL_2"))
    assert labels == Labels(("0", "1", "2"))


@pytest.mark.parametrize(
    ("own", "values", "names", "says", "right"),
    [
        (
            ("negative", "positive"),
            ["negative", "approve"],
            None,
            "train.csv:3: label 'approve' is no class of M, which has 2 classes: negative, positive",
            "model.config.id2label=",
        ),
        (("neg", "pos"), ["neg", "pso"], None, "train.csv:3: label 'pso'", "did you mean pos?"),
        (NLI, [0, 1], None, "label '0' is no class of M", "data.label_names=[entailment,neutral,contradict"),
        (("0", "1"), ["no", "yes"], None, "label 'no' is no class of M", "model.config.id2label="),
        (("LABEL_0", "LABEL_1"), ["no", "yes"], None, "no, yes of train.csv may be in any", "=[no,yes]"),
        (("LABEL_0", "LABEL_1"), ["a", "b", "c"], None, "has 3 classes, and M has 2 classes without", ""),
        (("LABEL_0", "LABEL_1"), [1, 2], None, "1, 2 of train.csv may be in any order", "=[1,2]"),
        ((), ["a", "b"], None, "the labels of train.csv are 2 classes, and M predicts a number", ""),
        (("1", "2"), [0.5, 1], None, "the labels of train.csv are numbers, and M has 2 classes: 1, 2", ""),
        (NLI, ["a", "b"], ["a", "b"], f"{KEY} gives a, b, and M has 3 classes: entailment", ""),
        (NLI, ["neutral"], [], f"{KEY} gives numbers, and M has 3 classes", ""),
        ((), ["a", "b"], ["a", "b"], f"{KEY} gives a, b, and M predicts a number", ""),
        (NLI, ["neutral"], ["neutral", "none"], f"{KEY} gives neutral, none, and M has", ""),
    ],
)
def test_labels_that_are_not_the_models_are_an_error_where_nothing_is_trained_and_else_said(
    own: tuple[str, ...],
    values: list[Any],
    names: Sequence[str] | None,
    says: str,
    right: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = block(*values, names=names, head=head(*own))
    assert says in text and right in text and "args.stages=[train,eval]" in text
    labels = understood(*values, names=names, head=head(*own, trains=True))
    assert labels.names != own
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and says in record.getMessage()
    kept = len(own) == len(labels.names)
    assert ("its head is replaced by an untrained one" in record.getMessage()) == (not kept)
    if kept and not own[0].startswith("LABEL_"):
        pairs = f"{own[0]} becomes {labels.names[0]}, {own[1]} becomes {labels.names[1]}"
        assert pairs in record.getMessage()


def test_names_for_a_model_whose_classes_have_none() -> None:
    labels = understood("yes", 0, names=["no", "yes"], head=head("LABEL_0", "LABEL_1"))
    assert labels == Labels(("no", "yes"))
