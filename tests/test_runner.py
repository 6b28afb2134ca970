"""From a configuration to an engine, stage by stage, and to the end of a run, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from small_run import OVERRIDES, built, run

from trainer_cli import runner
from trainer_cli.callbacks import Callback
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.config.schema import Args
from trainer_cli.data.source import Splits
from trainer_cli.engine import Engine
from trainer_cli.model import MLP
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.runs.journal import PRUNED
from trainer_cli.tracker import Background
from trainer_cli.tracker.jsonl import FILE, read

STAGES = [
    "args and seed",
    "accelerator and logging",
    "model resolution",
    "distributed strategy",
    "device placement",
    "model introspection",
    "data, loss, optimizer, scheduler",
    "callbacks and trackers",
    "hub and output directory",
    "training state",
    "finalise",
]
OWN = """\
import sys

from small_run import MLP
from trainer_cli.callbacks import Callback
from trainer_cli.metrics import Accuracy
from trainer_cli.tracker import Tracker

REFUSED = RuntimeError("does not work")


class Model(MLP):
    def __init__(self, **given):
        raise REFUSED


class Unmoved(MLP):
    def to(self, *given):
        raise REFUSED


class Score(Accuracy):
    def __init__(self):
        raise REFUSED


class Watching(Callback):
    def __init__(self):
        raise REFUSED


class Untold(Tracker):
    def start(self, run_dir, step, rows):
        raise REFUSED

    def log(self, row):
        pass

    def close(self, status="finished"):
        pass


class Service(Untold):
    def __init__(self, how):
        if how == "exit":
            sys.exit("no account")
        raise REFUSED


def text(**given):
    return "no module"
