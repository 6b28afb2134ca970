"""What tells runs apart on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from long_run import long_run

from trainer_cli.config.errors import UserError
from trainer_cli.report.shown import Shown, differences, tell_apart
from trainer_cli.runs.record import Record


def shown(path: Path, config: str = "optim:\n  lr: 0.1\n", rows: int = 0, **fields: Any) -> Shown:
    run_dir = long_run(path, rows, **fields)
    (run_dir / "config.yaml").write_text(config)
    return Shown(Record.load(run_dir))


def test_only_what_differs_tells_runs_apart(tmp_path: Path) -> None:
    one = shown(tmp_path / "a", "args: {seed: 1}\noptim: {_target_: A, lr: 0.1, beta: 2}\nrun: {name: a}\n")
    other = shown(
        tmp_path / "b",
        "args: {seed: 2}\noptim: {_target_: B, lr: 0.2, momentum: 1}\nrun: {name: b}\n",
        choices={"optim": "sgd"},
    )
    one.fields["choices"] = {"optim": "adamw"}
    assert differences([one, other]) == [
        {"optim": "adamw", "optim.lr": 0.1, "args.seed": 1},
        {"optim": "sgd", "optim.lr": 0.2, "args.seed": 2},
    ]


def test_what_a_run_lacks_tells_it_apart_by_its_absence(tmp_path: Path) -> None:
    one = shown(tmp_path / "a", "callbacks: {}\nstrategy: {name: single}\n", choices={"strategy": "single"})
    other = shown(
        tmp_path / "b", "callbacks: {ema: {decay: 0.9}}\nstrategy: {name: ddp}\n", choices={"strategy": "ddp"}
    )
    one.values, other.values = differences([one, other])
    assert (one.values, other.values) == (
        {"strategy": "single"},
        {"strategy": "ddp", "callbacks.ema.decay": 0.9},
    )
    tell_apart([one, other], best_first=False)
    assert other.label == "strategy=ddp decay=0.9"


def test_a_setting_has_a_colour_and_a_seed_its_dashes() -> None:
    values = [{"optim.lr": rate, "args.seed": seed} for rate in (0.1, 0.2) for seed in (1, 2)]
    runs = [Shown(Record(Path(), {"id": str(place)}), own) for place, own in enumerate(values)]
    tell_apart(runs, best_first=True)
    assert [(one.color, one.dash) for one in runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert runs[2].label == "lr=0.2 seed=1"
    assert all(one.is_on for one in runs)


def test_equal_runs_are_told_apart_by_their_ids_and_of_many_a_few_are_drawn() -> None:
    runs = [Shown(Record(Path(), {"id": f"id-{place}"}), {"a": 1}) for place in range(30)]
    tell_apart(runs, best_first=False)
    assert len({one.label for one in runs}) == 30
    assert [place for place, one in enumerate(runs) if one.is_on] == list(range(20, 30))


def test_the_best_step_of_a_run_that_has_not_ended_is_that_of_its_rows(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", rows=1000)
    curve = run.curves["eval/accuracy"]
    assert run.best_step == curve.steps[curve.values.index(max(curve.values))]
    run.fields["best"] = {"eval/accuracy": 1.0, "step": 7}
    assert run.best_step == 7


def test_rows_that_cannot_be_opened_are_the_users_error(tmp_path: Path) -> None:
    run = shown(tmp_path / "a")
    (run.record.run_dir / "metrics.jsonl").unlink()
    (run.record.run_dir / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read"):
        _ = run.curves
