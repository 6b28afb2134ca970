"""Several evaluation sets, each with a name and a score of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import built, run

from trainer_cli.config.errors import UserError

TWO_SETS = (
    "~data.eval",
    "+data.eval.easy={_target_: small_run.Rows, size: 17, seed: 1}",
    "+data.eval.hard={_target_: small_run.Rows, size: 9, seed: 5}",
)


def evaluations(run_dir: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "train/loss" not in row]


def test_a_row_has_the_scores_of_every_set(tmp_path: Path) -> None:
    run(tmp_path, *TWO_SETS)
    for row in evaluations(tmp_path):
        assert [name for name in row if name.startswith("eval/")] == [
            "eval/easy/loss",
            "eval/easy/accuracy",
            "eval/hard/loss",
            "eval/hard/accuracy",
        ]


def test_each_has_the_score_that_it_has_alone(tmp_path: Path) -> None:
    run(tmp_path / "both", *TWO_SETS)
    run(tmp_path / "easy")
    run(tmp_path / "hard", "data.eval.size=9", "data.eval.seed=5")
    both = evaluations(tmp_path / "both")
    for name in ("easy", "hard"):
        alone = evaluations(tmp_path / name)
        for metric in ("loss", "accuracy"):
            assert [row[f"eval/{name}/{metric}"] for row in both] == [row[f"eval/{metric}"] for row in alone]


@pytest.mark.parametrize("metric", ["hard/accuracy", "eval/hard/accuracy", "eval_hard/accuracy"])
def test_one_of_them_picks_the_best_model(tmp_path: Path, metric: str) -> None:
    engine = run(tmp_path, *TWO_SETS, f"args.metric_for_best_model={metric}")
    assert engine.score_name(None) == "eval/hard/accuracy"
    assert engine.state.best_metric == max(row["eval/hard/accuracy"] for row in evaluations(tmp_path))


def test_without_a_choice_the_first_does(tmp_path: Path) -> None:
    with built(tmp_path, *TWO_SETS) as engine:
        assert engine.score_name(None) == "eval/easy/loss"


def test_early_stopping_watches_any_of_them(tmp_path: Path) -> None:
    stop = ("callbacks=early_stopping", "callbacks.progress=null", "callbacks.early_stopping.patience=1")
    watched = ("callbacks.early_stopping.metric=hard/loss", "optim.lr=0.0", "args.num_train_epochs=9")
    engine = run(tmp_path, *TWO_SETS, *stop, *watched)
    assert engine.state.stop is not None and "eval/hard/loss" in engine.state.stop
    assert engine.state.epoch == 2


def test_a_set_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="odd/accuracy is no metric") as caught,
        built(tmp_path, *TWO_SETS, "args.metric_for_best_model=odd/accuracy"),
    ):
        pass
    assert caught.value.problems[0].right == "it has: easy/loss, easy/accuracy, hard/loss, hard/accuracy"
