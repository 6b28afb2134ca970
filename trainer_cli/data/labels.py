"""From the labels as they stand in a file to class ids or numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.data.source import Labels

Place = Callable[[int], str]

WHOLE = re.compile(r"[+-]?\d+")
SHOWN = 20
"""Class names that an error message lists at most."""


def infer_labels(values: Sequence[Any], place: Place) -> Labels:
    """Words or whole numbers are classes, sorted; numbers, one of them with a point, are a regression."""
    texts = [label_text(value, row, place) for row, value in enumerate(values)]
    distinct = set(texts)
    whole = {text for text in distinct if WHOLE.fullmatch(text)}
    decimal = {text for text in distinct - whole if as_number(text) is not None}
    if decimal and len(whole) + len(decimal) == len(distinct):
        return Labels(())
    if decimal:
        odd = next(row for row, text in enumerate(texts) if as_number(text) is None)
        number = next(row for row, text in enumerate(texts) if text in decimal)
        raise UserError(
            f"{place(odd)}: label {texts[odd]!r} is no number, unlike {texts[number]!r} at {place(number)}",
            right="correct the row; if both are names of classes, data.label_names=[...] lists them all",
        )
    if len(distinct) == 1:
        raise UserError(
            f"{place(0)}: every label is {texts[0]!r}; a classification needs two classes",
            right="data.label_names=[...] lists classes that these rows do not show",
        )
    return Labels(tuple(sorted(distinct, key=int) if len(whole) == len(distinct) else sorted(distinct)))


def encode_labels(values: Sequence[Any], labels: Labels, place: Place) -> list[int] | list[float]:
    """A regression's finite numbers, or class ids: of the class of that name, or the whole number itself."""
    texts = [label_text(value, row, place) for row, value in enumerate(values)]
    if labels.regression:
        return [_number(text, row, place) for row, text in enumerate(texts)]
    ids = {name: index for index, name in enumerate(labels.names)}
    if not all(WHOLE.fullmatch(name) for name in labels.names):
        ids = {str(index): index for index in range(len(labels.names))} | ids
    unknown = next((row for row, text in enumerate(texts) if text not in ids), None)
    if unknown is not None:
        listed = ", ".join(labels.names[:SHOWN]) + (", …" if len(labels.names) > SHOWN else "")
        raise UserError(
            f"{place(unknown)}: label {texts[unknown]!r} is none of the {len(labels.names)} classes",
            right=f"the classes: {listed}\n{did_you_mean(texts[unknown], labels.names)}".rstrip(),
        )
    return [ids[text] for text in texts]


def label_text(value: Any, row: int, place: Place) -> str:
    """The label as text, `true` for a boolean as JSON has it; raises UserError where a row has none."""
    if value is None or value == "":
        raise UserError(f"{place(row)}: no label")
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_number(text: str) -> float | None:
    """The number that a text stands for, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def _number(text: str, row: int, place: Place) -> float:
    number = as_number(text)
    if number is None or not math.isfinite(number):
        raise UserError(f"{place(row)}: label {text!r} is no finite number")
    return number
