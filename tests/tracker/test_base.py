"""What all trackers share."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.tracker.base import Once, finite, installed, numbers
from trainer_cli.tracker.run import Run

ROW = {"step": 3, "epoch": 0.5, "a": 1, "b": math.nan, "c": "text", "d": True, "e": math.inf, "f": None}


def test_only_numbers_are_sent() -> None:
    assert numbers(ROW).keys() == {"epoch", "a", "b", "e"}
    assert finite(ROW) == {"epoch": 0.5, "a": 1}


def test_a_number_goes_through_once_a_step() -> None:
    once = Once({("train/loss", 4)})
    assert once.new({"step": 4, "epoch": 0.4, "train/loss": 1.0}) == {"epoch": 0.4}
    assert once.new({"step": 4, "epoch": 0.4, "eval/loss": 2.0}) == {"eval/loss": 2.0}
    assert once.new({"step": 5, "epoch": 0.5, "train/loss": 1.0}) == {"epoch": 0.5, "train/loss": 1.0}


def test_a_package_that_is_missing_is_named_with_what_adds_it() -> None:
    with pytest.raises(UserError) as error:
        installed("no_such_package.part", "wandb")
    assert "no_such_package is not installed" in error.value.block()
    assert "pip install 'trainer-cli[wandb]' adds it" in error.value.block()


def test_a_run_is_what_its_own_files_say(run_dir: Path) -> None:
    run = Run.read(run_dir)
    assert (run.name, run.title, run.group) == ("demo", run_dir.name, None)
    assert run.config["optim.lr"] == 0.01
    assert run.config["model.hidden_features"] == "[16]"
    assert run.root == run_dir.parents[1]
    assert len(run.key) == 32 and run.key == Run.read(run_dir).key


def test_runs_of_the_same_name_in_other_places_are_others(run_dir: Path) -> None:
    key = Run.read(run_dir).key
    fields = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(fields | {"created": "later"}))
    assert Run.read(run_dir).key != key


def test_a_job_goes_by_its_sweep(run_dir: Path) -> None:
    fields = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(fields | {"sweep": {"name": "lr-1", "number": 3}}))
    assert Run.read(run_dir).title == f"lr-1/{run_dir.name}"


def test_a_moved_run_has_its_root_two_above(run_dir: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "demo" / "r"
    moved.parent.mkdir(parents=True)
    run_dir.rename(moved)
    assert Run.read(moved).root == tmp_path / "elsewhere"


def test_a_trial_keeps_to_its_own_directory(tmp_path: Path) -> None:
    assert Run.read(tmp_path).root == tmp_path
    assert Run.read(tmp_path).name == "trainer-cli"
