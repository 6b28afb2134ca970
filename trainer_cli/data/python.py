"""Datasets that the user's own code makes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sized
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from trainer_cli.config.errors import UserError
from trainer_cli.data.fingerprint import fingerprint
from trainer_cli.data.randomness import undisturbed
from trainer_cli.data.source import UNSCORED, Collate, Labels, Splits


class PythonData:
    """Any torch Dataset or IterableDataset whose rows are dicts, or are made dicts by `collate_fn`.

    Args:
        train: Dataset to train on, by _target_.
        eval: Dataset to evaluate on, or several by name, of which null ones are left out.
        predict: Dataset to predict.
        collate_fn: Makes a batch of a list of rows; null: torch's default_collate.
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
            collate_fn=self._collate_fn or collate_dicts,
            metrics=(),
            # Of classes and lengths alone: rows may be drawn at random, or cost much to read.
            fingerprint=fingerprint((key, _name(dataset)) for key, dataset in self._datasets()),
            train_fingerprint=fingerprint([_name(self._train)]),
        )

    def _datasets(self) -> Iterator[tuple[str, Any]]:
        if self._train is not None:
            yield "train", self._train
        for name, dataset in self._eval.items():
            yield f"eval.{name}" if name else "eval", dataset
        if self._predict is not None:
            yield "predict", self._predict


def collate_dicts(rows: list[Any]) -> dict[str, Tensor]:
    """torch's default_collate, for rows that are dicts of tensors and numbers."""
    if not isinstance(rows[0], dict):
        raise _no_dict("the data", rows[0])
    batch: dict[str, Tensor] = default_collate(rows)
    return batch


def _check(key: str, dataset: Any, rows_are_dicts: bool) -> None:
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"data.{key} is a {type(dataset).__name__}, no torch Dataset",
            right=f"data.{key}._target_=CLASS names the class of one",
        )
    if isinstance(dataset, IterableDataset):
        return  # to look at a row would take it out of the stream
    if not isinstance(dataset, Sized):
        raise UserError(
            f"data.{key}: {type(dataset).__name__} has no __len__", right="an IterableDataset needs none"
        )
    if len(dataset) == 0:
        raise UserError(f"data.{key} is empty")
    with undisturbed():  # the weights are drawn from the same generators
        row = dataset[0] if rows_are_dicts else {}
    if not isinstance(row, dict):
        raise _no_dict(f"data.{key}", row)


def _no_dict(what: str, row: Any) -> UserError:
    return UserError(
        f"{what}: row 0 is a {type(row).__name__}, and a row is a dict by the names that the model takes",
        right="return dicts, or name a data.collate_fn that makes a dict of tensors of such rows",
    )


def _name(dataset: Any) -> str:
    kind = type(dataset)
    rows = f" ({len(dataset):,} rows)" if isinstance(dataset, Sized) else ""
    return f"{kind.__module__}.{kind.__qualname__}{rows}"