"""
PLUGINS = "plugins=[small_run,own]"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of parts that do not work."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))


# Building


def test_the_stages_are_announced_in_their_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "trainer_cli.runner"), built(tmp_path):
        pass
    said = [record.getMessage() for record in caplog.records if record.name == "trainer_cli.runner"]
    assert said == [f"stage {number}/11: {name}" for number, name in enumerate(STAGES, start=1)]


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("model._target_=own.Model", 3),
        ("model._target_=own.Unmoved", 5),
        ("metrics.mine._target_=own.Score", 7),
        ("callbacks.mine._target_=own.Watching", 8),
    ],
)
def test_an_error_names_its_stage_and_comes_as_it_was(
    tmp_path: Path, own: None, caplog: pytest.LogCaptureFixture, word: str, number: int
) -> None:
    with (
        caplog.at_level(logging.DEBUG, "trainer_cli.runner"),
        pytest.raises(RuntimeError, match="does not work") as caught,
        built(tmp_path / "run", PLUGINS, word),
    ):
        pass
    name = STAGES[number - 1]
    assert f"in stage {number} of 11, {name}" in getattr(caught.value, "__notes__", ())
    assert f"stage {number}/11, {name}, failed: does not work" in caplog.text


def test_what_the_user_can_put_right_has_no_stage(
    tmp_path: Path, own: None, caplog: pytest.LogCaptureFixture
) -> None:
    words = (PLUGINS, "model={_target_: own.text}")
    with pytest.raises(UserError, match="gives a str, not a") as caught, built(tmp_path / "run", *words):
        pass
    assert not getattr(caught.value, "__notes__", ()) and "failed" not in caplog.text


def test_a_configuration_of_omegaconf_is_one_too(tmp_path: Path) -> None:
    engine = runner.build(OmegaConf.create(dict(compose([*OVERRIDES, "args.seed=7"]).config)), tmp_path)
    with built(tmp_path / "plain", "args.seed=7") as plain:
        for left, right in zip(engine.module.parameters(), plain.module.parameters(), strict=True):
            assert torch.equal(left, right)
    for tracker in engine.trackers.values():
        tracker.close()


def test_what_a_save_that_died_has_left_is_removed(tmp_path: Path) -> None:
    with built(tmp_path):
        pass
    (tmp_path / ".unfinished-checkpoint-3").mkdir()
    with built(tmp_path):
        assert not list(tmp_path.glob(".unfinished*"))


def test_what_a_limit_takes_is_taken_where_the_run_died_before_it(tmp_path: Path) -> None:
    saves = ("args.save_strategy=steps", "args.save_steps=2", "args.eval_strategy=no")
    run(tmp_path, *saves, "args.save_total_limit=null")
    last = tmp_path / "checkpoint-12"
    with built(tmp_path, *saves, "args.save_total_limit=2", resume_from=last) as engine:
        assert engine.checkpoints.steps() == [10, 12]
    # A run that does not train deletes nothing.
    with built(tmp_path, *saves, "args.save_total_limit=1", "args.stages=[eval]", resume_from=last) as engine:
        assert engine.checkpoints.steps() == [10, 12]


@pytest.mark.parametrize("how", ["exit", "error"])
def test_a_tracker_that_cannot_be_made_is_left_out_and_the_run_goes_on(
    tmp_path: Path, own: None, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    service = f"tracker.mine={{_target_: own.Service, how: {how}}}"
    with built(tmp_path / "run", PLUGINS, service, "tracker.other._target_=own.Untold") as engine:
        assert list(engine.trackers) == ["jsonl", "other"]
        assert isinstance(engine.trackers["other"], Background)
        runner.run(engine)
    cause = "no account" if how == "exit" else "does not work"
    assert "tracker mine is left out; metrics.jsonl has its rows: " in caplog.text and cause in caplog.text
    assert len(read(tmp_path / "run" / FILE)) > 12


def arguments(**given: Any) -> Args:
    return Args(**{**compose(OVERRIDES).config["args"], **given})


@pytest.mark.parametrize(
    ("given", "total", "found"),
    [
        ({"logging_steps": 10, "eval_steps": 20, "save_steps": 30}, 100, (10, 20, 30)),
        # A share is rounded up, and never to no step at all.
        ({"logging_steps": 0.101, "eval_steps": 0.5, "save_steps": 0.001}, 99, (10, 50, 1)),
        ({"logging_steps": 0.25, "eval_steps": None, "save_steps": 7}, 100, (25, 25, 7)),
        ({"logging_steps": 0.5, "eval_steps": 0.5, "save_steps": 0.5}, 0, (1, 1, 1)),
        ({"logging_steps": 1, "eval_steps": 1.0, "save_steps": 5.0}, 10, (1, 1, 5)),
    ],
)
def test_shares_of_the_run_become_steps(given: dict[str, Any], total: int, found: tuple[int, ...]) -> None:
    args = runner.with_steps(arguments(**given), total)
    steps = (args.logging_steps, args.eval_steps, args.save_steps)
    assert steps == found and all(isinstance(step, int) for step in steps)


def test_metrics_are_those_of_the_data_then_those_that_are_asked_for(tmp_path: Path) -> None:
    with built(tmp_path) as engine:
        loaders = engine.eval_loaders
    splits = Splits(None, {}, None, lambda rows: {}, ("accuracy", "f1"), "", "")

    class NoLabels:
        labels = None

    def names(**config: Any) -> list[str]:
        return list(runner.build_metrics(config, splits, NoLabels()))  # type: ignore[arg-type]

    top = {"_target_": "trainer_cli.metrics.MeanSquaredError"}
    assert names() == ["accuracy", "f1"]
    assert names(accuracy=None) == ["f1"] and names(other=None) == ["accuracy", "f1"]
    assert names(mse=top) == ["accuracy", "f1", "mse"]
    # What is asked for under a name of the data's stands in its place.
    made = runner.build_metrics({"accuracy": top}, splits, NoLabels())  # type: ignore[arg-type]
    assert type(made["accuracy"]).__name__ == "MeanSquaredError"
    assert runner.score_names(loaders, made) == {
        "eval/loss": False,
        "eval/accuracy": False,
        "eval/f1": True,
    }
    sets = {"easy": loaders[""], "hard": loaders[""]}
    assert list(runner.score_names(sets, {})) == ["eval/easy/loss", "eval/hard/loss"]


# Running


class Ends(Callback):
    """Notes its events, and does something in the one that it is named after."""

    def __init__(self, act: Any) -> None:
        self.act = act
        self.events: list[str] = []

    def on_begin(self, engine: Engine) -> None:
        self.events.append("begin")

    def on_step_end(self, engine: Engine) -> None:
        self.act(engine)

    def on_exception(self, engine: Engine, error: BaseException) -> None:
        self.events.append(type(error).__name__)

    def on_end(self, engine: Engine) -> None:
        self.events.append("end")


def ended(run_dir: Path, act: Any, *words: str) -> tuple[Engine, Ends, dict[str, Any]]:
    """A run in which something happens at each step's end."""
    with built(run_dir, *words) as engine:
        watch = Ends(act)
        engine.callbacks["watch"] = watch
        engine.__post_init__()
        return engine, watch, runner.run(engine)


