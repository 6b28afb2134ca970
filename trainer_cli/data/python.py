"""Datasets that the user's own code makes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.collate import NO_DICT, OWN_COLLATE, RowCollator
from trainer_cli.data.fingerprint import fingerprint
from trainer_cli.data.randomness import undisturbed
from trainer_cli.data.source import UNSCORED, Collate, Labels, Splits


class PythonData:
    """A torch Dataset or IterableDataset, a list, or one of Hugging Face, whose rows are dicts.

    Args:
        train: Dataset to train on, by _target_.
        eval: Dataset to evaluate on, or several by name, of which null ones are left out.
        predict: Dataset to predict.
        collate_fn: Makes a batch of a list of rows, whatever they are; null: a tensor of each column.
    """

    labels: Labels | None = None
    tokenizer: Any | None = None

    def __init__(
        self,
        train: Dataset[Any] | None,
        eval: Dataset[Any] | Mapping[str, Dataset[Any] | None] | None,
        predict: Dataset[Any] | None,
        collate_fn: Collate | None,
    ) -> None:
        self._train, self._predict = train, predict
        named = eval if isinstance(eval, Mapping) else {"": eval}
        self._eval = {name: dataset for name, dataset in named.items() if dataset is not None}
        self._collate_fn = collate_fn
        if collate_fn is not None and not callable(collate_fn):
            raise UserError(
                f"data.collate_fn is {collate_fn!r}, a {type(collate_fn).__name__}, and no function",
                right=f"data.collate_fn={{_target_: {collate_fn}, _partial_: true}} names one"
                if isinstance(collate_fn, str)
                else "data.collate_fn={_target_: MODULE.FUNCTION, _partial_: true} names one",
            )
        for key, dataset in self._datasets():
            _check(key, dataset, rows_are_dicts=collate_fn is None)
        self.description = ", ".join(f"{key} {_name(dataset)}" for key, dataset in self._datasets())

    def load(self, splits: Collection[str]) -> Splits:
        """The datasets as they are; raises UserError for one that is asked for and is null."""
        there = {"train": self._train, "eval": self._eval or None, "predict": self._predict}
        for split, dataset in there.items():
            if split in splits and dataset is None:
                right = f"data.{split}._target_=…" + (f", or {UNSCORED}" if split == "eval" else "")
                raise UserError(f"data.{split} is null, and the stage {split} reads it", right=right)
        return Splits(
            train=self._train if "train" in splits else None,
            eval=self._eval if "eval" in splits else {},
            predict=self._predict if "predict" in splits else None,
            collate_fn=self._collate_fn or RowCollator(),
            metrics=(),
            # Of a user's class the name and length alone: rows may be drawn at random, or cost much to read.
            fingerprint=fingerprint((key, _name(part), *_rows(part)) for key, part in self._datasets()),
            train_fingerprint=fingerprint([_name(self._train), *_rows(self._train)]),
            eval_fingerprint=fingerprint(
                (name, _name(part), *_rows(part)) for name, part in self._eval.items()
            )
            if self._eval
            else "",
        )

    def _datasets(self) -> Iterator[tuple[str, Any]]:
        if self._train is not None:
            yield "train", self._train
        for name, dataset in self._eval.items():
            yield f"eval.{name}" if name else "eval", dataset
        if self._predict is not None:
            yield "predict", self._predict


def _check(key: str, dataset: Any, rows_are_dicts: bool) -> None:
    if isinstance(dataset, IterableDataset):
        return  # to look at a row would take it out of the stream
    if (
        isinstance(dataset, Mapping)
        and dataset
        and all(isinstance(part, Indexed) for part in dataset.values())
    ):
        raise UserError(
            f"data.{key} is a {type(dataset).__name__} of {', '.join(map(str, dataset))}",
            right=f"data.{key}.split=NAME takes one of them",
        )
    if isinstance(dataset, Mapping | str) or not isinstance(dataset, Indexed | Dataset):
        raise UserError(
            f"data.{key} is a {type(dataset).__name__}, no torch Dataset nor a list of rows",
            right=f"data.{key}._target_=CLASS names the class of one, or a function that gives one",
        )
    if not isinstance(dataset, Sized):
        raise UserError(
            f"data.{key}: {type(dataset).__name__} has no __len__", right="an IterableDataset needs none"
        )
    if len(dataset) == 0:
        raise UserError(f"data.{key} is empty")
    with undisturbed():  # the weights are drawn from the same generators
        row = dataset[0] if rows_are_dicts else {}
    if not isinstance(row, Mapping):
        raise UserError(
            f"data.{key}: row 0 is a {type(row).__name__}, {NO_DICT}",
            right=OWN_COLLATE,
        )


@runtime_checkable
class Indexed(Protocol):
    """Rows that are read by their number: a list, or a dataset of Hugging Face."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def is_of_hugging_face(dataset: Any) -> bool:
    """Whether a dataset is one of Hugging Face's `datasets` that is read by row."""
    module = sys.modules.get("datasets")  # none is there before the module is; to import it takes a second
    return module is not None and isinstance(dataset, module.Dataset)


def without(dataset: Any, names: Collection[str]) -> Any:
    """The dataset without the columns of these names where it can be read so; else as it is."""
    if not is_of_hugging_face(dataset) or dataset.format["type"] == "custom":  # a transform may need them
        return dataset
    return dataset.remove_columns([name for name in dataset.column_names if name in names])


def _rows(dataset: Any) -> Iterator[str]:
    """Three rows of data that is read by row without anything being drawn or made, as text."""
    if is_of_hugging_face(dataset):
        dataset = dataset.with_format(None)
    elif not isinstance(dataset, list | tuple):
        return
    for index in sorted({0, len(dataset) // 2, len(dataset) - 1}):
        yield _text(dataset[index])


def _text(value: Any) -> str:
    """A value as text that is the same in each process, by its kind alone where there is none."""
    if isinstance(value, Mapping):
        return ",".join(f"{name!r}:{_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Tensor | np.ndarray):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
    return repr(value) if isinstance(value, str | int | float | bytes | None) else type(value).__name__


def _name(dataset: Any) -> str:
    kind = type(dataset)
    rows = f" ({len(dataset):,} rows)" if isinstance(dataset, Sized) else ""
    return f"{kind.__module__}.{kind.__qualname__}{rows}"
