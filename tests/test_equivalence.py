"""One batch, however it is split over micro-batches and processes, is one and the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import OVERRIDES, Unlabelled, run

from trainer_cli.data.sampler import epoch_order
from trainer_cli.engine import Engine
from trainer_cli.tracker.jsonl import FILE, read

# In float64 the order of a sum shows in the last digits alone.
DOUBLE = (
    "model._target_=small_run.DoubleMLP",
    "data.train._target_=small_run.DoubleRows",
    "data.eval._target_=small_run.DoubleRows",
)


def split(per_device: int, accumulation: int) -> tuple[str, str]:
    return (
        f"args.per_device_train_batch_size={per_device}",
        f"args.gradient_accumulation_steps={accumulation}",
    )


def assert_same_rows(left: list[dict[str, Any]], right: list[dict[str, Any]], tolerance: float) -> None:
    assert len(left) == len(right) > 10
    for one, other in zip(left, right):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name], rel=tolerance, abs=tolerance), (one, other)


def assert_same_weights(left: Engine, right: Engine, tolerance: float) -> None:
    pairs = zip(left.module.parameters(), right.module.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sampling", ["random", "sequential", "group_by_length"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_micro_batches_add_up_to_the_batch(tmp_path: Path, sampling: str, optimizer: str) -> None:
    given = (*DOUBLE, f"args.train_sampling_strategy={sampling}", f"optim={optimizer}")
    whole = run(tmp_path / "8x1", *given, *split(8, 1))
    for per_device, accumulation in ((4, 2), (1, 8)):
        parts = run(tmp_path / f"{per_device}x{accumulation}", *given, *split(per_device, accumulation))
        assert_same_rows(read(parts.run_dir / FILE), read(whole.run_dir / FILE), 1e-12)
        assert_same_weights(parts, whole, 1e-11)


def test_a_split_of_ignored_labels_and_unequal_items_adds_up_too(tmp_path: Path) -> None:
    given = (
        *DOUBLE,
        "data.train._target_=small_run.Unlabelled",
        "loss.label_smoothing=0.1",
        "loss.class_weights=[1.0,2.0,0.5]",
        "optim=sgd",
    )
    whole = run(tmp_path / "8x1", *given, *split(8, 1))
    parts = run(tmp_path / "2x4", *given, *split(2, 4))
    assert_same_rows(read(parts.run_dir / FILE), read(whole.run_dir / FILE), 1e-12)
    assert_same_weights(parts, whole, 1e-11)


def test_a_logged_loss_is_the_mean_over_the_items_since_the_last_row(tmp_path: Path) -> None:
    given = (*DOUBLE, "data.train._target_=small_run.Unlabelled", "args.max_steps=6", "args.eval_strategy=no")
    run(tmp_path / "each", *given)
    run(tmp_path / "all", *given, "args.logging_steps=6")
    each, (last,) = read(tmp_path / "each" / FILE)[:6], read(tmp_path / "all" / FILE)[:1]
    items = items_of_updates(45, 8)
    mean = sum(row["train/loss"] * count for row, count in zip(each, items)) / sum(items)
    assert last["train/loss"] == pytest.approx(mean, rel=1e-12)
    assert last["train/lr"] == each[-1]["train/lr"]
    assert last["train/grad_norm"] == each[-1]["train/grad_norm"]


def items_of_updates(size: int, batch: int) -> list[int]:
    """Labels in each update of the first epoch, from the data and the order alone."""
    rows = Unlabelled(size)
    order = epoch_order("random", size, 42, 0, batch)
    return [
        sum(int(rows[row]["labels"] >= 0) for row in order[at : at + batch]) for at in range(0, size, batch)
    ]


@pytest.mark.parametrize("batch", [1, 5, 17, 100])
def test_evaluation_does_not_depend_on_its_batch_size(tmp_path: Path, batch: int) -> None:
    given = (*DOUBLE, "args.stages=[eval]")
    reference = run(tmp_path / "32", *given)
    other = run(tmp_path / "other", *given, f"args.per_device_eval_batch_size={batch}")
    assert reference.evaluation is not None and other.evaluation is not None
    assert reference.evaluation.keys() == {"eval/loss", "eval/accuracy"}
    for name, value in reference.evaluation.items():
        assert other.evaluation[name] == pytest.approx(value, rel=1e-12)


def command(run_root: Path, *overrides: str) -> Path:
    """The directory of a run on the command line, in a process of its own."""
    words = [*OVERRIDES, *overrides, f"args.output_dir={run_root}"]
    ended = subprocess.run(
        [sys.executable, "-m", "trainer_cli", *words],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (record,) = run_root.rglob("run.json")
    assert json.loads(record.read_text())["status"] == "finished"
    return record.parent


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_log_what_one_logs(tmp_path: Path, accumulation: int) -> None:
    given = ("optim.lr=0.003", "args.train_sampling_strategy=group_by_length")
    alone = run(tmp_path / "alone", *given, *split(8, 1))
    two = command(
        tmp_path / "two",
        *given,
        *split(4 // accumulation, accumulation),
        "strategy=ddp",
        "strategy.num_processes=2",
        "args.per_device_eval_batch_size=3",
    )
    assert_same_rows(read(two / FILE), read(alone.run_dir / FILE), 1e-6)


@pytest.mark.slow
def test_two_processes_in_double_precision_are_the_same_to_the_last_digits(tmp_path: Path) -> None:
    given = (*DOUBLE, "data.train._target_=small_run.Unlabelled", "data.train.size=41", "optim=sgd")
    alone = run(tmp_path / "alone", *given, *split(8, 1))
    two = command(tmp_path / "two", *given, *split(2, 2), "strategy=ddp", "strategy.num_processes=2")
    assert_same_rows(read(two / FILE), read(alone.run_dir / FILE), 1e-12)


@pytest.mark.slow
def test_a_process_without_a_row_to_evaluate_is_no_trouble(tmp_path: Path) -> None:
    given = (*DOUBLE, "data.eval.size=1", "optim=sgd")
    alone = run(tmp_path / "alone", *given, *split(8, 1))
    two = command(tmp_path / "two", *given, *split(4, 1), "strategy=ddp", "strategy.num_processes=2")
    assert_same_rows(read(two / FILE), read(alone.run_dir / FILE), 1e-12)
