"""Datasets of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.collate import RowCollator
from trainer_cli.data.python import PythonData, without
from trainer_cli.data.reader import FetchesMany, Reader
from trainer_cli.data.source import DataSource


class Rows(Dataset[Any]):
    """A fixed list of rows."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class Stream(IterableDataset[Any]):
    """Rows that can be read once."""

    def __init__(self, *rows: Any) -> None:
        self.rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self.rows


class Unsized(Dataset[Any]):
    """A dataset whose end nobody knows."""

    def __getitem__(self, index: int) -> Any:
        return {"x": index}


ROWS = Rows({"features": torch.ones(2), "labels": 1}, {"features": torch.zeros(2), "labels": 0})


def test_rows_become_batches_by_torchs_own_collation() -> None:
    source: DataSource = PythonData(train=ROWS, eval={"a": ROWS, "b": ROWS}, predict=None, collate_fn=None)
    splits = source.load(["train", "eval"])
    batch = splits.collate_fn([ROWS[0], ROWS[1]])
    assert batch["features"].shape == (2, 2) and batch["labels"].tolist() == [1, 0]
    assert splits.eval == {"a": ROWS, "b": ROWS}
    assert source.labels is None and source.tokenizer is None
    assert "Rows (2 rows)" in source.description
    assert PythonData(train=None, eval=ROWS, predict=None, collate_fn=None).load(["eval"]).eval == {"": ROWS}


def test_a_stream_is_not_read_before_the_run() -> None:
    stream = Stream({"x": 1}, {"x": 2})
    splits = PythonData(train=stream, eval=None, predict=None, collate_fn=None).load(["train"])
    assert splits.train is stream
    assert list(stream) == [{"x": 1}, {"x": 2}]


def test_an_own_collate_fn_may_take_any_row() -> None:
    def collate(rows: list[Any]) -> dict[str, Tensor]:
        return {"x": torch.tensor([x for x, _ in rows])}

    splits = PythonData(train=Rows((1, 2)), eval=None, predict=None, collate_fn=collate).load(["train"])
    assert splits.collate_fn([(1, 2)])["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Rows((1, 2)), "data.train: row 0 is a tuple, and a row is a dict"),
        (Rows(), "data.train is empty"),
        ([(1, 2)], "data.train: row 0 is a tuple, and a row is a dict"),
        ([], "data.train is empty"),
        (iter([{"x": 1}]), "data.train is a list_iterator, no torch Dataset nor a list of rows"),
        ("rows.csv", "data.train is a str, no torch Dataset nor a list of rows"),
        ({"train": [{"x": 1}], "test": [{"x": 1}]}, "data.train is a dict of train, test"),
        (Unsized(), "data.train: Unsized has no __len__"),
    ],
)
def test_what_is_no_dataset(train: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PythonData(train=train, eval=None, predict=None, collate_fn=None)


def test_a_streams_rows_are_checked_when_they_come() -> None:
    splits = PythonData(train=Stream(), eval=None, predict=None, collate_fn=None).load(["train"])
    with pytest.raises(UserError, match="row 0 is a int"):
        splits.collate_fn([1, 2])


def test_a_list_of_rows_is_data_known_by_what_is_in_it() -> None:
    rows: list[dict[str, Any]] = [{"x": [1.0, 2.0], "labels": index % 2} for index in range(5)]

    def source(rows: Any) -> PythonData:
        return PythonData(train=rows, eval=rows, predict=None, collate_fn=None)

    splits = source(rows).load(["train", "eval"])
    assert splits.train is rows and splits.collate_fn(rows[:2])["x"].tolist() == [[1, 2], [1, 2]]
    same = source([dict(row) for row in rows]).load(["train"])
    other = source([*rows[:4], {"x": torch.ones(2), "labels": 0}]).load(["train"])
    assert same.train_fingerprint == splits.train_fingerprint and same.fingerprint == splits.fingerprint
    assert other.train_fingerprint != splits.train_fingerprint and other.fingerprint != splits.fingerprint


def hugging_face(**columns: list[Any]) -> Any:
    import datasets

    return datasets.Dataset.from_dict(columns)


def test_a_dataset_of_hugging_face_is_data_read_many_rows_at_a_time() -> None:
    dataset = hugging_face(
        text=["a", "b", "c"], x=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], labels=[0, 1, 0], note=[None, "n", None]
    )
    source = PythonData(train=dataset, eval=None, predict=None, collate_fn=None)
    assert "Dataset (3 rows)" in source.description
    splits = source.load(["train"])
    splits.collate_fn = RowCollator(frozenset({"x", "labels"}))
    batch = Reader(splits.train, splits.collate_fn, 0, 0)[[2, 0]]  # type: ignore[arg-type]
    assert batch["x"].tolist() == [[5, 6], [1, 2]] and batch["labels"].tolist() == [0, 0] and len(batch) == 2
    assert isinstance(splits.train, FetchesMany)
    changed = PythonData(train=dataset.map(lambda row: {"labels": 1 - row["labels"]}), eval=None,
                         predict=None, collate_fn=None)  # fmt: skip
    assert changed.load(["train"]).train_fingerprint != splits.train_fingerprint
    again = hugging_face(**dataset.to_dict())
    repeated = PythonData(train=again, eval=None, predict=None, collate_fn=None).load(["train"])
    assert repeated.train_fingerprint == splits.train_fingerprint


