"""The learning rates of all parameter groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from small_run import built, run

from trainer_cli.callbacks import LearningRates

MONITOR = "callbacks.rates={_target_: trainer_cli.callbacks.LearningRates}"


def training_rows(run_dir: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "train/loss" in row]


def test_each_group_has_its_rate_by_name_or_by_number(tmp_path: Path) -> None:
    with built(tmp_path) as engine:
        first, second = engine.optimizer.param_groups
        first["name"], second["lr"] = "inner", 0.5
        second.pop("name", None)
        part = LearningRates()
        part.on_optimizer_step_begin(engine)
        assert part.measure(engine) == {"train/lr/inner": 0.01, "train/lr/1": 0.5}


def test_a_row_has_the_rates_of_its_own_update(tmp_path: Path) -> None:
    run(tmp_path, MONITOR)
    rows = training_rows(tmp_path)
    assert len({row["train/lr"] for row in rows}) == len(rows)
    for row in rows:
        groups = {name: value for name, value in row.items() if name.startswith("train/lr/")}
        assert len(groups) == 2 and set(groups.values()) == {row["train/lr"]}


def test_rates_go_on_after_a_resume(tmp_path: Path) -> None:
    run(tmp_path / "whole", MONITOR)
    engine = run(tmp_path / "rest", MONITOR, resume_from=tmp_path / "whole" / "checkpoint-6")
    assert engine.callbacks["rates"].state_dict() == {}
    assert training_rows(tmp_path / "rest") == training_rows(tmp_path / "whole")[6:]
