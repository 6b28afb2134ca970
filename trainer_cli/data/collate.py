"""Rows of different lengths made one batch, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class PadCollator:
    """Rows of token columns to an int64 batch (rows, longest), and the rows' scalars to one tensor each.

    `fill` has the columns that hold a value for each token and what they are padded with; with `mask`, the
    batch says under "attention_mask" which positions are real.
    """

    fill: Mapping[str, int]
    side: Literal["left", "right"]
    mask: bool

    def __call__(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        lengths = torch.tensor([row["input_ids"].numel() for row in rows])
        width = int(lengths.max())
        position = torch.arange(width)
        bound = lengths.unsqueeze(1)
        real = position < bound if self.side == "right" else position >= width - bound
        batch = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if name in self.fill:
                padded = torch.full((len(rows), width), self.fill[name])
                batch[name] = padded.masked_scatter_(real, torch.cat(values).long())
            else:
                batch[name] = torch.stack(values)
        if self.mask:
            batch["attention_mask"] = real.long()
        return batch


def pad_texts(tokenizer: Any) -> PadCollator:
    """The collator of texts that this tokenizer made tokens of."""
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return PadCollator(fill, tokenizer.padding_side, mask=True)