def test_a_run_ends_with_its_speed_and_the_scores_of_the_model_that_it_keeps(tmp_path: Path) -> None:
    engine, watch, results = ended(tmp_path, lambda engine: None)
    assert watch.events == ["begin", "end"] and runner.status_of(engine) == "finished"
    assert results["train/updates_per_second"] == pytest.approx(12 / results["train/seconds"])
    last = [row for row in read(tmp_path / FILE) if "eval/loss" in row][-1]
    scores = [name for name in last if name.startswith("eval/")]
    assert len(scores) == 2 and all(results[name] == last[name] for name in scores)
    assert not engine.training


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_error_is_told_and_all_is_closed_before_it_leaves(tmp_path: Path, error: BaseException) -> None:
    def fail(engine: Engine) -> None:
        raise error

    saves = ("args.save_strategy=steps", "args.save_steps=1", "checkpoint.async_save=true")
    with built(tmp_path, *saves) as engine:
        watch = Ends(fail)
        engine.callbacks["watch"] = watch
        engine.__post_init__()
        with pytest.raises(type(error)):
            runner.run(engine)
        assert watch.events == ["begin", type(error).__name__, "end"]
        assert not engine.training and not engine.saver.writing
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("step", [1, 5])
def test_what_the_user_can_put_right_is_a_failure_once_an_update_was_made(tmp_path: Path, step: int) -> None:
    late = ("+callbacks.late._target_=small_run.RefusesAt", f"callbacks.late.step={step}")
    with built(tmp_path, *late) as engine, pytest.raises(RunFailed) as caught:
        runner.run(engine)
    assert caught.value.block() == "error: it cannot be\n  something else"
    assert isinstance(caught.value.__cause__, UserError)


def test_what_the_user_can_put_right_is_a_failure_once_a_row_was_logged(tmp_path: Path) -> None:
    class Refuses(Callback):
        def on_evaluate(self, engine: Engine, row: Mapping[str, float]) -> None:
            raise UserError("it cannot be")

    with built(tmp_path, "args.stages=[eval]") as engine:
        engine.callbacks["watch"] = Refuses()
        engine.__post_init__()
        with pytest.raises(RunFailed, match="it cannot be"):
            runner.run(engine)


def test_what_the_user_can_put_right_is_a_refusal_before_the_first_update(tmp_path: Path) -> None:
    def refuse(engine: Engine) -> None:
        raise UserError("it cannot be")

    with built(tmp_path) as engine:
        engine.callbacks["watch"] = part = Ends(None)
        part.on_begin = refuse  # type: ignore[method-assign]
        engine.__post_init__()
        with pytest.raises(UserError) as caught:
            runner.run(engine)
    assert not isinstance(caught.value, RunFailed)


def test_an_interrupted_run_has_no_model_and_no_further_stages(tmp_path: Path) -> None:
    def interrupt(engine: Engine) -> None:
        engine.state.signal = 15

    engine, watch, results = ended(tmp_path, interrupt)
    assert results == {} and runner.status_of(engine) == "preempted" and watch.events == ["begin", "end"]
    assert engine.checkpoints.steps() == [engine.state.step] and not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("reason", "status"), [(PRUNED, "pruned"), ("the score no longer rises", "finished")]
)
def test_a_run_that_stops_itself_keeps_its_model(tmp_path: Path, reason: str, status: str) -> None:
    def stop(engine: Engine) -> None:
        engine.state.stop = reason

    engine, _, results = ended(tmp_path, stop)
    assert engine.state.step == 1 and runner.status_of(engine) == status
    assert (tmp_path / "model" / WEIGHTS).is_file() and "eval/loss" in results


