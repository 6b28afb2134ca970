"""Datasets of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.python import PythonData
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
        ([{"x": 1}], "data.train is a list, no torch Dataset"),
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
