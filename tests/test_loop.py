"""The cadence of the loop, its precisions, and what it does where something runs out."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import built, run
from torch import Tensor, nn

from trainer_cli import loop, runner
from trainer_cli.callbacks import Callback
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.data.loader import GlobalBatch
from trainer_cli.engine import Engine
from trainer_cli.model import MLP
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.strategy import device
from trainer_cli.tracker.jsonl import FILE, read


def steps(directory: Path, name: str = "train/loss") -> list[int]:
    return [row["step"] for row in read(directory / FILE) if name in row]


def steps_per_run(tmp_path: Path, *overrides: str) -> list[int]:
    run(tmp_path, "args.num_train_epochs=2", *overrides)  # of 6 updates each
    return steps(tmp_path)


# Logging


@pytest.mark.parametrize(
    ("overrides", "logged"),
    [
        (["args.logging_steps=4"], [4, 8, 12]),
        (["args.logging_steps=5", "args.logging_first_step=true"], [1, 5, 10, 12]),
        (["args.logging_steps=5", "args.max_steps=8"], [5, 8]),
        (["args.logging_steps=100"], [12]),
        (["args.logging_strategy=epoch", "args.num_train_epochs=1.5"], [6, 9]),
        (["args.logging_steps=0.25"], [3, 6, 9, 12]),
        (["args.logging_strategy=epoch"], [6, 12]),
        (["args.logging_strategy=no"], []),
    ],
)
def test_rows_come_when_they_are_asked_for(tmp_path: Path, overrides: list[str], logged: list[int]) -> None:
    assert steps_per_run(tmp_path, *overrides) == logged


def test_a_row_of_an_epoch_is_the_mean_over_it(tmp_path: Path) -> None:
    run(tmp_path / "epoch", "args.logging_strategy=epoch")
    run(tmp_path / "steps")
    rows = [row["train/loss"] for row in read(tmp_path / "steps" / FILE) if "train/loss" in row][:6]
    (mean,) = [row["train/loss"] for row in read(tmp_path / "epoch" / FILE) if "train/loss" in row][:1]
    assert mean == pytest.approx((8 * sum(rows[:5]) + 5 * rows[5]) / 45, rel=1e-6)
    assert read(tmp_path / "epoch" / FILE)[0]["epoch"] == 1.0


@pytest.mark.parametrize(
    ("overrides", "logged"),
    [(["args.logging_strategy=epoch"], [1, 2]), (["args.logging_steps=5"], [2])],
)
def test_a_last_batch_that_is_skipped_takes_no_row_with_it(
    tmp_path: Path, overrides: list[str], logged: list[int]
) -> None:
    given = (
        *overrides,
        "model._target_=small_run.DoubleMLP",
        "data.train._target_=small_run.Poisoned",
        "data.train.size=12",  # of the two batches of an epoch, the last has a row that is not finite
        "data.eval._target_=small_run.DoubleRows",
        "args.train_sampling_strategy=sequential",
        "args.on_nonfinite=skip",
        "args.save_strategy=steps",
        "args.save_steps=1",
        "args.save_total_limit=null",
    )
    run(tmp_path / "whole", *given)
    rows = [row for row in read(tmp_path / "whole" / FILE) if "train/lr" in row]
    assert [row["step"] for row in rows] == logged
    assert all(math.isfinite(row["train/loss"]) and row["train/grad_norm"] > 0 for row in rows)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    run(tmp_path / "resumed", *given, resume_from=tmp_path / "resumed" / "checkpoint-1")
    assert (tmp_path / "resumed" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


class Signal(Callback):
    """Sends the run a signal while it makes an update."""

    def __init__(self, during: int) -> None:
        self.during = during

    def on_backward_begin(self, engine: Engine, loss: Tensor) -> None:
        if engine.state.step + 1 == self.during:
            engine.state.signal = 15


# It is met in the update after, or in the evaluation between the epochs.
@pytest.mark.parametrize(("during", "stopped"), [(5, 6), (6, 6), (7, 8), (11, 12)])
@pytest.mark.parametrize("strategy", ["epoch", "steps"])
def test_a_signal_leaves_the_open_row_to_the_resumed_run(
    tmp_path: Path, strategy: str, during: int, stopped: int
) -> None:
    given = (
        f"args.logging_strategy={strategy}",
        "args.logging_steps=5",
        "args.eval_strategy=epoch",
        "args.load_best_model_at_end=true",
        "args.stages=[train]",
    )
    run(tmp_path / "whole", *given)
    stop = ("plugins=[small_run,test_loop]", "+callbacks.signal._target_=test_loop.Signal")
    with built(tmp_path / "stopped", *given, *stop, f"+callbacks.signal.during={during}") as engine:
        runner.run(engine)
    assert engine.state.interrupted and engine.state.step == stopped
    run(tmp_path / "stopped", *given, resume_from=engine.checkpoints.path(stopped))
    rows = [(tmp_path / name / FILE).read_text() for name in ("stopped", "whole")]
    assert rows[0] == rows[1]
    models = [(tmp_path / name / "model" / WEIGHTS).read_bytes() for name in ("stopped", "whole")]
    assert models[0] == models[1]


def test_rows_of_epochs_need_data_whose_end_is_known(tmp_path: Path) -> None:
    stream = ("data.train._target_=small_run.Stream", "args.max_steps=3", "args.logging_strategy=epoch")
    with pytest.raises(UserError, match="where an epoch ends"), built(tmp_path, *stream):
        pass


# Evaluating


@pytest.mark.parametrize(
    ("overrides", "evaluated"),
    [
        (["args.eval_strategy=epoch"], [6, 12]),
        (["args.eval_strategy=steps", "args.eval_steps=5"], [5, 10, 12]),
        (["args.eval_strategy=steps", "args.eval_steps=null", "args.logging_steps=4"], [4, 8, 12]),
        (["args.eval_strategy=steps", "args.eval_steps=0.5"], [6, 12]),
        (["args.eval_strategy=steps", "args.eval_steps=3", "args.eval_delay=7"], [9, 12]),
        (["args.eval_strategy=epoch", "args.eval_delay=2"], [12]),
        (["args.eval_strategy=epoch", "args.eval_on_start=true"], [0, 6, 12]),
        (["args.eval_strategy=no"], [12]),  # the stage eval
    ],
)
def test_evaluations_come_when_they_are_asked_for(
    tmp_path: Path, overrides: list[str], evaluated: list[int]
) -> None:
    run(tmp_path, *overrides)
    assert steps(tmp_path, "eval/loss") == evaluated


# Saving and the best model


@pytest.mark.parametrize(
    ("overrides", "saved"),
    [
        (["args.save_strategy=epoch"], [6, 12]),
        (["args.save_strategy=steps", "args.save_steps=5"], [5, 10, 12]),
        (["args.save_strategy=steps", "args.save_steps=0.25"], [3, 6, 9, 12]),
        (["args.save_strategy=no", "args.eval_strategy=no"], []),
    ],
)
def test_checkpoints_come_when_they_are_asked_for(
    tmp_path: Path, overrides: list[str], saved: list[int]
) -> None:
    engine = run(tmp_path, "args.save_total_limit=null", *overrides)
    assert engine.checkpoints.steps() == saved


def best_step(directory: Path) -> int:
    """The step with the highest accuracy, the first of several."""
    rows = [row for row in read(directory / FILE) if "eval/accuracy" in row]
    best = max(row["eval/accuracy"] for row in rows)
    return next(row["step"] for row in rows if row["eval/accuracy"] == best)


BEST = (
    "args.metric_for_best_model=accuracy",
    "args.eval_strategy=steps",
    "args.eval_steps=1",
    "optim.lr=0.3",  # so that the score goes up and down
)


def test_the_best_model_alone_is_saved_when_it_is_best(tmp_path: Path) -> None:
    engine = run(tmp_path, *BEST, "args.save_strategy=best", "args.save_total_limit=1")
    assert engine.state.best_step == best_step(tmp_path) < 12
    assert engine.checkpoints.steps() == [engine.state.best_step]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_never_takes_the_best(tmp_path: Path, limit: int) -> None:
    given = ("args.load_best_model_at_end=true", "args.save_strategy=steps", "args.save_steps=2")
    engine = run(tmp_path, *BEST, *given, f"args.save_total_limit={limit}")
    best = best_step(tmp_path)
    kept = engine.checkpoints.steps()
    assert best in kept and 12 in kept and len(kept) == max(limit, 2)
    final, stored = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("model", f"checkpoint-{best}"))
    assert final == stored


def test_checkpoints_of_the_model_alone_cannot_be_gone_on_from(tmp_path: Path) -> None:
    run(tmp_path / "run", "args.save_only_model=true")
    checkpoint = tmp_path / "run" / "checkpoint-6"
    assert {path.name for path in checkpoint.iterdir()} == {WEIGHTS, "manifest.json"}
    with (
        pytest.raises(UserError, match="holds the model alone"),
        built(tmp_path / "again", resume_from=checkpoint),
    ):
        pass


# Gradients


def test_values_are_clipped_to_their_limit(tmp_path: Path) -> None:
    given = ("optim=sgd", "optim.momentum=0", "optim.lr=1.0", "scheduler=constant", "args.max_steps=1")
    with built(tmp_path, *given, "args.max_grad_norm=0", "args.max_grad_value=1e-3") as engine:
        before = [parameter.detach().clone() for parameter in engine.parameters]
        loop.train(engine)
    moves = [
        float((new - old).detach().abs().max()) for new, old in zip(engine.parameters, before, strict=True)
    ]
    assert max(moves) == pytest.approx(1e-3, rel=1e-3)


def test_without_clipping_the_norm_is_logged_all_the_same(tmp_path: Path) -> None:
    run(tmp_path, "args.max_grad_norm=0", "args.logging_steps=5")
    assert all(row["train/grad_norm"] > 0 for row in read(tmp_path / FILE) if "train/loss" in row)


# fp16


def test_fp16_scales_the_loss_and_its_numbers_are_those_of_fp32(tmp_path: Path) -> None:
    half = run(tmp_path / "fp16", "args.precision=fp16")
    full = run(tmp_path / "fp32", "args.precision=fp32")
    assert half.scaler.get_scale() == 65536 and half.state.skipped_steps == 0
    assert "fp16" in half.summary["device"]
    pairs = zip(read(tmp_path / "fp16" / FILE), read(tmp_path / "fp32" / FILE), strict=True)
    for low, high in pairs:
        assert low == pytest.approx(high, rel=2e-2)
    assert full.scaler.state_dict() == {}


def test_an_overflow_skips_the_update_and_not_the_schedule(tmp_path: Path) -> None:
    with built(tmp_path, "args.precision=fp16", "args.num_train_epochs=1") as engine:
        engine.scaler.load_state_dict({**engine.scaler.state_dict(), "scale": 2.0**21})
        loop.train(engine)
    state = engine.state
    assert state.step + state.skipped_steps == 6 and 0 < state.skipped_steps < 6
    assert state.nonfinite_steps == 0 and engine.scheduler.last_epoch == state.step
    rows = [row for row in read(tmp_path / FILE) if "train/loss" in row]
    assert [row["step"] for row in rows] == list(range(1, state.step + 1))
    assert rows[0]["train/lr"] == 0.01  # the schedule's first
    assert all(math.isfinite(row["train/loss"]) for row in rows)
    assert rows[-1]["train/skipped_steps"] == state.skipped_steps


def test_the_scale_survives_a_resume(tmp_path: Path) -> None:
    given = (
        "args.precision=fp16",
        "args.save_strategy=steps",
        "args.save_steps=2",
        "args.save_total_limit=null",
    )
    with built(tmp_path / "whole", *given) as whole:
        whole.scaler.load_state_dict({**whole.scaler.state_dict(), "scale": 2.0**19, "_growth_tracker": 1990})
        runner.run(whole)
    resumed = run(tmp_path / "resumed", *given, resume_from=tmp_path / "whole" / "checkpoint-4")
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, resumed.parameters, strict=True))


# Memory


NARROW = ("model._target_=small_run.Narrow", "args.auto_find_batch_size=true")


@pytest.mark.parametrize(("room", "fits"), [(7, 4), (3, 2), (1, 1), (8, 8)])
def test_a_smaller_micro_batch_gives_the_same_updates(
    tmp_path: Path, room: int, fits: int, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path / "plain")
    with caplog.at_level(logging.WARNING):
        engine = run(tmp_path / "narrow", *NARROW, f"model.room={room}")
    assert engine.train_loader.per_device == fits and engine.train_loader.global_batch == 8
    assert engine.eval_loaders[""].per_device == 2 * fits  # of 32 rows
    if fits < 8:
        assert engine.state.micro_batch == fits
        assert f"an update is made of {8 // fits} × {fits}" in caplog.text
    pairs = zip(read(tmp_path / "narrow" / FILE), read(tmp_path / "plain" / FILE), strict=True)
    for found, expected in pairs:
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_size_that_was_found_is_remembered_by_the_run(tmp_path: Path) -> None:
    given = ("args.auto_find_batch_size=true", "args.save_strategy=steps", "args.save_steps=2")
    with built(tmp_path / "first", *given, "args.max_steps=4") as engine:
        engine.fit_micro_batch(3)
        assert engine.train_loader.per_device == 2  # 3 does not divide 8
        runner.run(engine)
    with built(tmp_path / "second", *given, resume_from=tmp_path / "first" / "checkpoint-4") as engine:
        assert engine.train_loader.per_device == 2 and engine.train_loader.accumulation == 4


class OutInStep(torch.optim.SGD):
    """Memory runs out in the third step, when the weights have changed."""

    steps = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.steps += 1
        if self.steps == 3:
            raise torch.OutOfMemoryError("no room\nof any kind")


def out_in_step(params: Any, lr: float, weight_decay: float) -> OutInStep:
    return OutInStep(params, lr=lr)


@pytest.mark.parametrize("smaller", ["true", "false"])
def test_memory_that_runs_out_in_the_step_ends_the_run(tmp_path: Path, smaller: str) -> None:
    given = (
        "plugins=[small_run,test_loop]",
        "optim._target_=test_loop.out_in_step",
        f"args.auto_find_batch_size={smaller}",
        "args.save_strategy=steps",
        "args.save_steps=2",
        *("~optim.betas", "~optim.eps", "~optim.fused"),
    )
    with built(tmp_path, *given) as engine, pytest.raises(RunFailed) as error:
        runner.run(engine)
    assert "in the optimizer's step 3, which may have changed some weights" in error.value.block()
    assert steps(tmp_path) == [1, 2] and engine.checkpoints.steps() == [2]
    assert engine.train_loader.per_device == 8
    optimizer: Any = engine.optimizer
    assert optimizer.steps == 3  # not once more


class Late(MLP):
    """A perceptron that has no memory for more than two rows when it has seen 5 batches."""

    seen = 0

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        self.seen += self.training
        if self.training and self.seen > 5 and len(features) > 2:
            raise torch.OutOfMemoryError("no room")
        return super().forward(features)


class Events(Callback):
    """Counts what happens."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_epoch_begin(self, engine: Engine) -> None:
        self.counts["epochs"] += 1

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        self.counts["begun"] += 1

    def on_step_end(self, engine: Engine) -> None:
        self.counts["made"] += 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_that_were_half_accumulated_are_made_again(tmp_path: Path, precision: str) -> None:
    given = (
        "plugins=[small_run,test_loop]",
        "args.per_device_train_batch_size=4",
        "args.gradient_accumulation_steps=2",
        "args.auto_find_batch_size=true",
        "args.ema_decay=0.9",
        f"args.precision={precision}",
        "+callbacks.events._target_=test_loop.Events",
    )
    run(tmp_path / "plain", *given)
    engine = run(tmp_path / "late", *given, "model._target_=test_loop.Late")
    assert engine.train_loader.per_device == engine.state.micro_batch == 2
    events: Any = engine.callbacks["events"]
    assert events.counts == {"epochs": 2, "begun": 12, "made": 12}
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    for found, expected in zip(*(read(tmp_path / name / FILE) for name in ("late", "plain")), strict=True):
        assert found == pytest.approx(expected, rel=tolerance)


