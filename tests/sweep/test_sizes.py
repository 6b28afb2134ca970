"""What a job takes, of runs small enough for a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_run
from torch import Tensor, nn
from torch.utils.data import Subset

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.sweep import sizes
from trainer_cli.sweep.sizes import (
    Size,
    evaluations,
    kind,
    seconds_an_evaluation,
    seconds_an_update,
    size_of,
    time_of,
)

ROWS = 17
"""Rows of the evaluation set."""


def size(*words: str) -> Size:
    """What a job with these overrides takes."""
    return size_of(compose([*small_run.OVERRIDES, *words]), measure=False)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("optim.weight_decay=0.5", True),
        ("optim.betas=[0.5,0.6]", True),
        ("scheduler.num_warmup_steps=0.5", True),
        ("loss.label_smoothing=0.1", True),
        ("args.seed=3", True),
        ("args.max_grad_norm=3", True),
        ("args.logging_steps=5", True),
        ("run.name=other", True),
        ("sweep.jobs=2", True),
        ("tracker=tensorboard", True),
        ("optim=sgd", False),
        ("scheduler=cosine", False),
        ("model.hidden_features=[7]", False),
        ("model.dropout=0.5", False),
        ("args.per_device_train_batch_size=4", False),
        ("args.max_steps=3", False),
        ("args.num_train_epochs=2.5", False),
        ("args.eval_strategy=no", False),
        ("args.save_total_limit=5", False),
        ("data.train.size=9", False),
        ("args.precision=bf16", False),
    ],
)
def test_jobs_are_of_a_kind_where_they_differ_by_rates_alone(change: str, same: bool) -> None:
    before = compose(small_run.OVERRIDES).config
    after = compose([*small_run.OVERRIDES, change]).config
    assert (kind(before) == kind(after)) == same


def test_jobs_of_a_kind_take_the_same() -> None:
    rates = ["optim.weight_decay=0.5", "scheduler.num_warmup_steps=0.5", "loss.label_smoothing=0.1"]
    assert size(*rates, "args.seed=3", "args.max_grad_norm=3", "args.logging_steps=5") == size()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["args.save_strategy=no"], 0),
        (["args.save_strategy=epoch", "args.save_only_model=true"], 2),
        (["args.save_strategy=steps", "args.save_steps=4", "args.save_total_limit=null"], 3),
        (["args.save_strategy=steps", "args.save_steps=4", "args.save_total_limit=2"], 2),
    ],
)
def test_the_room_is_what_the_run_leaves_on_the_disk(tmp_path: Path, words: list[str], kept: int) -> None:
    large = "model.hidden_features=[3000]"
    found = size(large, *words)
    small_run.run(tmp_path, large, *words)
    assert len(list(tmp_path.glob("checkpoint-*"))) == kept
    left = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    # It is the most that there is at a time: one checkpoint more than in the end.
    spare = found.disk - left
    assert found.steps == 12
    assert found.seconds is None
    assert -0.02 * left <= spare <= (1.02 * left / kept if kept else 0.02 * left)


def test_what_only_evaluates_takes_no_room() -> None:
    assert size("args.stages=[eval]") == Size(0, 0)


def test_more_processes_make_fewer_updates() -> None:
    assert size("strategy=ddp", "strategy.num_processes=2").steps == 6


def test_what_cannot_be_built_or_measured_is_said() -> None:
    with pytest.raises(UserError, match="acuracy is no metric"):
        size("args.metric_for_best_model=acuracy")
    words = [*small_run.OVERRIDES, "model.in_features=5"]
    with pytest.raises(UserError, match="rows 0, 1: RuntimeError: mat1 and mat2"):
        size_of(compose(words), measure=False)
    unscored = compose([*words, "args.eval_strategy=no", "args.stages=[train]"])
    assert size_of(unscored, measure=False).steps == 12
    with pytest.raises(UserError, match=r"training, rows .*: RuntimeError: mat1 and mat2"):
        size_of(unscored, measure=True)


# ---- time, on a clock that counts rows


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine of a run of two epochs, in which a row that the model has seen is a second."""
    with small_run.built(
        tmp_path, "args.eval_strategy=epoch", "args.gradient_accumulation_steps=2", "data.train.size=96"
    ) as engine:
        seconds = 0.0

        def forward(module: nn.Module, args: object, kwargs: dict[str, Tensor], outputs: object) -> None:
            nonlocal seconds
            seconds += len(kwargs["features"])

        engine.module.register_forward_hook(forward, with_kwargs=True)
        monkeypatch.setattr(sizes, "time", SimpleNamespace(perf_counter=lambda: seconds))
        yield engine


