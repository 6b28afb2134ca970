"""Texts, or pairs of texts, with a class or a number each, from the user's own files."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated

from trainer_cli.config.errors import UserError
from trainer_cli.config.types import Ge
from trainer_cli.data.files import named_files, read_table
from trainer_cli.data.labels import understand
from trainer_cli.data.source import UNSCORED, Collate, Head, Labels, Splits
from trainer_cli.data.texts import (
    Column,
    Examples,
    TextTask,
    make_tokenizer,
    read_examples,
    together,
    with_label_ids,
)

KEYS = {"train": "data.train_file", "eval": "data.eval_file", "predict": "data.test_file"}

Files = str | list[str] | None


class TextClassification:
    """Labelled texts from CSV, TSV, JSONL or Parquet files; `predict` reads the test file, without labels.

    Args:
        train_file: File, pattern (data/*.csv) or list of them to train on, the format by the ending and .gz
            unpacked; may be hf://datasets/ORG/NAME/PATH.
        eval_file: File or files to evaluate on.
        test_file: File or files to predict; needs no label column.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for a task on pairs; null: single texts.
        label_column: Column of the label.
        label_names: Class names, in the order in which whole numbers in the files count them; []: a
            regression; null: as the model has them, or as the labels are, words and whole numbers for
            classes, numbers with a decimal point for a regression.
        max_length: Tokens that a text is cut to; null: the tokenizer's own limit.
        tokenizer: The pretrained model whose tokenizer is used; null: a token for each byte.
        trust_remote_code: Whether code that comes with the tokenizer may run.
        collate_fn: Makes a batch of a list of rows; null: pads to the longest.
    """

    def __init__(
        self,
        train_file: str | list[str] | None,
        eval_file: str | list[str] | None,
        test_file: str | list[str] | None,
        text_column: str,
        text_pair_column: str | None,
        label_column: str,
        label_names: list[str] | None,
        max_length: Annotated[int, Ge(1)] | None,
        tokenizer: str | None,
        trust_remote_code: bool,
        collate_fn: Collate | None,
        head: Head | None = None,
    ) -> None:
        text = Column(text_column, "data.text_column")
        pair = Column(text_pair_column, "data.text_pair_column") if text_pair_column else None
        label = Column(label_column, "data.label_column")
        train, evaluation, test = together(
            partial(_read, train_file, KEYS["train"], text, pair, label),
            partial(_read, eval_file, KEYS["eval"], text, pair, label),
            partial(_read, test_file, KEYS["predict"], text, pair, None),
        )
        deciding = train or evaluation
        self.labels = understand(
            None if deciding is None else deciding.label_column, label_names, "data.label_names", head
        )
        train, evaluation = together(
            partial(with_label_ids, train, self.labels, label_names),
            partial(with_label_ids, evaluation, self.labels, label_names),
        )
        self.tokenizer = make_tokenizer(tokenizer, trust_remote_code)
        regression = self.labels is not None and self.labels.regression
        self._task = TextTask(
            train=train,
            eval={} if evaluation is None else {"": evaluation},
            predict=test,
            regression=regression,
            metrics=("pearson", "spearman") if regression else ("accuracy",),
            tokenizer=self.tokenizer,
            max_length=max_length,
            collate_fn=collate_fn,
        )
        self.description = _describe({"train": train, "eval": evaluation, "predict": test}, self.labels)

    def load(self, splits: Collection[str]) -> Splits:
        """Tokenise the splits that are asked for; raises UserError for one whose file is null."""
        there = {"train": self._task.train, "eval": self._task.eval, "predict": self._task.predict}
        for name, key in KEYS.items():
            if name in splits and not there[name]:
                right = f"{key}=FILE" + (f", or {UNSCORED}" if name == "eval" else "")
                raise UserError(f"{key} is null, and the stage {name} reads it", right=right)
        return self._task.load(splits)


def _read(files: Files, key: str, text: Column, pair: Column | None, label: Column | None) -> Examples | None:
    names = named_files(files, key)
    if not names:
        return None
    return read_examples(together(*(partial(read_table, name, key) for name in names)), text, pair, label)


def _describe(parts: dict[str, Examples | None], labels: Labels | None) -> str:
    files = ", ".join(
        f"{name} {rows.tables[0].file}{' …' if len(rows.tables) > 1 else ''} ({len(rows):,} rows)"
        for name, rows in parts.items()
        if rows is not None
    )
    if labels is None:
        return f"texts: {files}"
    if labels.regression:
        return f"texts with a number each: {files}"
    shown = ", ".join(labels.names[:5]) + (", …" if len(labels.names) > 5 else "")
    return f"texts in {len(labels.names)} classes ({shown}): {files}"