def test_columns_that_are_not_read_are_not_decoded_unless_a_transform_needs_them() -> None:
    dataset = hugging_face(text=["a", "b"], x=[1, 2])
    assert without(dataset, ["text", "absent"]).column_names == ["x"]
    dataset.set_transform(lambda rows: {"x": [len(text) for text in rows["text"]]})
    assert without(dataset, ["text"]) is dataset
    assert without(ROWS, ["features"]) is ROWS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("mine.collate", "data.collate_fn={_target_: mine.collate, _partial_: true} names one"),
        ({"_partial_": True}, "data.collate_fn={_target_: MODULE.FUNCTION, _partial_: true} names one"),
    ],
)
def test_a_collate_fn_that_is_no_function_is_told_how_one_is_named(given: Any, says: str) -> None:
    with pytest.raises(UserError) as caught:
        PythonData(train=ROWS, eval=None, predict=None, collate_fn=given)
    assert says in caught.value.block()


def test_evaluation_sets_have_names_and_null_ones_are_left_out() -> None:
    source = PythonData(
        train=ROWS, eval={"near": ROWS, "far": ROWS, "off": None}, predict=None, collate_fn=None
    )
    assert source.load(["eval"]).eval == {"near": ROWS, "far": ROWS}
    assert "eval.near" in source.description and "eval.off" not in source.description
    with pytest.raises(UserError, match=r"data\.eval is null"):
        PythonData(train=ROWS, eval={"off": None}, predict=None, collate_fn=None).load(["eval"])


@pytest.mark.parametrize(
    ("far", "message"),
    [
        ({"size": 3}, "data.eval.far is a dict, no torch Dataset"),
        (Rows(), "data.eval.far is empty"),
        (Rows((1, 2)), "data.eval.far: row 0 is a tuple"),
    ],
)
def test_what_is_no_evaluation_set_is_named(far: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PythonData(train=None, eval={"near": ROWS, "far": far}, predict=None, collate_fn=None)


def test_looking_at_a_row_draws_nothing_that_the_weights_are_drawn_from() -> None:
    class Drawn(Rows):
        def __getitem__(self, index: int) -> Any:
            return {"x": torch.rand(3)}

    before = torch.get_rng_state()
    PythonData(train=Drawn(0), eval=None, predict=None, collate_fn=None)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("split", ["train", "eval", "predict"])
def test_a_split_that_is_asked_for_is_needed(split: str) -> None:
    with pytest.raises(UserError, match=f"data.{split} is null"):
        PythonData(train=None, eval=None, predict=None, collate_fn=None).load([split])
