"""What a loss or gradient that is not finite leads to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_run import POISONED, built, run
from torch import Tensor

from trainer_cli import loop, runner
from trainer_cli.config.errors import Diverged
from trainer_cli.data.sampler import epoch_order
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.tracker.jsonl import FILE, read

GIVEN = (
    "model._target_=small_run.DoubleMLP",
    "data.train._target_=small_run.Poisoned",
    "data.eval._target_=small_run.DoubleRows",
    "args.save_strategy=steps",
    "args.save_steps=1",
    "args.save_total_limit=null",
)
ORDER = list(epoch_order("random", 45, 42, 0, 8))
AT = ORDER.index(POISONED) // 8 + 1  # the update that the bad row comes into


def weights(directory: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / WEIGHTS)


def test_it_stops_in_the_step_and_keeps_the_weights(tmp_path: Path) -> None:
    with built(tmp_path, *GIVEN) as engine, pytest.raises(Diverged) as error:
        runner.run(engine)
    assert f"update {AT} has loss nan" in error.value.block()
    assert engine.state.step == AT - 1
    assert all(parameter.isfinite().all() for parameter in engine.parameters)
    row = read(tmp_path / FILE)[-1]
    assert row["step"] == AT and row["train/loss"] == row["train/grad_norm"] == "nan"
    found = json.loads((tmp_path / f"nonfinite-{AT}.jsonl").read_text())
    assert found["rows"] == ORDER[(AT - 1) * 8 : AT * 8]
    assert (found["epoch"], found["samples"], found["loss"]) == (0, (AT - 1) * 8, "nan")
    for step in engine.checkpoints.steps():
        assert all(tensor.isfinite().all() for tensor in weights(engine.checkpoints.path(step)).values())


@pytest.mark.parametrize("accumulation", [1, 4])
def test_skip_goes_on_without_that_batch(tmp_path: Path, accumulation: int) -> None:
    split = (
        f"args.per_device_train_batch_size={8 // accumulation}",
        f"args.gradient_accumulation_steps={accumulation}",
    )
    engine = run(tmp_path, *GIVEN, *split, "args.on_nonfinite=skip")
    assert engine.state.step == 10 and engine.state.skipped_steps == engine.state.nonfinite_steps == 2
    assert all(parameter.isfinite().all() for parameter in engine.parameters)
    rows = [row for row in read(tmp_path / FILE) if "train/loss" in row]
    assert [row["train/loss"] for row in rows].count("nan") == 2
    # The update that takes its place is counted and logged under the same number.
    assert [row["step"] for row in rows] == sorted([*range(1, 11), AT, second_time(rows)])
    assert rows[-1]["train/skipped_steps"] == 2


def test_batches_in_a_row_are_all_noted(tmp_path: Path) -> None:
    with built(tmp_path, *GIVEN, "args.on_nonfinite=skip", "args.num_train_epochs=1") as engine:
        rows = engine.train_loader.dataset
        rows.features[ORDER[0]] = rows.features[ORDER[8]] = torch.nan  # type: ignore[attr-defined]
        runner.run(engine)
    first = [json.loads(line) for line in (tmp_path / "nonfinite-1.jsonl").read_text().splitlines()]
    assert [found["rows"] for found in first] == [ORDER[:8], ORDER[8:16]]
    assert [found["samples"] for found in first] == [0, 8]


def second_time(rows: list[dict[str, object]]) -> object:
    return [row["step"] for row in rows if row["train/loss"] == "nan"][1]


def test_a_skipped_batch_leaves_no_trace(tmp_path: Path) -> None:
    """The same updates as those of a run whose data lacks the whole batch."""
    skipping = run(tmp_path / "skip", *GIVEN, "args.on_nonfinite=skip", "args.num_train_epochs=1")
    rest = [row for at in range(0, 45, 8) if POISONED not in (batch := ORDER[at : at + 8]) for row in batch]
    with built(tmp_path / "without", *GIVEN, "args.train_sampling_strategy=sequential") as engine:
        engine.args = skipping.args
        engine.total_steps = skipping.total_steps - 1
        engine.scheduler.lr_lambdas = skipping.scheduler.lr_lambdas  # type: ignore[attr-defined]
        engine.train_loader.dataset = torch.utils.data.Subset(engine.train_loader.dataset, rest)
        runner.run(engine)
    for left, right in zip(skipping.parameters, engine.parameters, strict=True):
        assert torch.equal(left, right)


def test_rollback_goes_back_and_passes_over_the_batch(tmp_path: Path) -> None:
    given = (*GIVEN, "args.save_steps=2", "model.dropout=0.2")
    engine = run(tmp_path / "back", *given, "args.on_nonfinite=rollback")
    state = engine.state
    assert state.step == 10 and state.skipped_steps == state.nonfinite_steps == 2
    assert [epoch for epoch, _ in state.rejected] == [0, 1]
    steps = [row["step"] for row in read(tmp_path / "back" / FILE) if "train/loss" in row]
    assert steps == list(range(1, 11))  # rows of updates that were taken back are gone
    assert all(parameter.isfinite().all() for parameter in engine.parameters)


def test_rollback_survives_a_resume(tmp_path: Path) -> None:
    given = (*GIVEN, "args.on_nonfinite=rollback", "model.dropout=0.2")
    whole = run(tmp_path / "whole", *given)
    resumed = run(tmp_path / "resumed", *given, resume_from=tmp_path / "whole" / f"checkpoint-{AT + 1}")
    assert resumed.state.rejected == whole.state.rejected
    for left, right in zip(whole.parameters, resumed.parameters, strict=True):
        assert torch.equal(left, right)


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    given = (*GIVEN, "args.save_strategy=epoch", "args.on_nonfinite=rollback")
    with built(tmp_path, *given) as engine, pytest.raises(Diverged, match="no checkpoint to go back to"):
        runner.run(engine)


def test_too_many_of_them_stop_the_run(tmp_path: Path) -> None:
    given = (*GIVEN, "args.on_nonfinite=skip", "args.max_nonfinite_steps=1")
    with built(tmp_path, *given) as engine, pytest.raises(Diverged, match="max_nonfinite_steps is 1"):
        runner.run(engine)
    assert engine.state.epoch == 1


def test_a_loss_that_is_infinite_with_finite_gradients_is_seen_too(tmp_path: Path) -> None:
    with built(tmp_path, "args.max_grad_norm=0") as engine:
        with torch.no_grad():
            # Logits of ±3e38: the softmax is 0 or 1, so the loss is infinite and its gradient is not.
            engine.parameters[-1].copy_(torch.tensor([3e38, -3e38, -3e38]))
        with pytest.raises(Diverged, match="loss inf"):
            runner.run(engine)
    assert engine.state.step == 0


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    # An update can overflow by itself: the gradient is finite, the rate is not for long.
    given = ("optim=sgd", "optim.lr=1e38", "args.save_strategy=steps", "args.save_steps=1")
    with built(tmp_path, *given) as engine, pytest.raises(Diverged):
        runner.run(engine)
    for step in engine.checkpoints.steps():
        assert all(tensor.isfinite().all() for tensor in weights(engine.checkpoints.path(step)).values())


def test_a_step_back_keeps_the_micro_batch_that_fits(tmp_path: Path) -> None:
    smaller = ("args.auto_find_batch_size=true", "args.on_nonfinite=rollback", "args.save_steps=1")
    with built(tmp_path, *GIVEN, *smaller, f"args.max_steps={AT + 2}") as engine:
        loop.save(engine)  # with whole micro-batches, as before memory ran out
        engine.state.saved_step = None
        engine.fit_micro_batch(2)
        engine.args = dataclasses.replace(engine.args, save_strategy="no")
        runner.run(engine)
    assert engine.state.nonfinite_steps == 1
    assert engine.state.micro_batch == engine.train_loader.per_device == 2
    assert engine.train_loader.accumulation == 4
