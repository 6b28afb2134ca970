"""Labelled texts: their rows and places, what is wrong in them, and their way to tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.config.errors import UserError
from trainer_cli.data.files import Table
from trainer_cli.data.source import Labels
from trainer_cli.data.texts import (
    Column,
    Examples,
    TextTask,
    make_tokenizer,
    read_examples,
    together,
    with_label_ids,
)

TEXT, PAIR, LABEL = (
    Column("text", "data.text_column"),
    Column("pair", "data.pair"),
    Column("label", "data.label"),
)


def table(texts: list[Any], file: str = "a.csv", **columns: list[Any]) -> Table:
    """Rows that begin at the second line, with a blank line after each."""
    return Table(file, {"text": texts, **columns}, range(2, 2 + 2 * len(texts), 2))


def rows(texts: list[str], labels: list[Any] | None = None, pairs: list[str] | None = None) -> Examples:
    return Examples((table(texts),), texts, pairs, labels)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_a_row_of_several_files_stands_where_it_was_read(sizes: list[int]) -> None:
    texts = [[f"{file} {row}" for row in range(size)] for file, size in enumerate(sizes)]
    tables = [table(part, f"{file}.csv") for file, part in enumerate(texts)]
    if not sum(sizes):
        return
    found = read_examples(tables, TEXT, None, None)
    assert len(found) == sum(sizes) and found.texts == list(itertools.chain(*texts))
    for row, text in enumerate(found.texts):
        file, inner = text.split()
        assert found.place(row) == f"{file}.csv:{2 + 2 * int(inner)}"
    with pytest.raises(IndexError):
        found.place(len(found))


def test_columns_that_are_not_asked_for_are_not_there() -> None:
    tables = [table(["a", "b"], pair=["c", "d"], label=[0, 1])]
    whole = read_examples(tables, TEXT, PAIR, LABEL)
    assert whole.columns == (["a", "b"], ["c", "d"], [0, 1])
    bare = read_examples(tables, TEXT, None, None)
    assert (bare.pairs, bare.labels) == (None, None) and bare.columns == (["a", "b"], (), ())


@pytest.mark.parametrize(
    ("text", "pair", "says"),
    [
        (["a", None], ["c", "d"], "a.csv:4: column 'text' (data.text_column) holds nothing"),
        (["a", "b"], ["c", 7], "a.csv:4: column 'pair' (data.pair) holds 7, which is no text"),
        (["a", "\ud83d"], ["c", "d"], "a.csv:4: the text holds '\\ud83d', which is no character"),
        (["a", "b"], ["c\udc00", "d"], "a.csv:2: the text holds '\\udc00', which is no character"),
        (["a", "b"], ["", " \t"], "a.csv: column 'pair' (data.pair) is empty in every row"),
    ],
)
def test_each_text_of_both_columns_is_checked(text: list[Any], pair: list[Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        read_examples([table(text, pair=pair)], TEXT, PAIR, None)
    assert says in caught.value.block()


def test_some_texts_may_be_empty_and_of_any_alphabet() -> None:
    texts = ["", "☕ naïve 👍", "\U0010ffff"]
    assert read_examples([table(texts)], TEXT, None, None).texts == texts


def test_labels_become_ids_and_the_rest_stays() -> None:
    made = with_label_ids(rows(["a", "b", "c"], ["neg", "pos", "neg"]), Labels(("neg", "pos")))
    assert made.labels == [0, 1, 0] and made.texts == ["a", "b", "c"]
    assert with_label_ids(rows(["a", "b"], ["0.5", 2]), Labels(())).labels == [0.5, 2.0]
    with pytest.raises(UserError, match=r"^a.csv:4: label 'neu' is none of the 2 classes"):
        with_label_ids(rows(["a", "b"], ["neg", "neu"]), Labels(("neg", "pos")))


def test_steps_that_fail_are_one_report_and_the_others_were_taken() -> None:
    taken = []

    def step(name: str, fails: bool) -> Callable[[], str]:
        def act() -> str:
            taken.append(name)
            if fails:
                raise UserError(name)
            return name

        return act

    assert together(step("a", False), step("b", False)) == ["a", "b"] == taken
    with pytest.raises(UserError) as caught:
        together(step("c", True), step("d", False), lambda: together(step("e", True), step("f", True)))
    assert taken[2:] == ["c", "d", "e", "f"]
    assert [problem.what for problem in caught.value.problems] == ["c", "e", "f"]


def test_what_is_no_users_error_ends_the_steps() -> None:
    with pytest.raises(ZeroDivisionError):
        together(lambda: 1 // 0, lambda: pytest.fail("this step was taken"))


def task(**fields: Any) -> TextTask:
    return TextTask(
        **{
            "train": rows(["ab", "c"], [1, 0]),
            "eval": {"": rows(["def"], [1]), "other": rows(["g"], [0])},
            "predict": rows(["hi"]),
            "regression": False,
            "metrics": ("accuracy",),
            "tokenizer": make_tokenizer(None, False),
            "max_length": None,
            "collate_fn": None,
            **fields,
        }
    )


def test_what_is_loaded_is_what_was_asked_for_and_is_there() -> None:
    whole = task().load(["train", "eval", "predict"])
    assert whole.train is not None and whole.predict is not None
    assert {name: len(rows) for name, rows in whole.eval.items()} == {"": 1, "other": 1}  # type: ignore[arg-type]
    for split in ("train", "eval", "predict"):
        part = task().load([split])
        there = {
            "train": part.train is not None,
            "eval": bool(part.eval),
            "predict": part.predict is not None,
        }
        assert there == {name: name == split for name in there}
        # Which stages read it does not make it other data.
        assert (part.fingerprint, part.train_fingerprint) == (whole.fingerprint, whole.train_fingerprint)
    bare = task(train=None, eval={}, predict=None).load(["train", "eval", "predict"])
    assert (bare.train, bare.eval, bare.predict) == (None, {}, None)


def test_the_training_rows_have_a_fingerprint_of_their_own() -> None:
    base, other = (task(**fields).load([]) for fields in ({}, {"predict": rows(["ho"])}))
    assert base.fingerprint != other.fingerprint and base.train_fingerprint == other.train_fingerprint
    for changed in (
        rows(["ab", "d"], [1, 0]),
        rows(["ab", "c"], [1, 1]),
        rows(["ab", "c"], [1, 0], ["", ""]),
    ):
        found = task(train=changed).load([])
        assert found.fingerprint != base.fingerprint and found.train_fingerprint != base.train_fingerprint
    assert task(max_length=1).load([]).train_fingerprint == base.train_fingerprint


def test_the_rows_to_evaluate_on_have_one_too() -> None:
    base = task().load([]).eval_fingerprint
    assert task(train=rows(["x", "y"], [1, 0])).load([]).eval_fingerprint == base != ""
    assert task(eval={"": rows(["z"], [0])}).load([]).eval_fingerprint != base
    assert task(eval={}).load([]).eval_fingerprint == ""


@pytest.mark.parametrize(("regression", "kind"), [(False, torch.int64), (True, torch.float32)])
def test_rows_become_batches_with_labels_of_the_tasks_kind(regression: bool, kind: torch.dtype) -> None:
    splits = task(regression=regression).load(["train", "predict"])
    train: Any = splits.train
    batch = splits.collate_fn([train[0], train[1]])
    assert batch["labels"].dtype is kind and batch["labels"].tolist() == [1, 0]
    assert batch["input_ids"].shape == (2, 2) and batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    predict: Any = splits.predict
    assert "labels" not in predict[0]
    assert task(max_length=1).load(["train"]).train.lengths == [1, 1]  # type: ignore[union-attr]


def test_a_length_without_room_is_refused_when_the_task_is_made() -> None:
    task(max_length=1)
    with pytest.raises(UserError, match="has no room for a text"):
        task(max_length=0)
