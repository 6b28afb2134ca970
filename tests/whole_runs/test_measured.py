"""Metrics and callbacks in whole runs: of one process, and of two that see half of the data each."""

from __future__ import annotations

import math
import random

import pytest

pytestmark = pytest.mark.slow

# SGD, as the signs that the recipe's own optimizer takes make a large difference of a small one.
RUN = [
    "+recipe=spirals",
    "optim=sgd",
    "optim.lr=0.1",
    "args.precision=fp32",
    "data.train.size=203",
    "data.eval.size=51",
    "args.num_train_epochs=1",
    "args.logging_steps=1",
]
ONE = ["args.per_device_train_batch_size=20"]
TWO = ["strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=10"]
SCORES = [
    "metrics=classification",
    "metrics.margin={_target_: spirals.Margin, scale: 2.0}",
    "metrics.recall.average=weighted",
    "metrics.balanced={_target_: trainer_cli.metrics.BalancedAccuracy}",
    "metrics.kappa={_target_: trainer_cli.metrics.CohenKappa}",
    "metrics.first={_target_: trainer_cli.metrics.TopKAccuracy, k: 1}",
    "metrics.roc_auc={_target_: trainer_cli.metrics.RocAuc}",
    "metrics.average_precision={_target_: trainer_cli.metrics.AveragePrecision}",
    "args.metric_for_best_model=margin",
]
TINY = [
    "data=text_classification",
    "data.train_file=train.jsonl",
    "data.eval_file=train.jsonl",
    "model.config.model_type=bert",
    "model.config.hidden_size=16",
    "model.config.intermediate_size=32",
    "model.config.num_hidden_layers=1",
    "model.config.num_attention_heads=2",
    "model.config.max_position_embeddings=64",
    "callbacks=monitor",
    "optim=sgd",
    "args.precision=fp32",
    "args.logging_steps=1",
    "args.eval_strategy=no",
    "args.stages=[train]",
]


def scores(shell, run):
    rows = [row for row in shell.rows(run) if "eval/margin" in row]
    # JSON has no NaN: it stands there as text.
    return [{name: float(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("size", [51, 1])
def test_two_processes_have_the_scores_of_one(project, size):
    project.run(*RUN, *SCORES, *ONE, f"data.eval.size={size}")
    project.run(*RUN, *SCORES, *TWO, f"data.eval.size={size}")
    (alone,), (two,) = (scores(project, run) for run in project.runs)
    assert two == pytest.approx(alone, rel=1e-5, nan_ok=True)
    assert len(alone) == 2 + 1 + 11
    if size == 51:
        assert alone["eval/first"] == alone["eval/accuracy"] == pytest.approx(alone["eval/recall"])
        assert project.record()["best"]["eval/margin"] == two["eval/margin"]
        assert all(math.isfinite(value) for value in alone.values())


@pytest.fixture
def texts(shell):
    """A shell in a folder with texts of uneven length; the tokens of an epoch."""
    draw = random.Random(0)
    rows = ["x" * draw.randint(1, 30) for _ in range(37)]
    lines = [f'{{"text": "{text}", "label": "{"ab"[len(text) % 2]}"}}\n' for text in rows]
    (shell.folder / "train.jsonl").write_text("".join(lines))
    return shell


def tokens(shell, run=None):
    return [row["train/tokens_seen"] for row in shell.rows(run) if "train/loss" in row]


def test_two_processes_have_seen_the_tokens_that_one_has(texts):
    texts.run(*TINY, "args.max_steps=8", "args.per_device_train_batch_size=8")
    texts.run(*TINY, "args.max_steps=8", "args.per_device_train_batch_size=4", *TWO[:2])
    one, two = texts.runs
    assert tokens(texts, one) == tokens(texts, two)
    for run in texts.runs:
        row = texts.rows(run)[0]
        measured = ("samples_per_second", "seconds_per_step", "tokens_per_second", "resident_memory_mb")
        assert all(row[f"train/{name}"] > 0 for name in measured)
        assert row["train/lr/decay"] == row["train/lr/no_decay"] == row["train/lr"]


def test_the_tokens_seen_go_on_after_a_resume(texts):
    words = [*TINY, *TWO[:2], "args.per_device_train_batch_size=4", "scheduler=constant"]
    texts.run(*words, "args.max_steps=8")
    whole = tokens(texts)
    # What was seen by step 4, where the run ends, is in its last row and goes on from the checkpoint.
    texts.run(*words, "args.max_steps=4", "args.logging_steps=3", "run.name=again")
    ended = texts(
        *words, "args.max_steps=8", "run.name=again", "resume=latest", f"args.output_dir={texts.outputs}"
    )
    assert ended.code == 0, ended.text
    (again,) = [run for run in texts.runs if run.parent.name == "again"]
    assert tokens(texts, again) == whole[2:]
