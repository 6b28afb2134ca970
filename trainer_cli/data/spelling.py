"""Labels as they are spelt: each different one of a column, what it looks like, and the class it names."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.data.source import Labels

Place = Callable[[int], str]

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
LONG = re.compile(r"[+-]?[0-9]{19,}")
POINT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
EXPONENT = re.compile(r"[+-]?[0-9]+[eE][+-]?[0-9]+")
COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
ENDLESS = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)

NUMBERS = ("whole", "fraction", "point", "exponent")
"""Kinds of labels that are numbers."""
SHOWN = 20
"""Class names that an error message lists at most."""


@dataclass(frozen=True)
class LabelColumn:
    """The labels of the rows that decide, and where each stands."""

    values: Sequence[Any]
    place: Place
    file: str

    def spellings(self) -> Iterator[tuple[Any, str, int]]:
        """Each different value with its text and its rows; raises UserError for what is no label."""
        kinds = dict.fromkeys(map(type, self.values))
        for kind in kinds:
            # True equals 1, and 1.0 does: each type is counted by itself.
            same = self.values if len(kinds) == 1 else [v for v in self.values if type(v) is kind]
            if kind not in (str, bool, int, float, Decimal, type(None)):
                self.refuse(
                    same[0], f"the label is a {kind.__name__}: {str(same[0])[:60]}", "a text or a number"
                )
            for value, count in Counter(same).items():
                text = label_text(value)
                if not text:
                    self.refuse(value, "no label", "leave the row out, or give it one")
                yield value, text, count

    def at(self, value: Any) -> str:
        """The place of the first row with this very value."""
        return self.place(
            next(
                row
                for row, other in enumerate(self.values)
                if other is value or (type(other) is type(value) and other == value)
            )
        )

    def refuse(self, value: Any, what: str, right: str) -> NoReturn:
        """Raise UserError for the first row with this value."""
        raise UserError(f"{self.at(value)}: {what}", right=right)


def label_text(value: Any) -> str:
    """The label as text: without blanks around it, composed (NFC), booleans as JSON has them; "" for none."""
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value.strip())
        return text.lower() if text.lower() in ("true", "false") else text
    if value is None or (isinstance(value, float | Decimal) and value != value):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def same_class(text: str) -> str:
    """What names that a reader takes for the same have in common, whatever their case, blanks and zeros."""
    if WHOLE.fullmatch(text):
        return str(int(text))
    if (
        not text.isascii()
    ):  # what no reader sees, such as joiners, and marks of direction or of a file's start
        text = "".join(
            sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf"
        )
    return " ".join(text.casefold().split())


def is_number(value: Any, text: str) -> bool:
    """Whether a label is a finite number, however it is written."""
    if isinstance(value, bool):
        return False
    return kind_of(value, text) in NUMBERS or (
        LONG.fullmatch(text) is not None and math.isfinite(float(text))
    )


def kind_of(value: Any, text: str) -> str:
    """What a label looks like: word, whole, fraction, point, exponent, comma or endless."""
    if isinstance(value, float | Decimal) or POINT.fullmatch(text):
        number = float(text)
        return "endless" if not math.isfinite(number) else "point" if number.is_integer() else "fraction"
    if EXPONENT.fullmatch(text):
        return "exponent" if math.isfinite(float(text)) else "endless"
    for kind, pattern in (("whole", WHOLE), ("comma", COMMA), ("endless", ENDLESS)):
        if pattern.fullmatch(text):
            return kind
    return "word"


def finder(names: Sequence[str], counting: Sequence[str] | None = None) -> Callable[[Any, str], int | None]:
    """A function from a label, as value and text, to the id of its class; None for one that is no class.

    A name as it is comes first, then one that differs by case or blanks alone, as long as only one does.
    Whole numbers that are no names count the names of `counting`, if it is given.
    """
    exact = {label_text(name): index for index, name in enumerate(names)}
    alike: dict[str, int | None] = {}
    for index, name in enumerate(names):
        key = same_class(label_text(name))
        alike[key] = None if key in alike else index

    def named(text: str) -> int | None:
        index = exact.get(text)
        return alike.get(same_class(text)) if index is None else index

    numbers: dict[str, int | None] = {}
    if counting is not None and not all(WHOLE.fullmatch(label_text(name)) for name in counting):
        numbers = {str(number): named(label_text(name)) for number, name in enumerate(counting)}

    def find(value: Any, text: str) -> int | None:
        index = named(text)
        if index is None and kind_of(value, text) == "point":
            text = str(int(float(text)))
            index = named(text)
        return numbers.get(same_class(text)) if index is None else index

    return find


def encode_labels(
    column: LabelColumn, labels: Labels, names: Sequence[str] | None = None
) -> list[int] | list[float]:
    """A regression's finite numbers, or class ids: of the class of that name, or of that place in `names`."""
    if labels.regression:
        return numbers_of(column)
    find = finder(labels.names, names)
    ids: dict[tuple[type, Any], int] = {}
    unknown: list[tuple[Any, str, int]] = []
    for value, text, count in column.spellings():
        index = find(value, text)
        if index is None:
            unknown.append((value, text, count))
        else:
            ids[type(value), value] = index
    if unknown:
        value, text, _ = unknown[0]
        more = sum(count for *_, count in unknown) - 1
        hint = did_you_mean(text, labels.names)
        if kind_of(value, text) == "fraction":
            hint = "data.label_names=[] makes numbers of all labels"
        column.refuse(
            value,
            f"label {text!r} is none of the {len(labels.names)} classes"
            + (f", nor are {more:,} more labels" if more else ""),
            f"the classes: {listed(labels.names)}\n{hint}".rstrip(),
        )
    return [ids[type(value), value] for value in column.values]


def numbers_of(column: LabelColumn) -> list[float]:
    """The labels as numbers; raises UserError for one that is none."""
    numbers = {}
    for value, text, _ in column.spellings():
        if not is_number(value, text):
            column.refuse(value, f"label {text!r} is no finite number", "digits, with a point for a fraction")
        numbers[value] = float(text)
    return [numbers[value] for value in column.values]


def listed(names: Iterable[str]) -> str:
    """Names in a line, the first of many."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
