"""TensorBoard, read back with its own reader."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from kept_tracker import points
from small_run import run

from trainer_cli.tracker import Background, JsonLines, TensorBoard
from trainer_cli.tracker.tensorboard import FOLDER

pytest.importorskip("tensorboard")


def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / FOLDER), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def in_float32(found: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """As TensorBoard holds them."""
    return {name: [(step, float(np.float32(value))) for step, value in at] for name, at in found.items()}


def test_every_number_of_a_run_is_there(run_dir: Path) -> None:
    run(run_dir, "tracker=tensorboard", "args.eval_strategy=steps", "args.eval_steps=4")
    assert scalars(run_dir) == in_float32(points(run_dir))
    assert {"train/loss", "train/lr", "eval/loss", "eval/accuracy", "epoch"} <= scalars(run_dir).keys()


def test_the_configuration_is_there_as_text(run_dir: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(run_dir, "tracker=tensorboard")
    events = EventAccumulator(str(run_dir / FOLDER))
    events.Reload()
    (text,) = events.Tensors("config/text_summary")
    assert b"hidden_features" in text.tensor_proto.string_val[0]


def test_a_resumed_run_equals_one_that_was_not_stopped(run_dir: Path) -> None:
    saving = ("args.save_strategy=steps", "args.save_steps=5", "args.save_total_limit=null")
    words = ("tracker=tensorboard", *saving, "args.eval_strategy=steps", "args.eval_steps=5")
    run(run_dir, *words)
    run(run_dir, *words, resume_from=run_dir / "checkpoint-5")
    assert scalars(run_dir) == in_float32(points(run_dir))
    assert [step for step, _ in scalars(run_dir)["train/loss"]] == list(range(1, 13))
    assert [step for step, _ in scalars(run_dir)["eval/loss"]] == [5, 10, 12]


def test_what_came_of_no_checkpoint_is_void(run_dir: Path) -> None:
    for last, step, rows in ((9, 0, 0), (7, 5, 5)):
        jsonl, tracker = JsonLines(), Background("tensorboard", TensorBoard(timeout=30.0))
        for one in (jsonl, tracker):
            one.start(run_dir, step, rows)
        for number in range(step + 1, last + 1):
            for one in (jsonl, tracker):
                one.log({"step": number, "epoch": 0.0, "train/loss": float(last)})
        tracker.close()
    assert scalars(run_dir)["train/loss"] == [(step, 9.0 if step <= 5 else 7.0) for step in range(1, 8)]


def test_a_branch_begins_with_the_rows_of_the_run_that_it_came_from(run_dir: Path) -> None:
    rows = [{"step": step, "epoch": 0.0, "train/loss": 1.0 / step} for step in range(1, 6)]
    before = JsonLines()
    before.start(run_dir, 0, 0)
    for row in rows:
        before.log(row)
    tracker = TensorBoard(timeout=30.0)
    tracker.start(run_dir, 5, 5)
    tracker.log({"step": 6, "epoch": 0.0, "train/loss": 9.0})
    tracker.close()
    assert [step for step, _ in scalars(run_dir)["train/loss"]] == [1, 2, 3, 4, 5, 6]


def test_what_is_not_finite_is_there_as_it_is(run_dir: Path) -> None:
    tracker = TensorBoard(timeout=30.0)
    tracker.start(run_dir, 0, 0)
    tracker.log({"step": 1, "epoch": 0.0, "a": math.nan, "b": math.inf, "c": "text"})
    tracker.close()
    read_back = scalars(run_dir)
    assert math.isnan(read_back["a"][0][1]) and read_back["b"] == [(1, math.inf)] and "c" not in read_back


def test_what_is_flushed_outlives_the_process(run_dir: Path) -> None:
    tracker = TensorBoard(timeout=30.0)
    tracker.start(run_dir, 0, 0)
    tracker.log({"step": 1, "epoch": 0.5})
    assert scalars(run_dir) == {"epoch": [(1, 0.5)]}  # before it is closed
    tracker.close()
