"""A sweep's job that ends as the others do better."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from small_run import OVERRIDES, built, run

from trainer_cli.callbacks import Pruning
from trainer_cli.config.compose import compose
from trainer_cli.config.schema import Sweep
from trainer_cli.engine import Engine
from trainer_cli.runs.journal import FILE, PRUNED, trials_of
from trainer_cli.runs.record import identity
from trainer_cli.sweep.search import Study, Suggestion
from trainer_cli.sweep.space import Choices

LONG = ("args.num_train_epochs=4",)
"""Four evaluations, at steps 6, 12, 18 and 24."""


def study(tmp_path: Path, pruner: str = "median") -> Study:
    defaults: dict[str, Any] = {"name": None, "params": {}, "zip": [], "seed": 0, "jobs": 1, "warm": False}
    settings = Sweep(**defaults, search="random", trials=99, pruner=pruner, retries=0, fail_fast=False)  # type: ignore[arg-type]
    return Study(tmp_path, [Choices("optim.lr", tuple(f"0.0{at}" for at in range(1, 100)))], settings)


def ask(of: Study) -> Suggestion:
    suggestion = of.ask()
    assert suggestion is not None
    return suggestion


def others(of: Study, scores: dict[int, float], count: int = 5) -> None:
    """So many finished jobs, each with these scores, to be minimised, at their steps."""
    for _ in range(count):
        suggestion = ask(of)
        trial = trials_of(of.storage)[suggestion.number]
        for step, score in scores.items():
            of.storage.set_trial_intermediate_value(trial._trial_id, step, score)
        metric = {"name": "eval/loss", "greater_is_better": False}
        last = list(scores.values())[-1]
        of.tell(suggestion, {"status": "finished", "metric": metric, "results": {"eval/loss": last}})


def node(of: Study, suggestion: Suggestion) -> list[str]:
    """The overrides of the job's callback."""
    return [f"callbacks.pruning.{key}={value}" for key, value in of.callback(suggestion).items()]


def reports(of: Study, suggestion: Suggestion) -> dict[int, float]:
    values: dict[int, float] = trials_of(of.storage)[suggestion.number].intermediate_values
    return values


def losses(run_dir: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["eval/loss"] for row in rows if "eval/loss" in row}


@pytest.mark.parametrize("pruner", ["median", "percentile", "successive_halving", "hyperband"])
def test_a_run_that_does_worse_than_the_others_ends_early(tmp_path: Path, pruner: str) -> None:
    of = study(tmp_path, pruner)
    for _ in range(5):
        good = ask(of)
        engine = run(tmp_path / f"good{good.number}", *LONG, *node(of, good), "optim.lr=0.1")
        fields = {"status": "finished", "metric": {"name": "eval/loss", "greater_is_better": False}}
        of.tell(good, {**fields, "results": {"eval/loss": engine.evaluation["eval/loss"]}})  # type: ignore[index]
        if pruner in ("median", "percentile"):
            assert engine.state.stop is None
            assert reports(of, good) == losses(tmp_path / f"good{good.number}")
    for _ in range(4):  # hyperband lets some of the jobs run longer before it looks at them
        bad = ask(of)
        run_dir = tmp_path / f"bad{bad.number}"
        engine = run(run_dir, *LONG, *node(of, bad), "optim.lr=0.0")
        assert reports(of, bad) == losses(run_dir)
        if pruner != "hyperband" or engine.state.stop is not None:
            break
    assert engine.state.stop == PRUNED and engine.state.step == 6


def test_more_of_an_accuracy_is_better(tmp_path: Path) -> None:
    of = study(tmp_path)
    others(of, {6: -0.5, 12: -0.5})
    for _ in range(2):
        suggestion = ask(of)
        with built(
            tmp_path / "run", *LONG, *node(of, suggestion), "args.metric_for_best_model=accuracy"
        ) as engine:
            engine.training, engine.state.step = True, 6
            part = engine.callbacks["pruning"]
            score = 0.6 if suggestion.number == 5 else 0.4
            part.on_evaluate(engine, {"eval/loss": 9.0, "eval/accuracy": score})
        assert reports(of, suggestion) == {6: -score}
        assert (engine.state.stop == PRUNED) == (score == 0.4)


def test_a_run_that_is_over_is_not_pruned(tmp_path: Path) -> None:
    of = study(tmp_path)
    others(of, {24: 0.0})
    suggestion = ask(of)
    engine = run(tmp_path / "run", *LONG, *node(of, suggestion))
    assert engine.state.stop is None and engine.state.step == 24
    assert list(reports(of, suggestion)) == [6, 12, 18, 24]


def test_what_is_scored_before_and_after_training_is_not_told(tmp_path: Path) -> None:
    of = study(tmp_path)
    others(of, {0: 0.0})
    suggestion = ask(of)
    early = ("args.eval_on_start=true", "args.eval_strategy=no", "args.num_train_epochs=1")
    engine = run(tmp_path / "run", *node(of, suggestion), *early, "args.save_strategy=no")
    assert reports(of, suggestion) == {} and engine.state.stop is None


