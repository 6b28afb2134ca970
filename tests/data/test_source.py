"""What every source of data promises a run, kept by each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import Rows
from torch import Tensor

from trainer_cli.config.compose import compose
from trainer_cli.config.instantiate import instantiate
from trainer_cli.data.source import UNSCORED, DataSource, Labels

SPLITS = ("train", "eval", "predict")


def made(option: str, **fields: Any) -> DataSource:
    """The option's data, with the values of its YAML and these on top."""
    node = compose([f"data={option}"], strict=False).config["data"]
    source: DataSource = instantiate("data", node | fields)
    return source


def texts(folder: Path) -> DataSource:
    (folder / "train.csv").write_text("text,label\ngood,pos\nbad film,neg\n")
    (folder / "test.csv").write_text("text\nwho knows\n")
    train, test = str(folder / "train.csv"), str(folder / "test.csv")
    return made("text_classification", train_file=train, eval_file=train, test_file=test)


def glue(folder: Path) -> DataSource:
    return made("glue", task="stsb", source="embedded")


def plain_text(folder: Path) -> DataSource:
    (folder / "a.txt").write_text("abcdefgh" * 8)
    return made("language_modeling", train_file=str(folder / "a.txt"), eval_share=0.5, max_length=8)


def python(folder: Path) -> DataSource:
    fields = {name: {"_target_": "small_run.Rows", "size": size} for name, size in zip(SPLITS, (4, 3, 2))}
    return made("python", **fields)


Make = Callable[[Path], DataSource]
SOURCES: dict[str, Make] = {
    "text_classification": texts,
    "glue": glue,
    "language_modeling": plain_text,
    "python": python,
}
of_every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


def splits_of(make: Make) -> tuple[str, ...]:
    """The splits that a source can have: a language model predicts nothing."""
    return SPLITS[:2] if make is plain_text else SPLITS


def test_every_option_is_tried() -> None:
    from trainer_cli.config import places

    assert sorted(SOURCES) == places.options("data", places.roots())


@of_every_source
def test_a_split_is_loaded_where_it_is_asked_for_and_another_name_means_nothing(
    tmp_path: Path, make: Make
) -> None:
    source = make(tmp_path)
    there = splits_of(make)
    whole = source.load([*there, "export"])
    assert (whole.train is not None, bool(whole.eval), whole.predict is not None) == (
        True,
        True,
        "predict" in there,
    )
    for asked in ([], *([name] for name in there)):
        part = source.load(asked)
        assert [part.train is not None, bool(part.eval), part.predict is not None] == [
            name in asked for name in SPLITS
        ]
        # By the data, whatever of it a run reads.
        assert (part.fingerprint, part.train_fingerprint) == (whole.fingerprint, whole.train_fingerprint)
    for digest in (whole.fingerprint, whole.train_fingerprint):
        assert len(digest) == 16 and int(digest, 16) >= 0


@of_every_source
def test_rows_are_dicts_that_become_batches_of_tensors(tmp_path: Path, make: Make) -> None:
    source = make(tmp_path)
    splits = source.load(splits_of(make))
    train: Any = splits.train
    sets: list[Any] = [train, *splits.eval.values(), *([splits.predict] if splits.predict else [])]
    for dataset in sets:
        rows = [dataset[0], dataset[len(dataset) - 1]]
        assert all(isinstance(row, dict) for row in rows)
        batch = splits.collate_fn(rows)
        assert all(isinstance(value, Tensor) and len(value) == 2 for value in batch.values())
    labels = splits.collate_fn([train[0], train[1]])["labels"]
    regression = source.labels is not None and source.labels.regression
    assert labels.dtype is (torch.float32 if regression else torch.int64)
    if source.labels is not None and not regression:
        assert int(labels.min()) >= 0 and int(labels.max()) < len(source.labels.names)
    assert isinstance(train, Rows) or len(train.lengths) == len(train)


@of_every_source
def test_it_says_what_it_is_in_one_line(tmp_path: Path, make: Make) -> None:
    source = make(tmp_path)
    assert source.description and "\n" not in source.description
    # Text has a tokenizer, which is saved beside the model.
    assert (source.tokenizer is None) == (make is python)


def test_labels_without_names_are_numbers() -> None:
    assert Labels(()).regression and not Labels(("a", "b")).regression


def test_the_way_to_train_without_evaluation_is_one() -> None:
    args = compose(UNSCORED.partition(" trains")[0].split(), strict=False)
    assert args.problems == ()
    assert args.config["args"]["eval_strategy"] == "no" and args.config["args"]["stages"] == ["train"]
