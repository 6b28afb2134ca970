"""The ready parts of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import built

from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine, score_name

ONE_SET = {"eval/loss": False, "eval/accuracy": True}
TWO_SETS = {
    "eval/matched/loss": False,
    "eval/matched/accuracy": True,
    "eval/mismatched/loss": False,
    "eval/mismatched/accuracy": True,
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that is ready for its first step."""
    with built(tmp_path) as engine:
        yield engine


@pytest.mark.parametrize(
    ("scores", "metric", "name"),
    [
        (ONE_SET, "loss", "eval/loss"),
        (ONE_SET, "eval_loss", "eval/loss"),
        (ONE_SET, "eval/loss", "eval/loss"),
        (ONE_SET, "accuracy", "eval/accuracy"),
        (TWO_SETS, "accuracy", "eval/matched/accuracy"),
        (TWO_SETS, "eval_loss", "eval/matched/loss"),
        (TWO_SETS, "mismatched/accuracy", "eval/mismatched/accuracy"),
        (TWO_SETS, "eval/mismatched/loss", "eval/mismatched/loss"),
    ],
)
def test_a_metric_goes_by_any_of_its_names(scores: dict[str, bool], metric: str, name: str) -> None:
    assert score_name(metric, scores) == name


@pytest.mark.parametrize("metric", ["f1", "eval_f1", "curacy", "eval/"])
def test_an_unknown_metric_is_refused_with_the_known_ones(metric: str) -> None:
    with pytest.raises(UserError, match="is no metric of this run's evaluation") as caught:
        score_name(metric, ONE_SET)
    assert caught.value.problems[0].right == "it has: loss, accuracy"


def test_the_loss_picks_the_best_model_unless_another_metric_is_named(tmp_path: Path) -> None:
    with built(tmp_path) as engine:
        assert engine.score_name(None) == "eval/loss"
        assert engine.score_name("eval_accuracy") == "eval/accuracy"
    with built(tmp_path, "args.metric_for_best_model=accuracy") as engine:
        assert engine.score_name(None) == "eval/accuracy"


@pytest.mark.parametrize(
    ("overrides", "scores", "best_step"),
    [
        ((), [3.0, 1.0, 2.0], 2),
        ((), [2.0, 2.0, 2.0], 1),
        ((), [math.nan, 2.0, math.nan], 2),
        ((), [math.nan, math.nan], None),
        ((), [math.inf, 5.0], 2),
        (("args.metric_for_best_model=accuracy",), [0.5, 0.75, 0.7], 2),
        (("args.metric_for_best_model=accuracy", "args.greater_is_better=false"), [0.5, 0.75, 0.25], 3),
        (("args.greater_is_better=true",), [3.0, 4.0, 2.0], 2),
    ],
)
def test_the_best_score_is_remembered_with_its_step(
    tmp_path: Path, overrides: tuple[str, ...], scores: list[float], best_step: int | None
) -> None:
    with built(tmp_path, *overrides) as engine:
        name = engine.score_name(None)
        said = []
        for step, score in enumerate(scores, start=1):
            engine.state.step = step
            said.append(engine.remember_best({name: score}))
        assert engine.state.best_step == best_step
        best = None if best_step is None else scores[best_step - 1]
        assert engine.state.best_metric == best
        assert best_step is None or (said[best_step - 1] and not any(said[best_step:]))


def test_greater_is_better_speaks_only_of_the_metric_of_the_best_model(tmp_path: Path) -> None:
    with built(tmp_path, "args.metric_for_best_model=accuracy", "args.greater_is_better=true") as engine:
        assert engine.greater_is_better("eval/accuracy")
        assert not engine.greater_is_better("eval/loss")


def test_without_evaluation_there_is_no_best(tmp_path: Path) -> None:
    with built(tmp_path, "args.stages=[train]", "args.eval_strategy=no") as engine:
        assert not engine.remember_best({})


def test_the_model_gets_only_what_its_forward_takes(engine: Engine) -> None:
    batch = {name: torch.zeros(1) for name in ("features", "labels", "index")}
    assert engine.place(batch).keys() == {"features", "labels"}


def test_every_row_has_the_step_and_the_epoch(engine: Engine) -> None:
    rows: list[Any] = []

    class Rows:
        def log(self, row: Any) -> None:
            rows.append(row)

        def close(self) -> None: ...

    engine.trackers["own"] = Rows()  # type: ignore[assignment]
    engine.state.step, engine.state.epoch, engine.state.samples = 9, 1, 15
    engine.log({"x": 1.0})
    assert rows == [{"step": 9, "epoch": 1.3333, "x": 1.0}]


def test_the_rate_is_that_of_the_update_to_come(engine: Engine) -> None:
    assert engine.lr == 0.01
    engine.optimizer.step()
    engine.scheduler.step()
    assert engine.lr == pytest.approx(0.01 * 11 / 12)


def test_only_trainable_parameters_are_clipped(engine: Engine) -> None:
    assert len(engine.parameters) == len(list(engine.module.parameters()))
    engine.module.layers[0].requires_grad_(False)  # type: ignore[operator, index]
    engine.__post_init__()
    assert len(engine.parameters) == 2
