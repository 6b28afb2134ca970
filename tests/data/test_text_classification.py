"""The user's own files as a task, and what is wrong with them said before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.data.source import DataSource, Labels
from trainer_cli.data.text_classification import TextClassification

OPTION = Path(__file__).parents[2] / "configs/data/text_classification.yaml"


def data(**fields: Any) -> TextClassification:
    """The data with the values of its YAML, and these on top."""
    option: Any = OmegaConf.to_container(OmegaConf.load(OPTION), resolve=True)
    assert option.pop("_target_").endswith(".TextClassification")
    return TextClassification(**(option | fields))


def jsonl(path: Path, *rows: tuple[Any, Any]) -> str:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return str(path)


def block(**fields: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(**fields)
    return caught.value.block()


def test_files_to_batches(tmp_path: Path, minilm: str) -> None:
    train = jsonl(tmp_path / "train.jsonl", ("good", "pos"), ("bad film", "neg"))
    (tmp_path / "eval.csv").write_text("id,text,label\n7,fine,pos\n")
    (tmp_path / "test.tsv").write_text("text\nwho knows\n")
    source: DataSource = data(
        train_file=train,
        eval_file=str(tmp_path / "eval.csv"),
        test_file=str(tmp_path / "test.tsv"),
        tokenizer=minilm,
    )
    assert source.labels == Labels(("neg", "pos"))
    assert "2 classes (neg, pos)" in source.description and "train.jsonl (2 rows)" in source.description
    splits = source.load(["train", "eval", "predict", "export"])
    assert splits.train is not None and splits.predict is not None and splits.train.lengths == [3, 4]
    batch = splits.collate_fn([splits.train[0], splits.train[1]])
    assert batch["input_ids"].shape == (2, 4)
    assert batch["labels"].tolist() == [1, 0]
    assert splits.eval[""][0]["labels"] == 1
    assert splits.predict[0].keys() == {"input_ids"}
    assert splits.metrics == ("accuracy",)
    only = source.load(["eval"])
    assert only.train is None and only.predict is None and only.fingerprint == splits.fingerprint


def test_the_fingerprint_is_the_datas(tmp_path: Path) -> None:
    rows = [("good", "a"), ("bad", "b")]
    one = data(train_file=jsonl(tmp_path / "1.jsonl", *rows)).load(["train"])
    same = data(train_file=jsonl(tmp_path / "2.jsonl", *rows)).load(["train"])
    other = data(train_file=jsonl(tmp_path / "3.jsonl", *rows[::-1])).load(["train"])
    assert len(one.fingerprint) == 16
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_numbers_make_a_regression(tmp_path: Path) -> None:
    source = data(train_file=jsonl(tmp_path / "train.jsonl", ("a", 0.5), ("b", 2)))
    assert source.labels is not None and source.labels.regression
    splits = source.load(["train"])
    assert splits.train is not None and splits.train[1]["labels"].dtype == torch.float32
    assert splits.metrics == ("pearson", "spearman")
    whole = jsonl(tmp_path / "whole.jsonl", ("a", 1), ("b", 2))
    assert data(train_file=whole, label_names=[]).labels == Labels(())
    assert data(train_file=whole).labels == Labels(("1", "2"))


def test_rows_in_the_format_of_imdb(tmp_path: Path) -> None:
    file = str(tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": ["I rented it…<br />", "A joy."], "label": [0, 1]}), file)
    source = data(train_file=file, label_names=["neg", "pos"])
    train: Any = source.load(["train"]).train
    assert source.labels == Labels(("neg", "pos"))
    assert [row["labels"] for row in train] == [0, 1]


def test_several_files_and_pairs(tmp_path: Path) -> None:
    for name, row in (("a.csv", "p,q,0"), ("b.csv", "r,,1")):
        (tmp_path / name).write_text(f"first,second,y\n{row}\n")
    source = data(
        train_file=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")],
        text_column="first",
        text_pair_column="second",
        label_column="y",
    )
    splits = source.load(["train"])
    assert splits.train.lengths == [2, 1]


def test_an_own_collate_fn_gets_the_rows(tmp_path: Path) -> None:
    def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"count": torch.tensor(len(rows))}

    source = data(train_file=jsonl(tmp_path / "train.jsonl", ("a", 0), ("b", 1)), collate_fn=collate)
    splits = source.load(["train"])
    assert splits.train is not None
    assert splits.collate_fn([splits.train[0], splits.train[1]]) == {"count": torch.tensor(2)}


def test_a_test_file_alone_leaves_the_labels_to_the_model(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text\na\n")
    source = data(test_file=str(tmp_path / "test.csv"))
    assert source.labels is None
    assert source.load(["predict"]).predict is not None


@pytest.mark.parametrize("split", ["train", "eval", "predict"])
def test_a_split_that_is_asked_for_needs_a_file(split: str) -> None:
    key = {"train": "data.train_file", "eval": "data.eval_file", "predict": "data.test_file"}[split]
    with pytest.raises(UserError, match=f"{key} is null"):
        data().load([split])


def test_everything_wrong_with_the_files_is_one_report(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "train.jsonl", ("a", 0), (None, 1))
    (tmp_path / "eval.csv").write_text("sentence,label\na,0\n")
    report = block(train_file=train, eval_file=str(tmp_path / "eval.csv"), test_file="missing.csv")
    assert report.startswith("3 errors")
    assert "train.jsonl:2: column 'text' (data.text_column) holds nothing" in report
    assert "eval.csv has no column 'text'" in report and "its columns: sentence, label" in report
    assert "data.test_file: missing.csv does not exist" in report


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(5, 0), ("b", 1)], ":1: column 'text' (data.text_column) holds 5, which is no text"),
        ([("", 0), (" ", 1)], "column 'text' (data.text_column) is empty in every row"),
        ([("a", 0), ("b", None)], ":2: no label"),
        ([("a", 0.5), ("b", "x")], ":2: label 'x' is no number, unlike '0.5'"),
        ([("a", "x"), ("b", "x")], "every label is 'x'"),
        ([("a", 0), ("\ud83d", 1)], ":2: the text holds '\\ud83d'"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(
    tmp_path: Path, rows: list[tuple[Any, Any]], message: str
) -> None:
    assert message in block(train_file=jsonl(tmp_path / "train.jsonl", *rows))


def test_an_eval_label_that_training_does_not_have(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "train.jsonl", ("a", "pos"), ("b", "neg"))
    evaluation = jsonl(tmp_path / "eval.jsonl", ("a", "pos"), ("b", "nge"))
    report = block(train_file=train, eval_file=evaluation)
    assert "eval.jsonl:2: label 'nge' is none of the 2 classes" in report
    assert "the classes: neg, pos" in report and "did you mean neg?" in report


@pytest.mark.parametrize("names", [["a"], ["a", "a"]])
def test_label_names_are_at_least_two_and_different(names: list[str]) -> None:
    assert "data.label_names has to be two or more different names" in block(label_names=names)
