"""Errors over a batch, told with the rows of the data that it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from trainer_cli.config.errors import Misfit, Problem, RunFailed, UserError
from trainer_cli.config.own_code import headline, raised_in
from trainer_cli.strategy.device import ran_out_of_memory

SHOWN = 8


def tell_rows(error: Exception, doing: str, rows: Sequence[int], batch: Mapping[str, Any]) -> NoReturn:
    """Raise an error that came while `doing` something with the batch of these rows, so that it says so.

    A user's own code is told by the line that raised it, with a note of the rows; what nothing but the data
    and its configuration can be to blame for becomes a UserError.
    """
    if isinstance(error, RunFailed) or ran_out_of_memory(error):
        raise error
    said = of_a_label(error, batch) or error
    if isinstance(said, UserError):
        which = rows[said.row : said.row + 1] if isinstance(said, Misfit) else rows
        first = said.problems[0]
        told = Problem(f"{doing}, {named(which)}: {first.what}", first.where, first.right)
        raise UserError.many([told, *said.problems[1:]]) from error
    if raised_in(error):
        error.add_note(f"in {doing}, {named(rows)}: {shapes(batch)}")
        raise error
    what = f"{doing}, {named(rows)}: {headline(error)}"
    raise UserError(what, right=f"the batch has {shapes(batch)}") from error


def of_a_label(error: Exception, batch: Mapping[str, Any]) -> Misfit | None:
    """The row whose label torch refused by its number, if that is what it says."""
    found = re.fullmatch(r"Target (-?\d+) is out of bounds\.", str(error))
    labels = batch.get("labels")
    if not isinstance(error, IndexError) or found is None or not isinstance(labels, Tensor):
        return None
    rows = (labels == int(found[1])).nonzero()
    if not len(rows):
        return None
    what = f"labels has {found[1]}, and the model has no such class"
    return Misfit(what, right="the model's head needs a class for each label", row=int(rows[0, 0]))


def named(rows: Sequence[int]) -> str:
    """Rows as people say them."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    shown = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
    return f"rows {shown}"


def shapes(batch: Mapping[str, Any]) -> str:
    """What is in a batch: the type and shape of each tensor, and the range of integer labels."""
    return ", ".join(f"{name} {_shape(name, value)}" for name, value in batch.items())


def _shape(name: str, value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    text = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if name == "labels" and value.numel() and value.device.type == "cpu" and value.dtype != torch.bool:
        text += f" from {value.min().item():g} to {value.max().item():g}"
    return text