def test_where_nothing_fits_the_error_is_the_devices(tmp_path: Path) -> None:
    with built(tmp_path, *NARROW, "model.room=0") as engine, pytest.raises(torch.OutOfMemoryError):
        runner.run(engine)


def test_another_error_is_none_of_memory(tmp_path: Path) -> None:
    assert not device.ran_out_of_memory(RuntimeError("shapes do not match"))
    with built(tmp_path, "args.auto_find_batch_size=true") as engine:
        engine.module.layers[0] = nn.Linear(5, 16)
        with pytest.raises(UserError, match=r"training, rows .*RuntimeError: mat1 and mat2"):
            runner.run(engine)


def test_a_real_lack_of_memory_is_known_by_its_error() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert device.ran_out_of_memory(error.value)


def test_unused_memory_is_given_back_at_its_cadence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    with built(tmp_path, "args.torch_empty_cache_steps=5") as engine:
        monkeypatch.setattr(loop, "empty_cache", lambda _: given_back.append(engine.state.step))
        runner.run(engine)
    assert given_back == [5, 10]


# Several losses


def test_each_named_loss_is_logged_and_adds_up(tmp_path: Path) -> None:
    given = (
        "model._target_=small_run.TwoLosses",
        "loss=model",
        "args.logging_steps=4",
    )
    run(tmp_path / "whole", *given)
    rows = [row for row in read(tmp_path / "whole" / FILE) if "train/loss" in row]
    for row in rows:
        total = row["train/class_loss"] + 0.1 * row["train/penalty_loss"]
        assert row["train/loss"] == pytest.approx(total, rel=1e-6)
    (last,) = [row for row in read(tmp_path / "whole" / FILE) if "eval/loss" in row][-1:]
    total = last["eval/class_loss"] + 0.1 * last["eval/penalty_loss"]
    assert last["eval/loss"] == pytest.approx(total, rel=1e-6)