def test_another_reason_to_stop_stands(tmp_path: Path) -> None:
    of = study(tmp_path)
    others(of, {6: 0.0})
    with built(tmp_path / "run", *LONG, *node(of, ask(of))) as engine:
        engine.training, engine.state.step, engine.state.stop = True, 6, "enough"
        engine.callbacks["pruning"].on_evaluate(engine, {"eval/loss": 9.0})
        assert engine.state.stop == "enough"


def evaluate(engine: Engine, step: int, loss: float) -> str | None:
    """What the callback of a run at this step makes of a score."""
    engine.training, engine.state.step = True, step
    engine.callbacks["pruning"].on_evaluate(engine, {"eval/loss": loss})
    return engine.state.stop


def test_what_was_reported_before_a_resume_stands(tmp_path: Path) -> None:
    of = study(tmp_path)
    others(of, {6: 1.0, 12: 1.0, 18: 1.0})
    suggestion = ask(of)
    with built(tmp_path / "run", *LONG, *node(of, suggestion)) as engine:
        assert evaluate(engine, 6, 0.5) is None
        assert evaluate(engine, 12, 0.6) is None
    with built(tmp_path / "run", *LONG, *node(of, suggestion)) as engine:
        assert evaluate(engine, 6, 7.0) is None
        assert evaluate(engine, 12, 7.0) is None
        assert evaluate(engine, 18, 0.7) is None
    assert reports(of, suggestion) == {6: 0.5, 12: 0.6, 18: 0.7}


@pytest.mark.parametrize("pruner", ["median", "successive_halving"])
def test_what_was_decided_before_a_kill_is_decided_again(tmp_path: Path, pruner: str) -> None:
    of = study(tmp_path, pruner)
    others(of, {6: 1.0, 12: 1.0})
    good = ask(of)
    with built(tmp_path / "good", *LONG, *node(of, good)) as engine:
        evaluate(engine, 6, 0.1)
    suggestion = ask(of)
    for _ in range(2):  # killed before the checkpoint that has the reason to stop
        with built(tmp_path / "run", *LONG, *node(of, suggestion)) as engine:
            assert evaluate(engine, 6, 2.0) == PRUNED
    with built(tmp_path / "run", *LONG, *node(of, suggestion)) as engine:
        assert evaluate(engine, 3, 2.0) is None


@pytest.mark.parametrize("harm", ["missing", "damaged", "locked", "over", "unknown", "no optuna"])
def test_a_study_that_is_out_of_reach_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    of = study(tmp_path)
    others(of, {6: 0.0, 12: 0.0})
    suggestion = ask(of)
    words = node(of, suggestion)
    if harm == "missing":
        (tmp_path / FILE).unlink()
    elif harm == "damaged":
        (tmp_path / FILE).write_bytes(b"{}\n" * 3)
    elif harm == "locked":
        monkeypatch.setattr("trainer_cli.runs.journal.PATIENCE", 0.05)
        monkeypatch.setattr("fcntl.flock", busy)
    elif harm == "over":
        of.tell(suggestion, {"status": "diverged"})
    elif harm == "unknown":
        words[2] = "callbacks.pruning.trial=77"
    else:
        monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    monkeypatch.setattr(logging.getLogger("trainer_cli"), "propagate", True)
    engine = run(tmp_path / "run", *LONG, *words)
    assert engine.state.step == 24 and engine.state.stop is None
    said = [entry.getMessage() for entry in caplog.records if "study" in entry.getMessage()]
    assert len(said) == 1 and "this run is not pruned" in said[0]


def busy(*_: object) -> None:
    """Another process has the lock."""
    raise BlockingIOError


def test_all_processes_do_what_the_main_one_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = study(tmp_path)
    others(of, {6: 0.0})
    suggestion = ask(of)
    with built(tmp_path / "run", *LONG, *node(of, suggestion)) as engine:
        monkeypatch.setattr(type(engine.strategy), "is_main", False)
        monkeypatch.setattr(engine.strategy, "sum", lambda values: [value + 1 for value in values])
        assert evaluate(engine, 6, 9.0) == PRUNED
    assert reports(of, suggestion) == {}


def test_the_callback_is_no_part_of_what_a_job_is(tmp_path: Path) -> None:
    of = study(tmp_path)
    plain = compose(OVERRIDES).config
    pruned = compose([*OVERRIDES, *node(of, ask(of))]).config
    assert pruned != plain and identity(pruned) == identity(plain)


def test_its_rule_is_checked_before_anything_starts(tmp_path: Path) -> None:
    words = node(study(tmp_path, "medium"), Suggestion(0, []))
    with pytest.raises(Exception, match="pruner"):
        compose([*OVERRIDES, *words])


def test_it_has_no_state(tmp_path: Path) -> None:
    assert Pruning(str(tmp_path / FILE), 0, "median").state_dict() == {}
