"""Stopping a run whose score no longer gets better."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import built, run

from trainer_cli.callbacks import EarlyStopping
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose evaluations have a loss and an accuracy."""
    with built(tmp_path) as engine:
        yield engine


def stopped_after(part: EarlyStopping, engine: Engine, name: str, scores: list[float]) -> int | None:
    """The number of evaluations after which it asked to stop."""
    for number, score in enumerate(scores, start=1):
        part.on_evaluate(engine, {name: score})
        if engine.state.stop is not None:
            return number
    return None


@pytest.mark.parametrize(
    ("patience", "threshold", "losses", "stops"),
    [
        (1, 0.0, [3.0, 2.0, 2.0], 3),
        (2, 0.0, [3.0, 2.0, 2.5, 2.0], 4),
        (2, 0.0, [3.0, 3.5, 2.9, 3.0, 2.8], None),
        (2, 0.5, [3.0, 2.8, 2.6], 3),
        (2, 0.5, [3.0, 2.8, 2.4, 2.3, 2.2], 5),
        (2, 0.0, [1.0, math.nan, math.nan], 3),
        (2, 0.0, [1.0, math.nan, 0.5, 0.6], None),
        (2, 0.0, [math.nan, 1.0, 0.5], None),
        (1, 0.0, [math.inf, 1.0, 0.5], None),
    ],
)
def test_it_stops_after_patience_evaluations_without_a_gain(
    engine: Engine, patience: int, threshold: float, losses: list[float], stops: int | None
) -> None:
    part = EarlyStopping(patience, threshold, None)
    assert stopped_after(part, engine, "eval/loss", losses) == stops


def test_a_run_that_never_scores_a_number_is_stopped_too(engine: Engine) -> None:
    assert stopped_after(EarlyStopping(2, 0.0, None), engine, "eval/loss", [math.nan] * 5) is not None


def test_more_of_an_accuracy_is_a_gain(engine: Engine) -> None:
    part = EarlyStopping(1, 0.0, "accuracy")
    assert stopped_after(part, engine, "eval/accuracy", [0.5, 0.6, 0.6]) == 3
    assert engine.state.stop == "early stopping: eval/accuracy no better than 0.6 for 1 evaluations"


def test_its_own_metric_has_its_own_direction(tmp_path: Path) -> None:
    best_by_accuracy = ("args.metric_for_best_model=accuracy", "args.greater_is_better=true")
    with built(tmp_path, *best_by_accuracy) as engine:
        assert stopped_after(EarlyStopping(1, 0.0, "loss"), engine, "eval/loss", [3.0, 2.0, 1.0]) is None


def test_an_unknown_metric_is_said_before_the_first_step(engine: Engine) -> None:
    with pytest.raises(UserError, match="f1 is no metric of this run's evaluation"):
        EarlyStopping(1, 0.0, "f1").on_train_begin(engine)


def test_its_state_survives_json(engine: Engine) -> None:
    part = EarlyStopping(3, 0.0, None)
    assert json.loads(json.dumps(part.state_dict())) == {"best": None, "waited": 0}
    stopped_after(part, engine, "eval/loss", [1.0, 2.0])
    other = EarlyStopping(3, 0.0, None)
    other.load_state_dict(json.loads(json.dumps(part.state_dict())))
    assert stopped_after(other, engine, "eval/loss", [1.5, 1.0]) == 2


def test_a_run_ends_with_the_evaluation_that_it_stops_at(tmp_path: Path) -> None:
    engine = run(tmp_path, "callbacks=early_stopping", "callbacks.early_stopping.patience=2", "optim.lr=0.0")
    assert engine.state.step == 12 and engine.state.epoch == 2


def test_a_run_of_many_epochs_stops_early(tmp_path: Path) -> None:
    engine = run(
        tmp_path,
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=2",
        "optim.lr=0.0",
        "args.num_train_epochs=10",
    )
    assert engine.state.epoch == 3
    assert engine.checkpoints.steps() == [6, 18]  # the best, and the last of the limit of two


def test_what_was_waited_through_before_a_resume_counts(tmp_path: Path) -> None:
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=3", "optim.lr=0.0")
    run(tmp_path, *stop)
    engine = run(tmp_path, *stop, "args.num_train_epochs=10", resume_from=tmp_path / "checkpoint-12")
    assert engine.state.epoch == 4
