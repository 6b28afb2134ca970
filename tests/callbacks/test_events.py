"""Every event of a run, in its order, with what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import Rows, built
from torch import Tensor

from trainer_cli import runner
from trainer_cli.callbacks import Callback
from trainer_cli.data.loader import EvalLoader, GlobalBatch
from trainer_cli.engine import Engine

EVENTS = [name for name in vars(Callback) if name.startswith("on_")]

# Two updates of two micro-batches an epoch, and two batches of evaluation.
RUN = (
    "data.train.size=16",
    "args.per_device_train_batch_size=4",
    "args.gradient_accumulation_steps=2",
    "args.per_device_eval_batch_size=9",
    "args.logging_steps=2",
    "checkpoint.async_save=false",
)
PREDICT = ("data.predict={_target_: small_run.Rows, size: 3}", "args.stages=[train,eval,predict]")

Event = tuple[str, int]
"""An event's name without `on_`, and the step that the run was at."""


def noting(event: str) -> Callable[..., None]:
    def method(self: Any, engine: Engine, *values: Any) -> None:
        self.events.append((event.removeprefix("on_"), engine.state.step))
        self.values.setdefault(event, []).append(values)

    return method


class Notes(Callback):
    """What a recorder heard."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.values: dict[str, list[tuple[Any, ...]]] = {}


Recorder: type[Notes] = type("Recorder", (Notes,), {event: noting(event) for event in EVENTS})


def record(engine: Engine) -> Notes:
    """A recorder that hears everything that happens to the engine."""
    recorder = Recorder()
    engine.callbacks["recorder"] = recorder
    engine.__post_init__()
    return recorder


def update(before: int) -> Iterator[Event]:
    """The events of an update that follows on so many."""
    yield "step_begin", before
    for _ in range(2):
        yield "backward_begin", before
        yield "backward_end", before
    yield "optimizer_step_begin", before
    yield "optimizer_step_end", before
    yield "step_end", before + 1


def evaluation(step: int) -> list[Event]:
    names = ["evaluate_begin", "evaluate_step", "evaluate_step", "log", "evaluate"]
    return [(name, step) for name in names]


def epoch(before: int) -> list[Event]:
    """The events of an epoch that begins after so many updates."""
    after = before + 2
    return [
        ("epoch_begin", before),
        *update(before),
        *update(before + 1),
        ("log", after),
        ("epoch_end", after),
        *evaluation(after),
        ("save", after),
    ]


END = [("train_end", 4), ("end", 4)]


def test_a_run_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    with built(tmp_path, *RUN) as engine:
        recorder = record(engine)
        runner.run(engine)
    assert recorder.events == [("begin", 0), ("train_begin", 0), *epoch(0), *epoch(2), *END]


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    with built(tmp_path, *RUN) as engine:
        runner.run(engine)
    with built(tmp_path, *RUN, resume_from=tmp_path / "checkpoint-2") as engine:
        recorder = record(engine)
        runner.run(engine)
    begin = [("begin", 2), ("resume", 2), ("train_begin", 2)]
    assert recorder.events == [*begin, *epoch(2), *END]


def test_evaluation_before_and_within_an_epoch(tmp_path: Path) -> None:
    often = ("args.eval_strategy=steps", "args.eval_steps=1", "args.save_strategy=steps", "args.save_steps=1")
    with built(tmp_path, *RUN, *often, "args.eval_on_start=true", "args.max_steps=2") as engine:
        recorder = record(engine)
        runner.run(engine)
    assert recorder.events == [
        ("begin", 0),
        ("train_begin", 0),
        *evaluation(0),
        ("epoch_begin", 0),
        *update(0),
        *evaluation(1),
        ("save", 1),
        *update(1),
        ("log", 2),
        *evaluation(2),
        ("epoch_end", 2),
        ("save", 2),
        ("train_end", 2),
        ("end", 2),
    ]


def test_prediction_after_training(tmp_path: Path) -> None:
    with built(tmp_path, *RUN, *PREDICT) as engine:
        recorder = record(engine)
        runner.run(engine)
    prediction = [("evaluate_begin", 4), ("evaluate_step", 4), ("predict", 4)]
    # The last evaluation stands for the stage eval: the weights are the same.
    assert recorder.events[-5:] == [("train_end", 4), *prediction, ("end", 4)]


class Damaged(Rows):
    """Rows of which one cannot be read."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index == 13:
            raise OSError("row 13 is beyond repair")
        return super().__getitem__(index)


