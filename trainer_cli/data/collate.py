"""Rows of different lengths made one batch, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from trainer_cli.config.errors import Misfit, UserError


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


NO_DICT = "and a row is a dict by the names that the model takes"
OWN_COLLATE = "return dicts, or name a data.collate_fn that makes a dict of tensors of such rows"

OF_TOKENS = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "labels": -100}
"""What a value for each token is padded with; input_ids with what the collator says."""


@dataclass(frozen=True)
class RowCollator:
    """Rows that are dicts of tensors, arrays, numbers and lists of numbers to one batch.

    Columns that are not among `inputs` are left out; where that is None, so are texts and columns of None.
    Python's floats, which have no precision of their own, come in `dtype`. Rows of different lengths are
    padded on the right where they have a value for each of their `input_ids` and the model takes a mask.
    """

    inputs: frozenset[str] | None = None
    pad: int = 0
    dtype: torch.dtype = torch.float32

    def __call__(self, rows: list[Any]) -> dict[str, Tensor]:
        names = self.taken(rows[0])
        if max(map(len, rows)) > len(rows[0]):
            more = [name for row in rows for name in self.taken(row) if name not in rows[0]]
            if more:
                raise Misfit(f"it has {', '.join(rows[0])} and no {more[0]}, which other rows have")
        try:
            columns = {name: [row[name] for row in rows] for name in names}
        except KeyError:  # which row it is about is looked for only where there is one
            columns = {name: [_value(row, name, index) for index, row in enumerate(rows)] for name in names}
        lengths = [len(value) for value in columns.get("input_ids", ()) if _is_row(value)]
        batch = {name: self._column(name, values, lengths) for name, values in columns.items()}
        if len(set(lengths)) > 1 and "attention_mask" not in batch:
            bounds = torch.tensor(lengths).unsqueeze(1)
            batch["attention_mask"] = (torch.arange(max(lengths)) < bounds).long()
        return batch

    def taken(self, row: Any) -> list[str]:
        """The columns of a row that a batch has; raises UserError for one that is no dict."""
        if not isinstance(row, Mapping):
            raise UserError(
                f"the data: row 0 is a {type(row).__name__}, {NO_DICT}",
                right=OWN_COLLATE,
            )
        if self.inputs is not None:
            return [name for name in row if name in self.inputs]
        return [name for name, value in row.items() if name == "labels" or not isinstance(value, str | None)]

    def _column(self, name: str, values: list[Any], lengths: list[int]) -> Tensor:
        try:
            tensor = self._tensor(values)
        except (RuntimeError, TypeError, ValueError) as error:
            return self._padded(name, values, lengths, error)
        return tensor.long() if name == "labels" and not tensor.is_floating_point() else tensor

    def _tensor(self, values: list[Any]) -> Tensor:
        """The values as one tensor, of which torch raises one of three errors where they are none."""
        first = values[0]
        if isinstance(first, float) or (isinstance(first, list | tuple) and not _has_arrays(first)):
            tensor = torch.tensor(values)
            return tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        tensor = default_collate(values)
        if not isinstance(tensor, Tensor | dict):
            raise TypeError(f"no tensor can be made of a {type(first).__name__}")
        return tensor

    def _padded(self, name: str, values: list[Any], lengths: list[int], error: Exception) -> Tensor:
        """Values of a token each, padded to the longest; raises Misfit where they are something else."""
        sizes = [len(value) if _is_row(value) else -1 for value in values]
        if name in OF_TOKENS and sizes == lengths and len(set(lengths)) > 1:
            if self.inputs is not None and "attention_mask" not in self.inputs:
                row = next(index for index, size in enumerate(sizes) if size != sizes[0])
                what = f"input_ids has {sizes[row]} tokens, and the row before {sizes[0]}"
                right = "rows of one length: the model takes no attention_mask that tells padding apart"
                raise Misfit(what, right=right, row=row)
            fill = self.pad if name == "input_ids" else OF_TOKENS[name]
            parts = [torch.as_tensor(value) for value in values]
            return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill).long()
        kinds = [_kind(value) for value in values]
        row = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), 0)
        if row:
            what = f"{name} is {kinds[row]}, and {kinds[0]} in the row before it in the batch"
            right = "rows alike, or a data.collate_fn._target_=… that makes one batch of them"
        else:
            shown = f" ({values[0][:30]!r})" if isinstance(values[0], str) else ""
            what = f"{name} is {kinds[0]}{shown}, of which no tensor can be made"
            right = "a number, an array or a list of numbers; or data.collate_fn._target_=…"
        raise Misfit(what, right=right, row=row) from error


def _value(row: Mapping[str, Any], name: str, index: int) -> Any:
    try:
        return row[name]
    except KeyError:
        there = ", ".join(row)
        raise Misfit(f"it has {there} and no {name}, which other rows have", row=index) from None


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, Tensor | np.ndarray) and value.ndim == 1)


def _has_arrays(values: Any) -> bool:
    return len(values) > 0 and isinstance(values[0], Tensor | np.ndarray | Mapping)


def _kind(value: Any) -> str:
    """What a value is, as an error says it."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        inner = f" of {type(value[0]).__name__}" if value else ""
        return f"a {type(value).__name__}{inner}, length {len(value)}"
    if isinstance(value, str):
        return "a text"
    return "None" if value is None else f"a {type(value).__name__}"
