"""Tokenised texts, in few bytes and quick to read."""

from __future__ import annotations

import functools
import logging
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainer_cli.config.errors import UserError

log = logging.getLogger(__name__)

CHUNK = 1024
"""Texts that go through the tokenizer together: many enough to use every core, few enough to hold."""

COLUMNS = ("input_ids", "token_type_ids")
"""What a tokenizer gives that has a value for each token, besides the mask, which the collator makes."""

UNLIMITED = 1_000_000
"""A tokenizer whose limit is beyond this has none: transformers then says 1e30."""


class TokenizedTexts(Dataset[dict[str, Tensor]]):
    """Rows of tokens, end to end in a flat int32 tensor a column; row i is offsets[i]:offsets[i + 1] of each.

    `labels` has one value a row, if there are any; a row carries its own under "labels".
    """

    def __init__(
        self, columns: Mapping[str, Tensor], offsets: Sequence[int], labels: Tensor | None = None
    ) -> None:
        self.columns = columns
        self.offsets = offsets
        self.labels = labels

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        index = range(len(self))[index]
        begin, end = self.offsets[index], self.offsets[index + 1]
        row = {name: tokens[begin:end] for name, tokens in self.columns.items()}
        if self.labels is not None:
            row["labels"] = self.labels[index]
        return row

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [end - begin for begin, end in zip(self.offsets, self.offsets[1:])]


def check_max_length(tokenizer: Any, max_length: int | None, pairs: bool) -> None:
    """Raise UserError for a length without room for one token of each text: tokenizers take it for none."""
    special = tokenizer.num_special_tokens_to_add(pair=pairs)
    least = special + (2 if pairs else 1)
    if max_length is not None and max_length < least:
        what = "a pair" if pairs else "a text"
        raise UserError(
            f"data.max_length={max_length} has no room for {what} and the {special} tokens around it",
            right=f"data.max_length={least} or more",
        )


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length: int | None,
    place: Callable[[int], str],
    labels: Tensor | None = None,
) -> TokenizedTexts:
    """Texts, or pairs of texts, cut to `max_length` tokens (None: to the tokenizer's own limit, if any)."""
    limit = max_length or (tokenizer.model_max_length if tokenizer.model_max_length < UNLIMITED else None)
    columns = {name: array("i") for name in COLUMNS if name in tokenizer.model_input_names}
    offsets = array("q", [0])
    cut = 0
    for start in range(0, len(texts), CHUNK):
        part = slice(start, start + CHUNK)
        encoded = tokenizer(
            list(texts[part]),
            None if pairs is None else list(pairs[part]),
            truncation=limit is not None,
            max_length=limit,
            return_attention_mask=False,
            verbose=False,
        )
        if limit is not None:
            cut += _count_cut(tokenizer, texts[part], pairs and pairs[part], encoded, limit)
        for row, tokens in enumerate(encoded["input_ids"], start):
            if not tokens:
                raise UserError(
                    f"{place(row)}: the text is empty, and the tokenizer adds no token of its own",
                    right="leave the row out, or write something into it",
                )
            offsets.append(offsets[-1] + len(tokens))
        for name, column in columns.items():
            for tokens in encoded[name]:
                column.extend(tokens)
    if cut:
        log.info("%d of %d texts are longer than %s tokens and were cut", cut, len(texts), limit)
    flat = {name: torch.frombuffer(column, dtype=torch.int32) for name, column in columns.items()}
    # A model takes types that are not given for zeros, as those of single texts are.
    if "token_type_ids" in flat and tokenizer.pad_token_type_id == 0 and not flat["token_type_ids"].any():
        del flat["token_type_ids"]
    return TokenizedTexts(flat, offsets, labels)


def _count_cut(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, encoded: Any, limit: int
) -> int:
    """How many of the texts were longer than the limit."""
    if encoded.encodings is not None:
        return sum(bool(encoding.overflowing) for encoding in encoded.encodings)
    # A tokenizer in Python does not say, so those that fill the limit are looked at whole.
    full = [row for row, tokens in enumerate(encoded["input_ids"]) if len(tokens) >= limit]
    if not full:
        return 0
    whole = tokenizer(
        [texts[row] for row in full], pairs and [pairs[row] for row in full], truncation=False, verbose=False
    )
    return sum(len(tokens) > limit for tokens in whole["input_ids"])
