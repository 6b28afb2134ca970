"""Labelled texts on their way from files to tokens: what text classification and GLUE have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from trainer_cli.config.errors import Problem, UserError
from trainer_cli.data.collate import pad_texts
from trainer_cli.data.files import Table
from trainer_cli.data.fingerprint import fingerprint
from trainer_cli.data.source import Collate, Labels, Splits
from trainer_cli.data.spelling import LabelColumn, encode_labels
from trainer_cli.data.tokenized import TokenizedTexts, check_max_length, tokenize
from trainer_cli.hub.pretrained import byte_tokenizer, load_tokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Examples:
    """The rows of one split: texts, their partners in a task on pairs, labels where it has any."""

    tables: tuple[Table, ...]
    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def columns(self) -> tuple[Sequence[Any], ...]:
        """All that the rows say."""
        return self.texts, self.pairs or (), self.labels or ()

    @property
    def label_column(self) -> LabelColumn | None:
        """The labels with their places, where the rows have labels."""
        if self.labels is None:
            return None
        more = " …" if len(self.tables) > 1 else ""
        return LabelColumn(self.labels, self.place, self.tables[0].file + more)

    def place(self, row: int) -> str:
        """The file and line of a row."""
        for table in self.tables:
            if row < len(table):
                return table.place(row)
            row -= len(table)
        raise IndexError(row)


@dataclass(frozen=True)
class Column:
    """A column's name, and the key of the configuration (or the task) that says so."""

    name: str
    key: str


def read_examples(
    tables: Sequence[Table], text: Column, pair: Column | None, label: Column | None
) -> Examples:
    """The columns of a task out of its tables; each text is checked to be one."""

    def gather(column: Column) -> list[Any]:
        return [value for table in tables for value in table.column(column.name, column.key)]

    rows = Examples(
        tuple(tables),
        gather(text),
        None if pair is None else gather(pair),
        None if label is None else gather(label),
    )
    _check_texts(rows, rows.texts, text)
    if pair is not None and rows.pairs is not None:
        _check_texts(rows, rows.pairs, pair)
    return rows


def with_label_ids(
    rows: Examples | None, labels: Labels | None, names: Sequence[str] | None = None
) -> Examples | None:
    """The rows with labels as a model is trained on them: class ids, or numbers of a regression.

    Whole numbers in the file count `names`, where these are given.
    """
    column = None if rows is None else rows.label_column
    if rows is None or column is None or labels is None:
        return rows
    return replace(rows, labels=encode_labels(column, labels, names))


def together(*steps: Callable[[], T]) -> list[T]:
    """The result of every step; what is wrong in any of them is one report."""
    results: list[T] = []
    problems: list[Problem] = []
    for step in steps:
        try:
            results.append(step())
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError.many(problems)
    return results


def make_tokenizer(tokenizer: str | None, trust_remote_code: bool) -> Any:
    """The tokenizer of the pretrained model of this name; of bytes where there is none."""
    return byte_tokenizer() if tokenizer is None else load_tokenizer(tokenizer, trust_remote_code)


@dataclass(frozen=True)
class TextTask:
    """A classification or regression of texts, its labels encoded, ready to be tokenised."""

    train: Examples | None
    eval: dict[str, Examples]
    predict: Examples | None
    regression: bool
    metrics: tuple[str, ...]
    tokenizer: Any
    max_length: int | None
    collate_fn: Collate | None

    def __post_init__(self) -> None:
        rows = (self.train, *self.eval.values(), self.predict)
        check_max_length(self.tokenizer, self.max_length, any(part and part.pairs for part in rows))

    def load(self, splits: Collection[str]) -> Splits:
        """Tokenise what is asked for; a split that is not there stays None."""
        train = self._tokenize(self.train) if self.train is not None and "train" in splits else None
        predict = self._tokenize(self.predict) if self.predict is not None and "predict" in splits else None
        parts = [rows for rows in (self.train, *self.eval.values(), self.predict) if rows is not None]
        return Splits(
            train=train,
            eval={name: self._tokenize(rows) for name, rows in self.eval.items() if "eval" in splits},
            predict=predict,
            collate_fn=self.collate_fn or pad_texts(self.tokenizer),
            metrics=self.metrics,
            # Of all that was read, so that runs of other stages on the same data agree.
            fingerprint=fingerprint(column for rows in parts for column in rows.columns),
            train_fingerprint=fingerprint(self.train.columns if self.train else ()),
            eval_fingerprint=fingerprint((name, *rows.columns) for name, rows in self.eval.items())
            if self.eval
            else "",
        )

    def _tokenize(self, rows: Examples) -> TokenizedTexts:
        labels = None
        if rows.labels is not None:
            labels = torch.tensor(rows.labels, dtype=torch.float32 if self.regression else torch.int64)
        return tokenize(self.tokenizer, rows.texts, rows.pairs, self.max_length, rows.place, labels)


def _check_texts(rows: Examples, texts: Sequence[Any], column: Column) -> None:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            found = "nothing" if text is None else f"{text!r}, which is no text"
            raise UserError(f"{rows.place(row)}: column {column.name!r} ({column.key}) holds {found}")
        if not text.isascii():
            _check_unicode(rows, row, text)
    if not any(text.strip() for text in texts):
        raise UserError(f"{rows.tables[0].file}: column {column.name!r} ({column.key}) is empty in every row")


def _check_unicode(rows: Examples, row: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair, which no tokenizer takes
        odd = text[error.start]
        raise UserError(f"{rows.place(row)}: the text holds {odd!r}, which is no character") from None
