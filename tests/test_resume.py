"""Resumed equals uninterrupted, bit for bit."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from small_run import built, run

from trainer_cli import loop, runner
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.nonfinite import roll_back
from trainer_cli.tracker.jsonl import FILE, read

# 45 rows are 5 updates of 8 and one of 5 an epoch; rows of three updates share a logged one.
GIVEN = (
    "model.dropout=0.3",
    "args.per_device_train_batch_size=4",
    "args.gradient_accumulation_steps=2",
    "args.num_train_epochs=2.5",
    "args.logging_steps=4",
    "args.save_strategy=steps",
    "args.save_steps=1",
    "args.save_total_limit=null",
    "args.eval_strategy=steps",
    "args.eval_steps=5",
)
LAST = 15


def resumed(source: Path, step: int, target: Path, *overrides: str) -> Path:
    """A copy of a run as it stood when a crash threw away all after `step`, gone on with to its end.

    The rows of later steps are there still, as they are when the crash comes between two checkpoints.
    """
    target.mkdir()
    shutil.copy(source / FILE, target)
    checkpoint = target / f"checkpoint-{step}"
    shutil.copytree(source / checkpoint.name, checkpoint)
    run(target, *overrides, "args.save_steps=1000", resume_from=checkpoint)
    return target


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def assert_same_run(left: Path, right: Path) -> None:
    """Weights, rows and the last checkpoint with all that it holds are the same bytes."""
    assert (left / FILE).read_text() == (right / FILE).read_text()
    assert digests(left / "model") == digests(right / "model")
    assert digests(left / f"checkpoint-{LAST}") == digests(right / f"checkpoint-{LAST}")


@pytest.mark.parametrize(
    ("optimizer", "sampling"),
    [
        ("adamw", "random"),
        *(
            pytest.param("adamw", sampling, marks=pytest.mark.slow)
            for sampling in ("sequential", "group_by_length")
        ),
        *(
            pytest.param("sgd", sampling, marks=pytest.mark.slow)
            for sampling in ("random", "group_by_length")
        ),
    ],
)
def test_from_any_step_the_run_goes_on_as_if_nothing_had_been(
    tmp_path: Path, sampling: str, optimizer: str
) -> None:
    given = (*GIVEN, f"optim={optimizer}", f"args.train_sampling_strategy={sampling}")
    run(tmp_path / "whole", *given)
    assert read(tmp_path / "whole" / FILE)[-1]["step"] == LAST
    # Inside of an epoch and of a logged row; at an evaluation; at the end of an epoch; at the end.
    for step in (1, 5, 6, 12, LAST):
        target = resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given)
        assert_same_run(target, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["random", "sequential", "group_by_length"])
def test_workers_that_read_ahead_change_nothing(tmp_path: Path, sampling: str) -> None:
    given = (*GIVEN, f"args.train_sampling_strategy={sampling}")
    ahead = (*given, "args.dataloader_num_workers=2")
    run(tmp_path / "whole", *ahead)
    for step in (4, 6):
        assert_same_run(
            resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *ahead), tmp_path / "whole"
        )
    run(tmp_path / "without", *given)
    assert_same_run(tmp_path / "without", tmp_path / "whole")


@pytest.mark.parametrize("step", [2, 6])
@pytest.mark.parametrize("eval_strategy", ["epoch", "steps", "no"])
def test_evaluations_and_the_best_model_are_those_of_the_whole_run(
    tmp_path: Path, step: int, eval_strategy: str
) -> None:
    given = (
        *GIVEN,
        f"args.eval_strategy={eval_strategy}",
        "args.eval_steps=2",
        f"args.load_best_model_at_end={'false' if eval_strategy == 'no' else 'true'}",
        "optim.lr=0.05",
    )
    whole = run(tmp_path / "whole", *given).run_dir
    target = tmp_path / "resumed"
    target.mkdir()
    shutil.copy(whole / FILE, target)
    for path in whole.glob("checkpoint-*"):  # the best one so far is among them
        if int(path.name.removeprefix("checkpoint-")) <= step:
            shutil.copytree(path, target / path.name)
    run(target, *given, resume_from=target / f"checkpoint-{step}")
    assert_same_run(target, whole)


def test_checkpoints_of_epochs_go_on_too(tmp_path: Path) -> None:
    given = (*GIVEN, "args.save_strategy=epoch", "args.eval_strategy=epoch")
    run(tmp_path / "whole", *given)
    for step in (6, 12):
        assert_same_run(
            resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given), tmp_path / "whole"
        )


@pytest.mark.parametrize(
    "schedule",
    [
        ("scheduler=cosine", "scheduler.num_warmup_steps=0.3"),
        ("scheduler=polynomial", "scheduler.power=2.0"),
        ("scheduler=constant", "scheduler.num_warmup_steps=9"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_schedule_goes_on(tmp_path: Path, schedule: tuple[str, ...]) -> None:
    given = (*GIVEN, *schedule)
    run(tmp_path / "whole", *given)
    assert_same_run(resumed(tmp_path / "whole", 7, tmp_path / "resumed", *given), tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_goes_on_at_its_row(tmp_path: Path, workers: int) -> None:
    given = (
        *GIVEN,
        "data.train._target_=small_run.Stream",
        f"args.max_steps={LAST}",
        f"args.dataloader_num_workers={workers}",
    )
    run(tmp_path / "whole", *given)
    for step in (4, 6, 9):
        assert_same_run(
            resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given), tmp_path / "whole"
        )


RANDOM = (
    *GIVEN,
    "data.train._target_=small_run.Augmented",
    "data.eval._target_=small_run.Augmented",
    "data.collate_fn={_target_: small_run.masked, _partial_: true}",
)


@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_data_drawn_at_random_is_drawn_again(tmp_path: Path, sampling: str) -> None:
    given = (*RANDOM, f"args.train_sampling_strategy={sampling}")
    run(tmp_path / "whole", *given)
    for step in (1, 5, 6, 9):
        target = resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given)
        assert_same_run(target, tmp_path / "whole")


@pytest.mark.slow
def test_workers_draw_the_same(tmp_path: Path) -> None:
    ahead = (*RANDOM, "args.dataloader_num_workers=2")
    run(tmp_path / "whole", *ahead)
    for step in (4, 9):
        target = resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *ahead)
        assert_same_run(target, tmp_path / "whole")
    run(tmp_path / "without", *RANDOM)
    rows = [(tmp_path / name / FILE).read_text() for name in ("without", "whole")]
    assert rows[0] == rows[1]
    assert digests(tmp_path / "without" / "model") == digests(tmp_path / "whole" / "model")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stream", ["AugmentedStream", "ShuffledStream"])
def test_a_stream_drawn_at_random_is_drawn_again(tmp_path: Path, stream: str, workers: int) -> None:
    given = (
        *RANDOM,
        f"data.train._target_=small_run.{stream}",
        f"args.max_steps={LAST}",
        f"args.dataloader_num_workers={workers}",
    )
    run(tmp_path / "whole", *given)
    for step in (4, 9):
        target = resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given)
        assert_same_run(target, tmp_path / "whole")


def test_the_seed_of_the_data_is_another_than_that_of_the_weights(tmp_path: Path) -> None:
    rows = {}
    for name, seeds in {
        "same": (),
        "named": ("args.data_seed=42",),
        "data": ("args.data_seed=7",),
        "weights": ("args.seed=7", "args.data_seed=42"),
    }.items():
        with built(tmp_path / name, *RANDOM, *seeds) as engine:
            batches = [*engine.train_loader.updates(0, 0, engine.train_loader.global_batch)]
            features = [batch.micro_batches[0].inputs["features"].tolist() for batch in batches]
            weights = [parameter.tolist() for parameter in engine.parameters]
            rows[name] = ([batch.rows for batch in batches], features, weights)
    assert rows["named"] == rows["same"]
    assert all(rows["data"][part] != rows["same"][part] for part in (0, 1))
    assert rows["data"][2] == rows["same"][2] != rows["weights"][2]
    assert rows["weights"][:2] == rows["same"][:2]


def test_an_early_stop_comes_when_it_would_have_come(tmp_path: Path) -> None:
    given = (
        *GIVEN,
        "callbacks=early_stopping",
        "callbacks.progress=null",
        "callbacks.early_stopping.patience=3",
        "optim.lr=0.0",
        "args.eval_steps=2",
    )
    whole = run(tmp_path / "whole", *given)
    assert whole.state.step == 8
    for step in (3, 6, 7):
        target = resumed(tmp_path / "whole", step, tmp_path / f"from-{step}", *given)
        assert (target / FILE).read_text() == (tmp_path / "whole" / FILE).read_text()
        assert digests(target / "checkpoint-8") == digests(tmp_path / "whole" / "checkpoint-8")


def test_going_on_under_another_batch_reads_each_row_of_the_epoch_once(tmp_path: Path) -> None:
    run(tmp_path / "whole", *GIVEN)
    wider = (*GIVEN, "args.per_device_train_batch_size=6", "args.max_steps=9")
    seen: list[int] = []
    with built(tmp_path / "copy", *wider, resume_from=tmp_path / "whole" / "checkpoint-3") as engine:
        for batch in loop.batches_of_epoch(engine):
            rows = sum(len(micro.inputs["labels"]) for micro in batch.micro_batches)
            assert rows == len(batch.rows)
            seen.append(rows)
    assert seen == [12, 9]  # 45 less the 24 of three updates of 8


def test_a_resumed_run_draws_what_the_whole_one_would_have_drawn(tmp_path: Path) -> None:
    with built(tmp_path / "whole", *GIVEN, "args.max_steps=4") as engine:
        runner.run(engine)
        expected = torch.rand(5).tolist()
    with built(tmp_path / "copy", *GIVEN, resume_from=tmp_path / "whole" / "checkpoint-4"):
        torch.rand(1)  # the state was restored by then
    with built(tmp_path / "again", *GIVEN, resume_from=tmp_path / "whole" / "checkpoint-4"):
        assert torch.rand(5).tolist() == expected
    assert (tmp_path / "whole" / "checkpoint-4" / WEIGHTS).is_file()


@pytest.mark.parametrize("drop_last", ["false", "true"])
def test_epochs_asked_for_are_epochs_trained_whatever_the_batch_becomes(
    tmp_path: Path, drop_last: str
) -> None:
    given = (*GIVEN, "args.num_train_epochs=3", "args.eval_steps=100", "args.logging_steps=0.1")
    given = (*given, f"args.dataloader_drop_last={drop_last}")
    whole = run(tmp_path / "whole", *given)
    assert whole.total_steps == {"false": 18, "true": 15}[drop_last]
    # Batches of 8 up to row 24; of 16 up to row 40; of 4 from there on.
    wider = ("args.per_device_train_batch_size=16", "args.gradient_accumulation_steps=1")
    first = run(tmp_path / "first", *given, *wider, resume_from=tmp_path / "whole" / "checkpoint-3")
    later = (*given, "args.per_device_train_batch_size=2")
    second = run(tmp_path / "second", *later, resume_from=tmp_path / "first" / "checkpoint-4")
    totals = {"false": (3 + 2 + 2 * 3, 4 + 2 + 2 * 12), "true": (3 + 1 + 2 * 2, 4 + 2 * 11)}[drop_last]
    for engine, total in zip((first, second), totals, strict=True):
        assert (engine.state.step, engine.total_steps, engine.schedule_steps) == (total, total, total)
        assert (engine.state.epoch, engine.state.samples, engine.epoch) == (3, 0, 3.0)
        assert engine.args.logging_steps == -(-total // 10)
        assert read(engine.run_dir / FILE)[-1]["epoch"] == 3.0
        assert engine.lr == 0.0  # the schedule ends where the run does


def test_a_step_back_to_before_another_batch_keeps_the_epochs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path / "whole", *GIVEN)
    wider = (*GIVEN, "args.per_device_train_batch_size=8")
    with built(tmp_path / "copy", *wider, resume_from=tmp_path / "whole" / "checkpoint-12") as engine:
        assert engine.total_steps == 12 + 2
        assert "the run ends at step 14: of 2.5 epochs, 2 updates of 16 rows are left" in caplog.text
        shutil.copytree(tmp_path / "whole" / "checkpoint-6", tmp_path / "copy" / "checkpoint-6")
        roll_back(engine, "update 13 has loss nan")
        assert engine.total_steps == 6 + 3 + 2


def test_updates_asked_for_stay_updates_under_another_batch(tmp_path: Path) -> None:
    given = (*GIVEN, "args.max_steps=9")
    run(tmp_path / "whole", *given)
    wider = (*given, "args.per_device_train_batch_size=8")
    engine = run(tmp_path / "copy", *wider, resume_from=tmp_path / "whole" / "checkpoint-6")
    assert engine.state.step == engine.total_steps == 9


def test_fewer_epochs_than_were_trained_end_the_run_where_it_is(tmp_path: Path) -> None:
    run(tmp_path / "whole", *GIVEN)
    fewer = (*GIVEN, "args.num_train_epochs=1")
    engine = run(tmp_path / "copy", *fewer, resume_from=tmp_path / "whole" / "checkpoint-12")
    assert engine.state.step == engine.total_steps == 12
