"""Padding, against the tokenizer's own."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

from trainer_cli.config.errors import Misfit
from trainer_cli.data.collate import PadCollator, RowCollator, pad_texts
from trainer_cli.data.tokenized import tokenize
from trainer_cli.hub.pretrained import load_tokenizer

TEXTS = ["a", "some longer text, of ten tokens or so", "three more words"]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pairs", [None, ["b", "c d e f", "g"]])
def test_a_batch_is_what_the_tokenizer_pads(
    side: Literal["left", "right"], pairs: list[str] | None, minilm: str
) -> None:
    tokenizer = load_tokenizer(minilm, False)
    tokenizer.padding_side = side
    rows = tokenize(tokenizer, TEXTS, pairs, None, str, torch.tensor([1, 0, 1]))
    batch = pad_texts(tokenizer)([rows[index] for index in range(3)])
    expected = tokenizer(TEXTS, pairs, padding=True, return_tensors="pt")
    assert batch.pop("labels").tolist() == [1, 0, 1]
    if pairs is None:
        assert not expected.pop("token_type_ids").any()
    assert batch.keys() == expected.keys()
    for name, values in batch.items():
        assert values.dtype == torch.int64
        assert torch.equal(values, expected[name])


def test_labels_of_tokens_are_padded_with_what_is_ignored() -> None:
    first, second = (torch.arange(size, dtype=torch.int32) for size in (3, 1))
    rows = [{"input_ids": tokens, "labels": tokens} for tokens in (first, second)]
    batch = PadCollator({"input_ids": 9, "labels": -100}, "right", mask=False)(rows)
    assert batch["input_ids"].tolist() == [[0, 1, 2], [0, 9, 9]]
    assert batch["labels"].tolist() == [[0, 1, 2], [0, -100, -100]]
    assert batch.keys() == {"input_ids", "labels"}


def test_numbers_stay_float() -> None:
    rows = [{"input_ids": torch.tensor([1]), "labels": torch.tensor(value)} for value in (0.5, -1.0)]
    batch = PadCollator({"input_ids": 0}, "right", mask=True)(rows)
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == [0.5, -1.0]


TOKENS: list[dict[str, Any]] = [
    {"input_ids": [1, 2, 3], "labels": 1},
    {"input_ids": [4], "labels": 0},
]


def test_rows_of_tokens_are_padded_where_a_mask_tells() -> None:
    batch = RowCollator(frozenset({"input_ids", "attention_mask", "labels"}), pad=9)(TOKENS)
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    whole = [{**row, "attention_mask": torch.ones(len(row["input_ids"]))} for row in TOKENS]
    tagged = [{**row, "labels": [7] * len(row["input_ids"])} for row in whole]
    batch = RowCollator(None)(tagged)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[7, 7, 7], [7, -100, -100]]
    assert list(RowCollator(None)(TOKENS[:1])) == ["input_ids", "labels"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pythons_numbers_and_lists_are_tensors(dtype: torch.dtype) -> None:
    rows = [
        {"a": 0.5, "b": [1, 2], "c": [[1.0], [2.0]], "d": np.float32(1), "e": np.ones(2), "f": True},
        {"a": 1.5, "b": [3, 4], "c": [[3.0], [4.0]], "d": np.float32(2), "e": np.ones(2), "f": False},
    ]
    rows = [{**row, "labels": label} for row, label in zip(rows, (1.5, 2), strict=True)]
    batch = RowCollator(None, dtype=dtype)(rows)
    assert [batch[name].dtype for name in "abcdef"] == [
        dtype, torch.int64, dtype, torch.float32, torch.float64, torch.bool
    ]  # fmt: skip
    assert batch["labels"].dtype is dtype and batch["labels"].tolist() == [1.5, 2]
    assert batch["c"].shape == (2, 2, 1) and batch["b"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("label", [True, np.int32(1), np.bool_(True), torch.tensor(1, dtype=torch.uint8)])
def test_labels_that_are_whole_are_int64(label: Any) -> None:
    batch = RowCollator(None)([{"labels": label}, {"labels": label}])
    assert batch["labels"].dtype is torch.int64 and batch["labels"].tolist() == [1, 1]


def test_columns_that_no_batch_can_have_are_left_out() -> None:
    rows = [{"x": 1, "text": "a", "note": None, "tokens": ["a"] * n, "labels": 0} for n in (1, 2)]
    assert list(RowCollator(frozenset({"x", "labels"}))(rows)) == ["x", "labels"]
    assert RowCollator(None).taken(rows[0]) == ["x", "tokens", "labels"]


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"x": [1.0]}, "x is a list of float, length 1, and a list of float, length 2 in the row before it"),
        ({"x": torch.ones(3)}, "x is float32 (3,), and a list of float, length 2"),
        ({"x": None}, "x is None"),
        ({"y": 1}, "it has y and no x, which other rows have"),
    ],
)
def test_a_row_unlike_the_others_is_named(second: dict[str, Any], says: str) -> None:
    with pytest.raises(Misfit) as caught:
        RowCollator(frozenset({"x"}))([{"x": [1.0, 2.0]}, second])
    assert says in str(caught.value) and caught.value.row == 1


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("long text", "x is a text ('long text'), of which no tensor can be made"),
        (None, "x is None, of which no tensor can be made"),
        (["a", "b"], "x is a list of str, length 2, of which no tensor can be made"),
        (object(), "x is a object"),
    ],
)
def test_what_is_no_tensor_is_named_where_the_model_takes_it(value: Any, says: str) -> None:
    with pytest.raises(Misfit) as caught:
        RowCollator(frozenset({"x"}))([{"x": value}, {"x": value}])
    assert says in str(caught.value) and "data.collate_fn" in caught.value.block()


def test_tokens_of_different_lengths_need_a_mask_and_a_missing_column_is_the_first_rows() -> None:
    with pytest.raises(Misfit, match="input_ids has 1 tokens, and the row before 3") as caught:
        RowCollator(frozenset({"input_ids"}))(TOKENS)
    assert caught.value.row == 1 and "attention_mask" in caught.value.block()
    with pytest.raises(Misfit, match="it has x and no labels, which other rows have") as caught:
        RowCollator(None)([{"x": 1}, {"x": 1, "labels": 0}])
    assert caught.value.row == 0
