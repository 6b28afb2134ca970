"""Padding, against the tokenizer's own."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from trainer_cli.data.collate import PadCollator, pad_texts
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
