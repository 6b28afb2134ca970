"""Each option of the group, in a small run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_run import run

from trainer_cli.config import places
from trainer_cli.engine import Engine

OPTIONS = places.options("scheduler", places.roots())
NEEDED = {
    "cosine_with_min_lr": ("scheduler.min_lr=1e-3",),
    "cosine_warmup_with_min_lr": ("scheduler.min_lr_rate=0.1",),
    "warmup_stable_decay": ("scheduler.num_decay_steps=0.5",),
    "reduce_lr_on_plateau": ("scheduler.patience=0", "scheduler.threshold=1"),
}
RUN = (
    "args.max_steps=8",
    "args.eval_strategy=steps",
    "args.eval_steps=1",
    "args.save_strategy=steps",
    "args.save_steps=3",
    "args.save_total_limit=null",
)


def logged(engine: Engine) -> dict[int, float]:
    """The learning rate of each update."""
    rows = [json.loads(line) for line in (engine.run_dir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["train/lr"] for row in rows if "train/lr" in row}


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_a_resumed_run_has_the_rates_of_one_that_was_not(tmp_path: Path, option: str) -> None:
    words = (*RUN, f"scheduler={option}", *NEEDED.get(option, ()))
    rates = logged(run(tmp_path / "whole", *words))
    resumed = logged(run(tmp_path / "resumed", *words, resume_from=tmp_path / "whole/checkpoint-3"))
    assert resumed == {step: lr for step, lr in rates.items() if step > 3}
    assert max(rates.values()) <= 0.01
    assert len(set(rates.values())) > 1 or option == "constant"


@pytest.mark.slow
@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "reduce_lr_on_plateau"])
def test_an_extended_run_follows_the_longer_schedule(tmp_path: Path, option: str) -> None:
    words = (f"scheduler={option}", *NEEDED.get(option, ()))
    rates = logged(run(tmp_path / "long", *RUN, "args.max_steps=12", *words))
    run(tmp_path / "short", *RUN, *words)
    extended = logged(
        run(
            tmp_path / "extended",
            *RUN,
            "args.max_steps=12",
            *words,
            resume_from=tmp_path / "short/checkpoint-6",
        )
    )
    assert extended == {step: lr for step, lr in rates.items() if step > 6}
