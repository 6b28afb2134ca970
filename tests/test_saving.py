"""What a checkpoint holds is what the run was when it was due."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_run import built, run
from torch import Tensor

from trainer_cli import loop, runner
from trainer_cli.callbacks import Callback
from trainer_cli.checkpoint import verify
from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.errors import DiskFull, UserError
from trainer_cli.engine import Engine
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.tracker.jsonl import FILE, read

GIVEN = ("args.save_strategy=steps", "args.save_steps=2", "args.save_total_limit=null", "model.dropout=0.1")


def tensors(checkpoint: Path) -> dict[str, Tensor]:
    return {
        f"{file.name}/{name}": tensor
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


@pytest.mark.parametrize(
    "kept", [(), ("args.ema_decay=0.9",), ("optim=schedule_free_adamw", "scheduler=constant")]
)
def test_both_ways_of_saving_write_the_same_bytes(tmp_path: Path, kept: tuple[str, ...]) -> None:
    for way in ("true", "false"):
        run(tmp_path / way, *GIVEN, *kept, f"checkpoint.async_save={way}")
    steps = Checkpoints(tmp_path / "true", None).steps()
    assert steps == Checkpoints(tmp_path / "false", None).steps() and len(steps) > 3
    for step in steps:
        left, right = (tmp_path / way / f"checkpoint-{step}" for way in ("true", "false"))
        assert verify(left) is None
        assert (left / "manifest.json").read_bytes() == (right / "manifest.json").read_bytes()


def test_what_training_changes_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    def held_back(engine: Engine) -> threading.Event:
        gate, fill = threading.Event(), engine.checkpoints.save

        def wait(step, size, write, pause):  # type: ignore[no-untyped-def]
            assert gate.wait(60)
            return fill(step, size, write, pause)

        engine.checkpoints.save = wait  # type: ignore[method-assign]
        return gate

    words = (*GIVEN, "args.save_steps=1000")
    with built(tmp_path, *words, "args.ema_decay=0.9", "args.eval_strategy=no") as engine:
        updates = batches(engine)
        for _ in range(2):
            loop.train_step(engine, next(updates))
        before = {name: tensor.clone() for name, tensor in engine.module.state_dict().items()}
        with engine.averaging.applied():
            average = {name: tensor.clone() for name, tensor in engine.module.state_dict().items()}
        moments = [state["exp_avg"].clone() for state in engine.optimizer.state.values()]
        gate = held_back(engine)
        loop.save(engine)
        for _ in range(3):
            loop.train_step(engine, next(updates))
        gate.set()
        loop.finish(engine)
    stored = tensors(tmp_path / "checkpoint-2")
    assert all(torch.equal(stored[f"model.safetensors/{name}"], value) for name, value in average.items())
    assert all(torch.equal(stored[f"trained.safetensors/{name}"], value) for name, value in before.items())
    found = [stored[f"optimizer.safetensors/{index}.exp_avg"] for index in range(len(moments))]
    assert all(map(torch.equal, found, moments))


def batches(engine: Engine) -> Iterator[list[loop.MicroBatch]]:
    for epoch in itertools.count():
        for batch in engine.train_loader.updates(epoch, 0, engine.train_loader.global_batch):
            yield batch.micro_batches


def test_one_is_written_at_a_time_and_each_is_told(tmp_path: Path) -> None:
    class Told(Callback):
        def __init__(self) -> None:
            self.paths: list[str] = []

        def on_save(self, engine: Engine, checkpoint: Path) -> None:
            assert verify(checkpoint) is None
            self.paths.append(checkpoint.name)

    with built(tmp_path, *GIVEN, "args.save_steps=1") as engine:
        engine.callbacks["told"] = told = Told()
        engine.__post_init__()
        runner.run(engine)
        assert told.paths == [f"checkpoint-{step}" for step in range(1, engine.state.step + 1)]


def test_an_error_ends_training_at_the_next_step(tmp_path: Path) -> None:
    with built(tmp_path, *GIVEN, "args.save_steps=1") as engine:

        def fail(*_: object) -> Path:
            raise OSError(5, "Input/output error")

        engine.checkpoints.save = fail  # type: ignore[method-assign]
        with pytest.raises(OSError, match="Input/output"):
            runner.run(engine)
        assert engine.state.step <= 2
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("policy", ["stop", "continue"])
def test_a_disk_without_room(tmp_path: Path, policy: str) -> None:
    words = (*GIVEN, "checkpoint.async_save=false", f"checkpoint.on_full={policy}")
    with built(tmp_path, *words) as engine:
        full = 1000
        engine.checkpoints.room = lambda: (  # type: ignore[method-assign]
            full if engine.training and engine.state.step > 4 else 10**12
        )
        if policy == "stop":
            with pytest.raises(DiskFull, match="checkpoint-6"):
                runner.run(engine)
        else:
            runner.run(engine)
            assert engine.state.step == engine.total_steps and (tmp_path / "model").is_dir()
    assert Checkpoints(tmp_path, None).newest() == (tmp_path / "checkpoint-4", [])
    assert not list(tmp_path.glob(".unfinished*"))


class Odd(Callback):
    """Keeps what no checkpoint can hold."""

    def state_dict(self) -> dict[str, object]:
        return {"lock": threading.Lock()}


class Holds(Callback):
    """Keeps a tensor and a tuple."""

    def __init__(self) -> None:
        self.state: dict[str, object] = {}

    def on_step_end(self, engine: Engine) -> None:
        self.state = {"sum": torch.tensor([1.5, float("inf")]), "pair": (1, "a"), "rate": float("nan")}

    def state_dict(self) -> dict[str, object]:
        return self.state

    def load_state_dict(self, state: object) -> None:
        assert isinstance(state, dict)
        self.state = state


def test_a_callback_whose_state_cannot_be_stored_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"no checkpoint can hold callbacks\.odd\.lock, a lock"),
        built(tmp_path, "plugins=[small_run,test_saving]", "+callbacks.odd._target_=test_saving.Odd"),
    ):
        pass


def test_a_callback_may_keep_tensors(tmp_path: Path) -> None:
    words = (*GIVEN, "plugins=[small_run,test_saving]", "+callbacks.holds._target_=test_saving.Holds")
    run(tmp_path, *words)
    with built(tmp_path, *words, resume_from=tmp_path / "checkpoint-2") as engine:
        state = engine.callbacks["holds"].state_dict()
    assert torch.equal(state["sum"], torch.tensor([1.5, float("inf")]))
    assert state["pair"] == (1, "a") and state["rate"] != state["rate"]


def without_room(engine: Engine, steps: Collection[int]) -> None:
    """Let the disk have no room at these steps."""
    save = engine.checkpoints.save

    def full(step: int, *values: Any) -> Path:
        if step in steps:
            raise DiskFull.at(engine.checkpoints.path(step))
        return save(step, *values)

    engine.checkpoints.save = full  # type: ignore[method-assign]


@pytest.mark.parametrize("background", ["true", "false"])
@pytest.mark.parametrize(
    ("lost", "best"), [({6}, 12), ({12}, 6), ({6, 12}, 18), ({6, 12, 18}, 24), ({6, 12, 18, 24}, 24)]
)
def test_the_best_model_is_one_that_was_kept(
    tmp_path: Path, lost: set[int], best: int, background: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = (
        "checkpoint.on_full=continue",
        f"checkpoint.async_save={background}",
        "args.load_best_model_at_end=true",
        "args.greater_is_better=true",  # the loss falls: the first epochs count as the best
        "args.eval_strategy=epoch",
        "args.save_strategy=epoch",
        "args.save_total_limit=1",
        "args.num_train_epochs=4",
        "args.stages=[train]",
    )
    with built(tmp_path, *given) as engine:
        without_room(engine, lost)
        runner.run(engine)
    assert engine.state.best_step == best
    losses = {row["step"]: row["eval/loss"] for row in read(tmp_path / FILE) if "eval/loss" in row}
    assert engine.state.best_metric == losses[best] and len(losses) == 4
    assert engine.checkpoints.steps() == sorted({best, 24} - lost)
    assert "training goes on without it" in caplog.text
    if best not in lost:
        model, kept = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("model", f"checkpoint-{best}"))
        assert model == kept


def test_where_no_scored_model_was_kept_the_last_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = (
        "checkpoint.on_full=continue",
        "args.load_best_model_at_end=true",
        "args.eval_strategy=steps",
        "args.save_strategy=best",
        "args.eval_steps=5",
        "args.greater_is_better=true",
        "args.stages=[train]",
    )
    with built(tmp_path, *given) as engine:
        without_room(engine, {5, 10})
        runner.run(engine)
    assert engine.state.best_step is None and engine.checkpoints.steps() == []
    assert "no model that was scored is kept: model/ is that of the last step" in caplog.text
    assert (tmp_path / "model" / WEIGHTS).is_file()