def test_an_update_takes_the_time_of_its_micro_batches(counted: Engine) -> None:
    assert seconds_an_update(counted) == 16


@pytest.mark.parametrize("batch", [1, 2, 8, 17, 50])
def test_an_evaluation_takes_the_time_of_all_rows_by_a_few_of_them(counted: Engine, batch: int) -> None:
    ((name, loader),) = counted.eval_loaders.items()
    counted.eval_loaders[name] = replace(loader, per_device=batch)
    assert seconds_an_evaluation(counted) == pytest.approx(ROWS)


def test_a_job_takes_the_time_of_its_updates_and_evaluations(counted: Engine) -> None:
    assert time_of(counted, counted.total_steps, 1) == pytest.approx(12 * 16 + 2 * ROWS)
    assert time_of(counted, 0, 1) == pytest.approx(ROWS)
    # Evaluation is shared by the processes, and there are as many epochs.
    assert time_of(counted, 6, 2) == pytest.approx(6 * 16 + 2 * ROWS / 2)


def test_a_stream_has_no_known_end_and_an_empty_set_takes_no_time(tmp_path: Path, counted: Engine) -> None:
    with small_run.built(tmp_path / "a", "data.eval._target_=small_run.Stream", "~data.eval.seed") as engine:
        assert seconds_an_evaluation(engine) == 0
    (loader,) = counted.eval_loaders.values()
    counted.eval_loaders["empty"] = replace(loader, dataset=Subset(loader.dataset, []))
    assert seconds_an_evaluation(counted) == pytest.approx(ROWS)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["args.eval_strategy=no"], 1),
        (["args.eval_strategy=epoch"], 2),
        (["args.eval_strategy=epoch", "args.num_train_epochs=1.5"], 2),
        (["args.eval_strategy=epoch", "args.eval_delay=2"], 1),
        (["args.eval_strategy=epoch", "args.eval_delay=1.5", "args.stages=[train]"], 1),
        (["args.eval_strategy=epoch", "args.eval_delay=3"], 1),
        (["args.eval_strategy=steps", "args.eval_steps=5"], 3),
        (["args.eval_strategy=steps", "args.eval_steps=4"], 3),
        (["args.eval_strategy=steps", "args.eval_steps=4", "args.eval_delay=8"], 2),
        (["args.eval_strategy=steps", "args.eval_steps=4", "args.eval_delay=9"], 1),
        (["args.eval_strategy=steps", "args.eval_steps=5", "args.eval_delay=20"], 1),
        (["args.eval_strategy=steps", "args.eval_steps=5", "args.stages=[train]"], 2),
        (["args.eval_strategy=steps", "args.eval_steps=0.5", "args.eval_on_start=true"], 3),
        (["args.stages=[eval]"], 1),
        (["args.eval_strategy=no", "args.stages=[train]"], 0),
    ],
)
def test_evaluations_are_counted_as_the_run_makes_them(tmp_path: Path, words: list[str], count: int) -> None:
    engine = small_run.run(tmp_path, *words)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("eval/loss" in row for row in rows) == count
    assert evaluations(engine, engine.total_steps, 1) == count
