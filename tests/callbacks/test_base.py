"""The events of a run, and who hears them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from small_run import built

from trainer_cli import runner
from trainer_cli.callbacks import Callback
from trainer_cli.engine import listens

EVENTS = [name for name in vars(Callback) if name.startswith("on_")]


class Recorder(Callback):
    """Notes every event, with the step at which it came."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []


def note(event: str) -> Any:
    def method(self: Recorder, engine: Any, *values: Any) -> None:
        self.events.append((event, engine.state.step))

    return method


for name in EVENTS:
    setattr(Recorder, name, note(name))


def update(step: int) -> list[tuple[str, int]]:
    """The events of the update that follows on so many."""
    before = [
        ("on_step_begin", step),
        ("on_backward_begin", step),
        ("on_backward_end", step),
        ("on_optimizer_step_begin", step),
        ("on_optimizer_step_end", step),
    ]
    return [*before, ("on_step_end", step + 1)]


def test_events_come_in_the_order_of_the_run(tmp_path: Path) -> None:
    recorder = Recorder()
    given = ("data.train.size=16", "args.per_device_eval_batch_size=9", "checkpoint.async_save=false")
    with built(tmp_path, *given) as engine:
        engine.callbacks["recorder"] = recorder
        engine.__post_init__()
        runner.run(engine)
    epoch = [
        ("on_epoch_begin", 0),
        *update(0),
        ("on_log", 1),
        *update(1),
        ("on_log", 2),
        ("on_epoch_end", 2),
        ("on_evaluate_begin", 2),
        ("on_evaluate_step", 2),
        ("on_evaluate_step", 2),
        ("on_log", 2),
        ("on_evaluate", 2),
        ("on_save", 2),
    ]
    second = [(event, step + 2) for event, step in epoch]
    # The checkpoint of the last step is there already when training ends.
    end = [("on_train_end", 4), ("on_end", 4)]
    assert recorder.events == [("on_begin", 0), ("on_train_begin", 0), *epoch, *second, *end]


def test_a_callback_hears_only_the_events_that_it_has_a_method_for(tmp_path: Path) -> None:
    class OnlySteps(Callback):
        count = 0

        def on_step_end(self, engine: Any) -> None:
            self.count += 1

    assert [event for event in EVENTS if listens(OnlySteps(), event)] == ["on_step_end"]
    assert Counter(listens(Callback(), event) for event in EVENTS) == {False: len(EVENTS)}


def test_a_callback_that_keeps_nothing_stores_nothing() -> None:
    callback = Callback()
    assert callback.state_dict() == {}
    callback.load_state_dict({"from": "an earlier version"})
