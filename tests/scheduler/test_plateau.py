"""The schedule that waits for the score, against PyTorch's own, and over a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import run
from torch.optim import SGD, Optimizer, lr_scheduler

from trainer_cli.checkpoint.contents import plain_state, restore_schedule
from trainer_cli.engine import Engine
from trainer_cli.scheduler import ReduceLROnPlateau, WatchesScore

SCORES = [3.0, 2.0, 2.0, 2.0, 1.999999, 1.5, float("nan"), 1.6, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]


def as_stored(state: dict[str, Any]) -> dict[str, Any]:
    return {"type": "ReduceLROnPlateau", "state": state}


OPTIONS: dict[str, Any] = {
    "factor": 0.3,
    "patience": 1,
    "threshold": 1e-4,
    "threshold_mode": "rel",
    "cooldown": 1,
    "min_lr": 1e-3,
    "eps": 1e-8,
}


def optimizer(lr: float = 0.3) -> Optimizer:
    first, second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    return SGD([{"params": [first]}, {"params": [second], "lr": lr / 2}], lr=lr)


def rates(parameters: Optimizer) -> list[float]:
    return [group["lr"] for group in parameters.param_groups]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_it_lowers_the_rate_as_pytorchs_does(mode: Any) -> None:
    first, second = optimizer(), optimizer()
    ours = ReduceLROnPlateau(first, mode=mode, **OPTIONS)
    theirs = lr_scheduler.ReduceLROnPlateau(second, mode=mode, **OPTIONS)
    assert isinstance(ours, WatchesScore)
    for score in SCORES:
        for _ in range(3):
            first.step()
            ours.step()
        ours.evaluated(score)
        theirs.step(score)
        assert rates(first) == rates(second)
    assert rates(first) != rates(optimizer())
    assert ours.get_last_lr() == rates(first)


@pytest.mark.parametrize("at", range(len(SCORES)))
def test_it_goes_on_from_json_as_if_it_had_not_stopped(at: int) -> None:
    whole, before, after = optimizer(), optimizer(), optimizer()
    uninterrupted = ReduceLROnPlateau(whole, mode="min", **OPTIONS)
    stopped = ReduceLROnPlateau(before, mode="min", **OPTIONS)
    resumed = ReduceLROnPlateau(after, mode="min", **OPTIONS)
    for score in SCORES[:at]:
        uninterrupted.evaluated(score)
        stopped.evaluated(score)
    stored = json.loads(json.dumps(plain_state(stopped), allow_nan=False))
    restore_schedule(resumed, after, as_stored(stored), 0)
    assert rates(after) == rates(before)
    for score in SCORES[at:]:
        uninterrupted.evaluated(score)
        resumed.evaluated(score)
        assert rates(after) == rates(whole)
    assert resumed.state_dict() == uninterrupted.state_dict()


def test_todays_rate_and_factor_count() -> None:
    before, after = optimizer(), optimizer(lr=0.2)
    stopped = ReduceLROnPlateau(before, mode="min", **OPTIONS)
    for score in (1.0, 1.0, 1.0):
        stopped.evaluated(score)
    assert stopped.drops == 1
    resumed = ReduceLROnPlateau(after, mode="min", **{**OPTIONS, "factor": 0.5})
    restore_schedule(resumed, after, as_stored(plain_state(stopped)), 0)
    assert rates(after) == [0.1, 0.05]


def test_a_rate_that_is_a_tensor_stays_the_same_tensor() -> None:
    parameters = SGD([torch.nn.Parameter(torch.zeros(1))], lr=torch.tensor(0.5))
    rate = parameters.param_groups[0]["lr"]
    schedule = ReduceLROnPlateau(parameters, mode="min", **{**OPTIONS, "factor": 0.5})
    for score in (1.0, 1.0, 1.0):
        schedule.evaluated(score)
    assert float(rate) == 0.25
    state = plain_state(schedule)
    rate.fill_(0.125)
    restore_schedule(schedule, parameters, as_stored(state), 0)
    assert parameters.param_groups[0]["lr"] is rate
    assert float(rate) == 0.25


RUN = (
    "scheduler=reduce_lr_on_plateau",
    "scheduler.patience=0",
    "scheduler.threshold=0.05",
    "scheduler.factor=0.5",
    "optim.groups=[{modules: layers.0, lr: 0.02}]",
    "args.metric_for_best_model=accuracy",
    "args.eval_strategy=steps",
    "args.eval_steps=3",
    "args.save_strategy=steps",
    "args.save_steps=4",
    "args.save_total_limit=null",
    "args.max_steps=12",
)


def logged(engine: Engine) -> dict[int, float]:
    """The learning rate of each update."""
    rows = [json.loads(line) for line in (engine.run_dir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["train/lr"] for row in rows if "train/lr" in row}


def test_a_run_lowers_its_rate_by_the_score_and_goes_on_with_it(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", *RUN)
    rates = logged(whole)
    assert isinstance(whole.scheduler, ReduceLROnPlateau)
    assert whole.scheduler.mode == "max"
    assert whole.scheduler.drops > 0
    assert [rates[step] for step in (1, 2, 3)] == [0.01] * 3
    assert len(set(rates.values())) > 1
    assert whole.optimizer.param_groups[-1]["lr"] == 2 * whole.optimizer.param_groups[0]["lr"]
    for step in (4, 8):
        resumed = run(tmp_path / f"{step}", *RUN, resume_from=tmp_path / f"whole/checkpoint-{step}")
        assert logged(resumed) == {at: lr for at, lr in rates.items() if at > step}
        assert resumed.scheduler.state_dict() == whole.scheduler.state_dict()
