"""The nine tasks in GLUE's own layout, in the hub's columns, and the embedded stand-in."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainer_cli.config.errors import UserError
from trainer_cli.data.glue import TASKS, Glue
from trainer_cli.data.source import DataSource
from trainer_cli.hub.pretrained import byte_tokenizer

TaskName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]

MNLI = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
MNLI += "sentence2_parse\tsentence1\tsentence2"
PARSES = "( p )\t( h )\t(ROOT p)\t(ROOT h)"
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
IDS = "#1 ID\t#2 ID\t#1 String\t#2 String"

# Rows of our own in the exact columns of GLUE's files.
LAYOUT: dict[str, dict[str, list[str]]] = {
    "CoLA": {
        "train.tsv": ["xx01\t1\t\tThe cat sat.", 'xx01\t0\t*\tSat "the cat.'],
        "dev.tsv": ["xx02\t0\t*\tCat sat the."],
        "test.tsv": ["index\tsentence", "0\tThe dog ran."],
    },
    "SST-2": {
        "train.tsv": ["sentence\tlabel", 'a "charming film \t1', "dull \t0"],
        "dev.tsv": ["sentence\tlabel", "a joy . \t1"],
        "test.tsv": ["index\tsentence", "0\tuneven"],
    },
    "MRPC": {
        "train.tsv": [f"Quality\t{IDS}", "1\t10\t11\tHe left.\tHe went away.", '0\t12\t13\t"Yes.\tNo.'],
        "dev.tsv": [f"Quality\t{IDS}", "1\t14\t15\tIt rained.\tRain fell."],
        "test.tsv": [f"index\t{IDS}", "0\t16\t17\tA.\tB."],
    },
    "STS-B": {
        "train.tsv": [f"{STSB}\tscore", "0\tg\tf\t2012\t1\tnone\tnone\tA plane.\tAn aeroplane.\t5.000"],
        "dev.tsv": [f"{STSB}\tscore", "0\tg\tf\t2012\t2\tnone\tnone\tA man.\tA dog.\t0.600"],
        "test.tsv": [STSB, "0\tg\tf\t2012\t3\tnone\tnone\tOne.\tTwo."],
    },
    "QQP": {
        "train.tsv": [
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
            "1\t2\t3\tWhy?\tWhy so?\t1",
            "4\t5\t6\tbroken",
            "7\t8\t9\tWho?\tWhen?\t0",
        ],
        "dev.tsv": ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "1\t2\t3\tHow?\tHow?\t1"],
        "test.tsv": ["id\tquestion1\tquestion2", "0\tA?\tB?"],
    },
    "MNLI": {
        "train.tsv": [
            f"{MNLI}\tlabel1\tgold_label",
            f"0\t1\t1n\tfiction\t{PARSES}\tHe ran.\tHe moved.\tentailment\tentailment",
            f"1\t2\t2n\tfiction\t{PARSES}\tHe ran.\tHe sat.\tcontradiction\tcontradiction",
        ],
        "dev_matched.tsv": [
            f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
            f"0\t1\t1n\tfiction\t{PARSES}\tHe ran.\tHe won.\t" + "\t".join(["neutral"] * 6),
        ],
        "dev_mismatched.tsv": [
            f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
            f"0\t1\t1n\tverbatim\t{PARSES}\tIt is.\tIt exists.\t" + "\t".join(["entailment"] * 6),
        ],
        "test_matched.tsv": [MNLI, f"0\t1\t1n\tfiction\t{PARSES}\tFirst.\tOne."],
        "test_mismatched.tsv": [MNLI, f"0\t1\t1n\tverbatim\t{PARSES}\tSecond.\tTwo."],
    },
    "QNLI": {
        "train.tsv": ["index\tquestion\tsentence\tlabel", "0\tWho?\tHe did.\tentailment"],
        "dev.tsv": ["index\tquestion\tsentence\tlabel", "0\tWhen?\tBlue.\tnot_entailment"],
        "test.tsv": ["index\tquestion\tsentence", "0\tWhere?\tHere."],
    },
    "RTE": {
        "train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tA cat sat.\tA cat.\tentailment"],
        "dev.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tA cat.\tA dog.\tnot_entailment"],
        "test.tsv": ["index\tsentence1\tsentence2", "0\tA.\tB."],
    },
    "WNLI": {
        "train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tHe hid it as he was shy.\tHe was shy.\t1"],
        "dev.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tIt fell.\tHe fell.\t0"],
        "test.tsv": ["index\tsentence1\tsentence2", "0\tA.\tB."],
    },
}

# Of each task: the first training text (and its pair), then the labels of train and of each evaluation set.
EXPECTED: dict[str, tuple[str, list[float], dict[str, list[float]]]] = {
    "cola": ("The cat sat.", [1, 0], {"": [0]}),
    "sst2": ('a "charming film ', [1, 0], {"": [1]}),
    "mrpc": ("He left.He went away.", [1, 0], {"": [1]}),
    "stsb": ("A plane.An aeroplane.", [5.0], {"": [0.6]}),
    "qqp": ("Why?Why so?", [1, 0], {"": [1]}),
    "mnli": ("He ran.He moved.", [0, 2], {"matched": [1], "mismatched": [0]}),
    "qnli": ("Who?He did.", [0], {"": [1]}),
    "rte": ("A cat sat.A cat.", [0], {"": [1]}),
    "wnli": ("He hid it as he was shy.He was shy.", [1], {"": [0]}),
}

METRICS = {
    "cola": ("matthews_correlation",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
}


def glue(task: str, source: str, tokenizer: str | None = None) -> Glue:
    return Glue(cast("TaskName", task), source, None, tokenizer, False, None)


def write_layout(directory: Path, task: str) -> None:
    for name, lines in LAYOUT[TASKS[task].folder].items():
        (directory / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def labels(dataset: Any) -> list[float]:
    return [row["labels"].item() for row in dataset]


def text(row: dict[str, torch.Tensor]) -> str:
    return cast("str", byte_tokenizer().decode(row["input_ids"]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("nested", [True, False])
def test_glues_own_layout(tmp_path: Path, task: str, nested: bool) -> None:
    folder = tmp_path / TASKS[task].folder if nested else tmp_path
    folder.mkdir(exist_ok=True)
    write_layout(folder, task)
    source: DataSource = glue(task, str(tmp_path))
    splits = source.load(["train", "eval", "predict"])
    first, train, evaluation = EXPECTED[task]
    assert splits.train is not None and splits.predict is not None
    assert text(splits.train[0]) == first
    assert labels(splits.train) == train
    assert {name: pytest.approx(labels(rows)) for name, rows in splits.eval.items()} == evaluation
    assert len(splits.predict) == (2 if task == "mnli" else 1)  # type: ignore[arg-type]
    assert "labels" not in splits.predict[0]
    assert splits.metrics == METRICS.get(task, ("accuracy",))
    assert source.labels is not None and source.labels.regression == (task == "stsb")


def test_the_test_sets_of_mnli_follow_each_other(tmp_path: Path) -> None:
    write_layout(tmp_path, "mnli")
    predict: Any = glue("mnli", str(tmp_path)).load(["predict"]).predict
    assert [text(row) for row in predict] == ["First.One.", "Second.Two."]


def test_a_row_with_too_few_fields_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_layout(tmp_path, "qqp")
    with caplog.at_level(logging.WARNING):
        glue("qqp", str(tmp_path))
    assert "train.tsv: 1 rows with too few fields are left out" in caplog.text


def test_mrpc_as_it_was_published(tmp_path: Path) -> None:
    row = "0\t1\t2\tOne.\tTwo.\r\n"
    for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"):
        (tmp_path / name).write_bytes(f"\ufeffQuality\t{IDS}\r\n{row}".encode())
    splits = glue("mrpc", str(tmp_path)).load(["train", "predict"])
    assert splits.train is not None and text(splits.train[0]) == "One.Two."


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "shards"])
def test_the_hubs_columns(tmp_path: Path, ending: str) -> None:
    rows = [
        {"premise": "He ran.", "hypothesis": "He moved.", "label": 0, "idx": 0},
        {"premise": "He ran.", "hypothesis": "He sat.", "label": 2, "idx": 1},
    ]
    unlabelled = [{**row, "label": -1} for row in rows]
    folder = tmp_path / "mnli"
    folder.mkdir()
    for split in ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"):
        content = unlabelled if split.startswith("test") else rows
        if ending == "jsonl":
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
        elif ending == "parquet":
            pq.write_table(pa.Table.from_pylist(content), folder / f"{split}.parquet")
        else:
            for index, row in enumerate(content):
                pq.write_table(pa.Table.from_pylist([row]), folder / f"{split}-0000{index}-of-00002.parquet")
    splits = glue("mnli", str(tmp_path)).load(["train", "eval", "predict"])
    assert splits.train is not None and labels(splits.train) == [0, 2]
    assert {name: labels(rows) for name, rows in splits.eval.items()} == {
        "matched": [0, 2],
        "mismatched": [0, 2],
    }
    assert len(splits.predict) == 4  # type: ignore[arg-type]


def test_embedded_sst2(minilm: str) -> None:
    source = glue("sst2", "embedded", minilm)
    assert source.description == (
        "rated tweets of vaderSentiment 3.3.2 as a binary task in SST-2's format"
        " (not GLUE; data.source=hub gives the real SST-2)"
    )
    splits = source.load(["train", "eval", "predict"])
    assert splits.train is not None and splits.predict is not None
    train, held_out = labels(splits.train), labels(splits.eval[""])
    assert (len(train), len(held_out)) == (2167, 500)
    positive = Counter(train + held_out)[1]
    assert round(positive / 2667, 3) == 0.686
    assert round(sum(held_out) / 500, 2) == 0.69
    assert len(splits.predict) == 500 and "labels" not in splits.predict[0]  # type: ignore[arg-type]


def test_the_held_out_tweets_are_the_same_on_every_machine() -> None:
    splits = glue("sst2", "embedded").load(["train", "eval"])
    assert splits.fingerprint == "6a80afed68c8a002"
    train, held_out = ({text(row) for row in cast("Any", rows)} for rows in (splits.train, splits.eval[""]))
    assert len(train) == 2167 and len(held_out) == 500 and not train & held_out


def test_embedded_regression() -> None:
    source = glue("stsb", "embedded")
    assert "not GLUE; data.source=hub gives the real STS-B" in source.description
    splits = source.load(["train", "eval"])
    train = labels(splits.train)
    assert len(train) == 3700 and -4 <= min(train) < -3 and 3 < max(train) <= 4


def message(task: str, source: str) -> str:
    with pytest.raises(UserError) as caught:
        glue(task, source).load(["train", "eval", "predict"])
    return caught.value.block()


def test_what_is_not_embedded() -> None:
    assert "data.task=cola is not embedded: sst2 and stsb are" in message("cola", "embedded")
    assert "data.source=hub" in message("cola", "embedded")


def test_sources_that_lead_nowhere(tmp_path: Path) -> None:
    assert "did you mean embedded?" in message("sst2", "embeded")
    assert "no such directory" in message("sst2", str(tmp_path / "glue"))
    assert "has no file of SST-2" in message("sst2", str(tmp_path))
    assert "data.task=sst is no task of GLUE" in message("sst", "embedded")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\n")
    block = message("sst2", str(tmp_path))
    assert "no rows for the stage eval" in block and "validation or dev" in block


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["sentence\tlabel", "a\t1", "b\t2"], "train.tsv:3: label '2' is none of the 2 classes"),
        (["text\tlabel", "a\t1"], "its columns: text, label"),
        (["sentence", "a"], "train.tsv has no column 'label' (data.task=sst2)"),
        (["sentence\tlabel"], "train.tsv holds no rows"),
    ],
)
def test_files_that_are_not_the_tasks(tmp_path: Path, lines: list[str], expected: str) -> None:
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    assert expected in message("sst2", str(tmp_path))