def test_an_error_in_reading_the_data(tmp_path: Path) -> None:
    sequential = "args.train_sampling_strategy=sequential"
    with built(tmp_path, *RUN, sequential) as engine:
        recorder = record(engine)
        engine.train_loader.dataset = Damaged(16)
        with pytest.raises(OSError, match="beyond repair") as caught:
            runner.run(engine)
    begin = [("begin", 0), ("train_begin", 0), ("epoch_begin", 0), *update(0)]
    assert recorder.events == [*begin, ("exception", 1), ("end", 1)]
    assert recorder.values["on_exception"] == [(caught.value,)]


def test_an_error_in_evaluation(tmp_path: Path) -> None:
    with built(tmp_path, *RUN) as engine:
        recorder = record(engine)
        engine.eval_loaders[""].dataset = Damaged(17)
        with pytest.raises(OSError, match="beyond repair"):
            runner.run(engine)
    # The second batch has the row: evaluation begins with the longest.
    assert recorder.events[-5:] == [
        ("epoch_end", 2),
        ("evaluate_begin", 2),
        ("evaluate_step", 2),
        ("exception", 2),
        ("end", 2),
    ]


def test_an_interruption_is_an_error_too(tmp_path: Path) -> None:
    class Interrupts(Callback):
        def on_step_end(self, engine: Engine) -> None:
            raise KeyboardInterrupt

    with built(tmp_path, *RUN) as engine:
        engine.callbacks["interrupts"] = Interrupts()
        recorder = record(engine)
        with pytest.raises(KeyboardInterrupt):
            runner.run(engine)
    assert recorder.events[-2:] == [("exception", 1), ("end", 1)]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_given_what_its_method_takes(event: str, heard: Notes) -> None:
    parameters = list(inspect.signature(getattr(Callback, event)).parameters)[2:]
    assert event in heard.values
    assert {len(values) for values in heard.values[event]} == {len(parameters)}


def test_what_events_are_given(heard: Notes) -> None:
    ((batch,), *_) = heard.values["on_step_begin"]
    assert isinstance(batch, GlobalBatch)
    assert len(batch.rows) == 8 and len(batch.micro_batches) == 2
    ((loss,), *_) = heard.values["on_backward_begin"]
    assert isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad
    assert all(isinstance(loader, EvalLoader) for (loader,) in heard.values["on_evaluate_begin"])
    assert [row["step"] for (row,) in heard.values["on_log"]] == [2, 2]
    assert [set(row) for (row,) in heard.values["on_evaluate"]] == [{"eval/loss", "eval/accuracy"}]
    assert [path.name for (path,) in heard.values["on_save"]] == ["checkpoint-2"]
    assert [path.name for (path,) in heard.values["on_predict"]] == ["predictions.jsonl"]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """What a recorder heard of a run with every event, that goes on and then ends in an error."""
    run_dir = tmp_path_factory.mktemp("heard")
    with built(run_dir, *RUN, *PREDICT, "args.num_train_epochs=1") as engine:
        recorder = record(engine)
        runner.run(engine)
    checkpoint = run_dir / "checkpoint-2"
    with built(run_dir, *RUN, resume_from=checkpoint) as engine:
        engine.callbacks["recorder"] = recorder
        engine.__post_init__()
        engine.train_loader.dataset = Damaged(16)
        with pytest.raises(OSError):
            runner.run(engine)
    return recorder


def test_gradients_are_there_before_and_after_the_optimizers_step(tmp_path: Path) -> None:
    class Looks(Callback):
        def __init__(self) -> None:
            self.norms: list[float] = []

        def look(self, engine: Engine) -> None:
            gradients = [parameter.grad for parameter in engine.parameters if parameter.grad is not None]
            self.norms.append(float(torch.nn.utils.get_total_norm(gradients)))

        def on_optimizer_step_begin(self, engine: Engine) -> None:
            self.look(engine)

        def on_optimizer_step_end(self, engine: Engine) -> None:
            self.look(engine)

    part = Looks()
    with built(tmp_path, *RUN, "args.max_grad_norm=0.1") as engine:
        engine.callbacks["looks"] = part
        engine.__post_init__()
        runner.run(engine)
    # They are those that were clipped.
    assert part.norms == pytest.approx([0.1] * 8, rel=1e-4)
