"""Samples, tokens and seconds, by a clock that the test turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import built, run

from trainer_cli.callbacks import Progress, Throughput, progress, throughput
from trainer_cli.callbacks.throughput import Clock, count_tokens
from trainer_cli.data.loader import GlobalBatch, MicroBatch
from trainer_cli.engine import Engine

CPU = torch.device("cpu")
MONITOR = "callbacks.throughput={_target_: trainer_cli.callbacks.Throughput}"


class Time:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(throughput, "monotonic", time)
    return time


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with built(tmp_path) as engine:
        yield engine


def texts(*lengths: int, real: bool = True, mask: bool = True) -> MicroBatch:
    """Rows of so many tokens, padded to the longest."""
    width = max(lengths)
    inputs = {"input_ids": torch.ones(len(lengths), width, dtype=torch.int64)}
    if mask:
        inputs["attention_mask"] = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return MicroBatch(inputs, real)


def batch(*micro_batches: MicroBatch, rows: int = 8) -> GlobalBatch:
    return GlobalBatch(list(range(rows)), list(micro_batches))


def update(part: Throughput, engine: Engine, of: GlobalBatch) -> None:
    part.on_step_begin(engine, of)
    part.on_step_end(engine)


def test_padding_and_stand_ins_are_no_tokens() -> None:
    assert count_tokens(batch(texts(3, 5), texts(1, 2))) == 11
    assert count_tokens(batch(texts(3, 5), texts(1, 2, real=False))) == 8
    assert count_tokens(batch(texts(3, 5, mask=False))) == 10
    assert count_tokens(batch(MicroBatch({"features": torch.ones(4, 3)}))) == 0


def test_it_measures_the_updates_since_the_last_row(engine: Engine, time: Time) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    for seconds in (1.0, 3.0):
        time.passes(seconds)
        update(part, engine, batch(texts(3, 5), rows=8))
    assert part.measure(engine) == {
        "train/samples_per_second": 4.0,
        "train/seconds_per_step": 2.0,
        "train/tokens_per_second": 4.0,
        "train/tokens_seen": 16,
    }
    time.passes(0.5)
    update(part, engine, batch(texts(4), rows=1))
    assert part.measure(engine) == {
        "train/samples_per_second": 2.0,
        "train/seconds_per_step": 0.5,
        "train/tokens_per_second": 8.0,
        "train/tokens_seen": 20,
    }


def test_data_without_tokens_has_no_rate_of_them(engine: Engine, time: Time) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    time.passes(2.0)
    update(part, engine, batch(MicroBatch({"features": torch.ones(8, 3)})))
    assert set(part.measure(engine)) == {"train/samples_per_second", "train/seconds_per_step"}


def test_evaluations_and_saves_take_no_time(engine: Engine, time: Time, tmp_path: Path) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    loader = engine.eval_loaders[""]
    for _ in range(2):
        time.passes(1.0)
        update(part, engine, batch(texts(3)))
        part.on_evaluate_begin(engine, loader)
        time.passes(50.0)
        part.on_evaluate_begin(engine, loader)
        time.passes(50.0)
        part.on_evaluate(engine, {})
        time.passes(7.0)
        part.on_save(engine, tmp_path)
    assert part.measure(engine)["train/seconds_per_step"] == 1.0


def test_a_batch_that_no_update_was_made_of_is_not_counted(engine: Engine, time: Time) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    part.on_step_begin(engine, batch(texts(100)))
    time.passes(1.0)
    update(part, engine, batch(texts(3)))
    assert part.measure(engine)["train/tokens_seen"] == 3


def test_a_clock_that_did_not_move_divides_by_no_zero(engine: Engine, time: Time) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    update(part, engine, batch(texts(3)))
    assert part.measure(engine)["train/samples_per_second"] > 0


def test_the_tokens_seen_survive_a_resume(engine: Engine) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    update(part, engine, batch(texts(3, 5)))
    part.measure(engine)
    update(part, engine, batch(texts(4)))
    stored = json.loads(json.dumps(part.state_dict()))
    assert stored == {"tokens_seen": 12}
    assert part.state_dict() == stored, "asking changes nothing"
    other = Throughput()
    other.load_state_dict(stored)
    assert other.state_dict() == stored
    other.on_train_begin(engine)
    update(other, engine, batch(texts(2)))
    assert other.measure(engine)["train/tokens_seen"] == 14


def test_a_step_back_takes_back_what_was_seen_since(engine: Engine) -> None:
    part = Throughput()
    part.on_train_begin(engine)
    update(part, engine, batch(texts(3, 5)))
    stored = part.state_dict()
    update(part, engine, batch(texts(9)))
    part.load_state_dict(stored)
    assert part.state_dict() == stored


def test_a_paused_clock_stands_still(time: Time) -> None:
    clock = Clock()
    clock.tick()
    time.passes(3.0)
    clock.run()
    time.passes(1.0)
    clock.pause(CPU)
    time.passes(5.0)
    clock.pause(CPU)
    assert clock.lap() == (1, 1.0)
    assert clock.lap()[0] == 0


def test_a_run_logs_it_in_each_training_row_and_the_line_says_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, MONITOR, "callbacks.progress={_target_: trainer_cli.callbacks.Progress}")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        measured = {"train/samples_per_second", "train/seconds_per_step"} & row.keys()
        assert len(measured) == (2 if "train/loss" in row else 0)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step 1/")]
    assert len(lines) == 1 and "samples_per_second" in lines[0] and "samples/s" not in lines[0]


def test_the_progress_line_alone_has_its_own_rate(
    engine: Engine, time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    part = Progress()
    part.on_train_begin(engine)
    for _ in range(2):
        time.passes(2.0)
        part.on_step_end(engine)
        part.on_evaluate_begin(engine, engine.eval_loaders[""])
        time.passes(30.0)
        part.on_evaluate(engine, {})
    row: dict[str, Any] = {"step": 2, "epoch": 0.5, "train/loss": 1.0}
    part.on_log(engine, row)
    part.on_end(engine)
    assert "loss 1 · 4 samples/s" in capsys.readouterr().out


def test_the_line_has_few_digits_and_one_learning_rate() -> None:
    row = {"step": 3, "epoch": 0.5, "train/loss": 0.123456, "train/lr": 1e-4, "train/lr/decay": 1e-4}
    more = {"train/samples_per_second": 21362.4, "train/grad_norm": float("inf"), "eval/a/loss": 3.14159e12}
    said = "loss 0.1235 · lr 0.0001 · samples_per_second 21,362 · grad_norm inf · eval/a/loss 3.142e+12"
    assert progress.numbers({**row, **more}) == said