BEST = (
    "args.load_best_model_at_end=true",
    "args.eval_strategy=steps",
    "args.eval_steps=3",
    "args.save_strategy=steps",
    "args.save_steps=3",
    "args.metric_for_best_model=loss",
    "checkpoint.async_save=false",
)


def worsen(engine: Engine) -> None:
    """From the fourth update on no weights are as good as those before."""
    if engine.state.step > 3:
        with torch.no_grad():
            for parameter in engine.module.parameters():
                parameter.mul_(3.0)


def test_the_best_model_is_the_one_that_is_kept_and_scored(tmp_path: Path) -> None:
    engine, _, results = ended(tmp_path, worsen, *BEST)
    assert engine.state.best_step == 3
    kept, best, last = (
        load_file(tmp_path / name / WEIGHTS) for name in ("model", "checkpoint-3", "checkpoint-12")
    )
    assert all(torch.equal(kept[name], tensor) for name, tensor in best.items())
    assert not all(torch.equal(kept[name], tensor) for name, tensor in last.items())
    assert results["eval/loss"] == pytest.approx(engine.state.best_metric)


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_best_model_that_was_damaged_since_is_not_kept(tmp_path: Path, damage: str) -> None:
    def hurt(engine: Engine) -> None:
        worsen(engine)
        if engine.state.step == engine.total_steps:
            path = engine.checkpoints.path(3) / WEIGHTS
            if damage == "gone":
                path.unlink()
            else:
                content = bytearray(path.read_bytes())
                content[-1] ^= 1
                path.write_bytes(content)

    with pytest.raises(RunFailed, match="checkpoint-3, which is damaged") as caught:
        ended(tmp_path, hurt, *BEST)
    assert "args.load_best_model_at_end=false" in caught.value.problems[0].right
    assert not (tmp_path / "model").exists()
    # As the message says, the run can be ended with the last model.
    words = ("args.load_best_model_at_end=false", *BEST[1:])
    run(tmp_path, *words, resume_from=tmp_path / "checkpoint-12")
    assert (tmp_path / "model" / WEIGHTS).is_file()


@pytest.mark.parametrize("stages", [["eval"], ["train"], ["eval", "train"]], ids=",".join)
def test_the_stages_are_carried_out_as_they_are_named(tmp_path: Path, stages: Sequence[str]) -> None:
    engine = run(tmp_path, f"args.stages=[{','.join(stages)}]", "args.eval_strategy=no", "args.max_steps=2")
    rows = [("eval" if "eval/loss" in row else "train", row["step"]) for row in read(tmp_path / FILE)]
    trained = [("train", 1), ("train", 2)]
    assert (
        rows
        == {"eval": [("eval", 0)], "train": trained, "eval,train": [("eval", 0), *trained]}[",".join(stages)]
    )
    assert (tmp_path / "model").is_dir() == ("train" in stages)
    assert engine.state.step == (2 if "train" in stages else 0)


class Stateful(MLP):
    """Keeps what no checkpoint can hold."""

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 1}


class Lazy(MLP):
    """Has no shape before its first batch."""

    def __init__(
        self, in_features: int, hidden_features: Sequence[int], out_features: int, dropout: float
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.head = torch.nn.LazyLinear(out_features)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("Stateful", "no checkpoint can hold _extra_state of Stateful, a dict"),
        ("Lazy", "the shape of head.weight, head.bias in Lazy is not known before its first batch"),
    ],
)
def test_a_module_that_no_checkpoint_can_hold_is_refused_first(
    tmp_path: Path, module: str, said: str
) -> None:
    words = ("plugins=[small_run,test_runner]", f"model._target_=test_runner.{module}")
    with pytest.raises(UserError) as error, built(tmp_path, *words):
        pass
    assert said in error.value.block()
    assert not any(tmp_path.glob("checkpoint-*"))
