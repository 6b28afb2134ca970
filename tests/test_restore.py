"""Going on from a checkpoint, and what it may differ in from the run that goes on."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import built, run

from trainer_cli import loop, runner
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.restore import KINDS
from trainer_cli.tracker.jsonl import FILE, read

GIVEN = (
    "args.save_strategy=steps",
    "args.save_steps=2",
    "args.save_total_limit=null",
    "args.eval_strategy=steps",
    "args.eval_steps=3",
    "model.hidden_features=[16,16]",
)
OTHERS = {
    "model": ("model.hidden_features=[16,12]",),
    "optimizer": ("optim=sgd",),
    "data": ("data.train.size=33",),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from its start to its end."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, *GIVEN)
    return folder


def test_a_checkpoint_of_the_model_alone_is_refused(tmp_path: Path) -> None:
    run(tmp_path, *GIVEN, "args.save_only_model=true")
    with (
        pytest.raises(UserError, match="holds the model alone"),
        built(tmp_path, *GIVEN, resume_from=tmp_path / "checkpoint-2"),
    ):
        pass


@pytest.mark.parametrize("group", OTHERS)
def test_another_one_is_refused_before_anything_is_changed(
    tmp_path: Path, whole: Path, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Engine] = []
    monkeypatch.setattr(runner, "restore", lambda engine, *_: engines.append(engine))
    with built(tmp_path, *GIVEN, *OTHERS[group], resume_from=whole / "checkpoint-2") as engine:
        before = {name: value.clone() for name, value in engine.module.state_dict().items()}
        monkeypatch.undo()
        with pytest.raises(UserError, match=f"checkpoint-2 was made with {KINDS[group][0]}") as refused:
            runner.restore(engine, whole / "checkpoint-2")
        assert f"checkpoint.allow=[{group}]" in refused.value.block()
        assert all(torch.equal(engine.module.state_dict()[name], value) for name, value in before.items())
        assert engine.state.step == 0 and not engine.optimizer.state


@pytest.mark.parametrize("group", OTHERS)
def test_what_is_allowed_is_said_and_gone_on_with(
    tmp_path: Path, whole: Path, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = (*GIVEN, *OTHERS[group], f"checkpoint.allow=[{group}]")
    with caplog.at_level(logging.WARNING, "trainer_cli"):
        engine = run(tmp_path, *words, resume_from=whole / "checkpoint-2")
    assert f"{KINDS[group][0]}: {KINDS[group][1]}" in caplog.text
    assert engine.state.step == engine.total_steps


def test_another_model_takes_what_fits(tmp_path: Path, whole: Path) -> None:
    words = (*GIVEN, *OTHERS["model"], "checkpoint.allow=[model]")
    stored = load_file(whole / "checkpoint-2" / "model.safetensors")
    with built(tmp_path, *words, resume_from=whole / "checkpoint-2") as engine:
        fits = {
            name: torch.equal(stored[name], value)
            for name, value in engine.module.state_dict().items()
            if stored[name].shape == value.shape
        }
        assert fits and all(fits.values()) and len(fits) < len(stored)
        learned = {
            name for name, parameter in engine.module.named_parameters() if engine.optimizer.state[parameter]
        }
        assert learned == set(fits)


def test_the_message_names_what_differs_and_what_would_do(tmp_path: Path, whole: Path) -> None:
    words = (*GIVEN, *OTHERS["model"], *OTHERS["data"])
    with (
        pytest.raises(UserError) as refused,
        built(tmp_path, *words, resume_from=whole / "checkpoint-2"),
    ):
        pass
    block = refused.value.block()
    assert "layers.2.weight is 16 × 16 there and 12 × 16 here" in block
    assert "the training rows have fingerprint" in block
    assert "checkpoint.allow=[model,data] goes on all the same" in block
    assert len(block.splitlines()) <= 12


def test_other_evaluation_data_is_no_other_data(tmp_path: Path, whole: Path) -> None:
    run(tmp_path, *GIVEN, "data.eval.size=11", resume_from=whole / "checkpoint-2")


CHANGED = "the evaluation rows have changed: scores before and after step 6 cannot be compared"


def test_changed_evaluation_rows_are_said(
    tmp_path: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with built(tmp_path, *GIVEN, "data.eval.size=16", resume_from=whole / "checkpoint-6") as engine:
        best = engine.state.best_metric
    assert f"{CHANGED}; the best so far, {best:.4g}, is of the old rows" in caplog.text
    caplog.clear()
    with built(tmp_path, *GIVEN, resume_from=whole / "checkpoint-6"):
        pass
    state = whole / "checkpoint-6" / "state.json"
    assert CHANGED not in caplog.text and '"eval_data": "' in state.read_text()


def test_a_checkpoint_that_does_not_know_its_evaluation_rows_is_resumed_all_the_same(
    tmp_path: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "checkpoint-6"
    shutil.copytree(whole / "checkpoint-6", copy)
    state = json.loads((copy / "state.json").read_text())
    del state["eval_data"]
    (copy / "state.json").write_text(json.dumps(state))
    with built(tmp_path, *GIVEN, "data.eval.size=16", resume_from=copy):
        pass
    assert CHANGED not in caplog.text


def test_other_groups_of_the_same_parameters_go_on(tmp_path: Path, whole: Path) -> None:
    words = (*GIVEN, "optim.groups=[{modules: layers.0, lr: 0.001}]")
    with built(tmp_path, *words, resume_from=whole / "checkpoint-2") as engine:
        assert all(engine.optimizer.state[parameter] for parameter in engine.module.parameters())


@pytest.mark.parametrize("rule", ["restretch", "hold"])
def test_a_run_made_longer_says_and_follows_its_schedules_rule(
    tmp_path: Path, whole: Path, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    words = (*GIVEN, "args.num_train_epochs=3", f"+scheduler.on_extend={rule}")
    last = max(int(path.name.partition("-")[2]) for path in whole.glob("checkpoint-*"))
    with caplog.at_level(logging.WARNING, "trainer_cli"):
        engine = run(tmp_path, *words, resume_from=tmp_path / f"checkpoint-{last}")
    assert engine.total_steps == last * 3 // 2
    rates = [row["train/lr"] for row in read(tmp_path / FILE) if "train/lr" in row][last:]
    if rule == "hold":
        assert rates == [0.0] * len(rates)
        assert f"the schedule stays that of {last} updates (scheduler.on_extend=hold)" in caplog.text
    else:
        assert rates == sorted(rates, reverse=True) and rates[0] > 0.003
        assert f"the schedule is stretched from {last} to {engine.total_steps} updates" in caplog.text
        assert f"the rate at step {last} is {rates[0]:.3g} in place of 0" in caplog.text


def test_an_evaluation_that_a_signal_broke_off_is_made_up_for(tmp_path: Path, whole: Path) -> None:
    with built(tmp_path, *GIVEN) as engine:
        evaluations = 0
        score = type(engine.loss).scored

        def count(*values):  # type: ignore[no-untyped-def]
            nonlocal evaluations
            evaluations += 1
            engine.state.signal = 15
            return score(engine.loss, *values)

        engine.loss.scored = count  # type: ignore[method-assign]
        with runner.training(engine):
            loop.train(engine)
        assert engine.state.interrupted and evaluations == 1
        assert engine.state.step == 3 and engine.checkpoints.steps() == [2, 3]
    assert not any("eval/loss" in row for row in read(tmp_path / FILE))
    for _ in range(2):  # and once more, as if the first try to go on had died after its evaluation
        run(tmp_path, *GIVEN, resume_from=tmp_path / "checkpoint-3")
        assert (tmp_path / FILE).read_text() == (whole / FILE).read_text()
        left, right = (load_file(path / "model" / "model.safetensors") for path in (tmp_path, whole))
        assert all(torch.equal(left[name], value) for name, value in right.items())


def test_a_signal_during_the_last_save_ends_the_run_before_its_model_is_written(
    tmp_path: Path, whole: Path
) -> None:
    words = (*GIVEN, "checkpoint.async_save=false", "args.stages=[train,eval]", "args.eval_strategy=no")
    with built(tmp_path, *words) as engine:
        save = engine.checkpoints.save

        def signalled(step, *values):  # type: ignore[no-untyped-def]
            engine.state.signal = 15 if step == engine.total_steps else None
            return save(step, *values)

        engine.checkpoints.save = signalled  # type: ignore[method-assign]
        runner.run(engine)
        assert engine.state.interrupted and engine.state.step == engine.total_steps
        last = engine.checkpoints.path(engine.total_steps)
    assert last.is_dir() and not (tmp_path / "model").exists()
    run(tmp_path, *words, resume_from=last)
    assert (tmp_path / "model").is_dir()