def test_the_open_rows_named_losses_survive_a_resume(tmp_path: Path) -> None:
    given = ("model._target_=small_run.TwoLosses", "loss=model", "args.logging_steps=4")
    saving = ("args.save_strategy=steps", "args.save_steps=2", "args.save_total_limit=null")
    run(tmp_path / "whole", *given, *saving)
    run(tmp_path / "resumed", *given, *saving, resume_from=tmp_path / "whole" / "checkpoint-2")
    later = [row for row in read(tmp_path / "whole" / FILE) if row["step"] > 2]
    assert read(tmp_path / "resumed" / FILE) == later


def test_a_mean_over_nothing_is_no_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def unlabelled(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        features = torch.stack([row["features"] for row in rows])
        return {"features": features, "labels": torch.full((len(rows),), -100)}

    with built(tmp_path, "args.max_steps=1") as engine:
        engine.train_loader = dataclasses.replace(engine.train_loader, collate=unlabelled)
        engine.eval_loaders[""] = dataclasses.replace(engine.eval_loaders[""], collate=unlabelled)
        runner.run(engine)
    rows = read(tmp_path / FILE)
    assert [row.get("train/loss", row.get("eval/loss")) for row in rows] == ["nan", "nan"]
    assert "nothing was scored" in caplog.text
