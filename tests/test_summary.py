"""What a user is told before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import built

from trainer_cli.summary import title


@pytest.mark.parametrize(
    ("target", "choice", "name"),
    [
        ("torch.optim.AdamW", "adamw", "AdamW"),
        ("trainer_cli.scheduler.linear", "linear", "linear"),
        ("trainer_cli.scheduler.constant", "constant_with_warmup", "constant_with_warmup (constant)"),
        ("trainer_cli.scheduler.ReduceLROnPlateau", "reduce_lr_on_plateau", "ReduceLROnPlateau"),
        ("torch.optim.Adam", "adamw", "adamw (Adam)"),
        ("mine.Net", "", "Net"),
    ],
)
def test_a_part_is_named_by_its_option(target: str, choice: str, name: str) -> None:
    assert title({"_target_": target}, choice) == name


def test_the_optimizer_is_told_with_its_rate_and_schedule(tmp_path: Path) -> None:
    with built(tmp_path / "run", "scheduler=cosine") as engine:
        assert engine.summary["optim"] == "AdamW, lr 0.01, cosine schedule"
