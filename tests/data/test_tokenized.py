"""Tokenised rows against the tokenizer's own output."""

from __future__ import annotations

import logging

import pytest
import torch

from trainer_cli.config.errors import UserError
from trainer_cli.data.tokenized import CHUNK, check_max_length, tokenize
from trainer_cli.hub.pretrained import byte_tokenizer, load_tokenizer


def test_rows_are_those_of_the_tokenizer(minilm: str) -> None:
    tokenizer = load_tokenizer(minilm, False)
    texts = [f"text {'very ' * (index % 7)}{index}" for index in range(CHUNK + 3)]
    rows = tokenize(tokenizer, texts, None, None, str)
    expected = tokenizer(texts)["input_ids"]
    assert [rows[index]["input_ids"].tolist() for index in range(len(rows))] == expected
    assert rows.lengths == [len(tokens) for tokens in expected]
    assert rows[0]["input_ids"].dtype == torch.int32
    assert torch.equal(rows[-1]["input_ids"], rows[len(rows) - 1]["input_ids"])
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_pairs_keep_their_token_types_and_are_cut_from_the_longer(minilm: str) -> None:
    tokenizer = load_tokenizer(minilm, False)
    texts, pairs = ["one two three four five six"], ["seven"]
    row = tokenize(tokenizer, texts, pairs, 8, str)[0]
    expected = tokenizer(texts, pairs, truncation=True, max_length=8)
    assert row["input_ids"].tolist() == expected["input_ids"][0]
    assert row["token_type_ids"].tolist() == expected["token_type_ids"][0] == [0, 0, 0, 0, 0, 0, 1, 1]


def test_cut_texts_are_counted(minilm: str, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_tokenizer(minilm, False)
    with caplog.at_level(logging.INFO):
        rows = tokenize(tokenizer, ["word " * 600, "one two", "one two three"], None, 5, str)
    assert rows.lengths == [5, 4, 5]
    assert "1 of 3 texts are longer than 5 tokens and were cut" in caplog.text


def test_the_tokenizers_own_limit_holds_where_none_is_given(minilm: str) -> None:
    assert tokenize(load_tokenizer(minilm, False), ["word " * 600], None, None, str).lengths == [512]
    assert tokenize(byte_tokenizer(), ["x" * 5000], None, None, str).lengths == [5000]


def test_a_text_without_tokens_is_named() -> None:
    with pytest.raises(UserError, match="row 1: the text is empty"):
        tokenize(byte_tokenizer(), ["a", ""], None, None, "row {}".format)


@pytest.mark.parametrize(("pairs", "least"), [(False, 3), (True, 5)])
def test_a_length_below_the_special_tokens_is_no_limit_and_so_refused(
    minilm: str, pairs: bool, least: int
) -> None:
    tokenizer = load_tokenizer(minilm, False)
    texts, partners = ["a b c d e"], ["f g h i j"] if pairs else None
    with pytest.raises(UserError) as caught:
        check_max_length(tokenizer, least - 1, pairs)
    assert f"data.max_length={least} or more" in caught.value.block()
    check_max_length(tokenizer, least, pairs)
    check_max_length(tokenizer, None, pairs)
    assert tokenize(tokenizer, texts, partners, least, str).lengths == [least]
    nothing_is_cut = 2 if pairs else 1
    assert tokenize(tokenizer, texts, partners, nothing_is_cut, str).lengths[0] > least


@pytest.mark.parametrize("pairs", [None, ["", "f", "g"]])
def test_texts_that_a_tokenizer_in_python_cuts_are_counted(
    pairs: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer(extra_ids=0)
    assert not tokenizer.is_fast
    with caplog.at_level(logging.INFO):
        rows = tokenize(tokenizer, ["abcdefgh", "abcde", "ab"], pairs, 6, str)
    assert rows.lengths == [6, 6, 3 if pairs is None else 5]
    assert f"{1 if pairs is None else 2} of 3 texts are longer than 6 tokens and were cut" in caplog.text
