"""What trackers say of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.runs.record import Record
from trainer_cli.tracker.run import Run, flat


def change(run_dir: Path, **fields: Any) -> Run:
    """The run with these fields in its run.json."""
    there = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(there | fields))
    return Run.read(run_dir)


def test_a_run_is_what_its_own_files_say(run_dir: Path) -> None:
    run = Run.read(run_dir)
    assert (run.name, run.title, run.group) == ("demo", run_dir.name, None)
    assert run.config["optim.lr"] == 0.01
    assert run.config["model.hidden_features"] == "[16]"
    assert run.config_text == (run_dir / "config.yaml").read_text()
    assert run.root == run_dir.parents[1]


def test_a_key_is_one_runs_alone_and_stays_when_it_goes_on_or_is_moved(run_dir: Path, tmp_path: Path) -> None:
    key = Run.read(run_dir).key
    assert len(key) == 32 and int(key, 16) >= 0
    moved = tmp_path / "elsewhere"
    run_dir.rename(moved)
    assert change(moved, status="running", sessions=[{}, {}], name="renamed").key == key
    # Runs of the same name in other places are others.
    assert change(moved, created="later").key != key
    assert change(moved, created="2025-01-01T12:00:00+00:00", id="other").key != key


def test_jobs_of_the_same_directory_in_two_sweeps_have_keys_of_their_own(tmp_path: Path) -> None:
    runs = [Record.at(tmp_path / sweep / "lr-1", {"name": "demo"}) for sweep in ("one", "two")]
    assert len({Run(record.run_dir, record.fields).key for record in runs}) == 2


def test_a_job_goes_by_its_sweep(run_dir: Path) -> None:
    run = change(run_dir, sweep={"name": "lr-1", "number": 3})
    assert (run.group, run.title, run.name) == ("lr-1", f"lr-1/{run_dir.name}", "demo")
    assert change(run_dir, sweep=None).title == run_dir.name


def test_a_moved_run_has_its_root_two_above(run_dir: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "demo" / "r"
    moved.parent.mkdir(parents=True)
    run_dir.rename(moved)
    assert Run.read(moved).root == tmp_path / "elsewhere"


def test_a_job_and_a_run_have_the_same_root_wherever_they_are_moved(run_dir: Path, tmp_path: Path) -> None:
    job = run_dir.parent / "sweep-1" / "lr-1"
    job.parent.mkdir()
    run_dir.rename(job)
    assert change(job, sweep={"name": "sweep-1", "number": 1}).root == tmp_path / "outputs"
    (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    assert Run.read(tmp_path / "elsewhere" / "demo" / "sweep-1" / "lr-1").root == tmp_path / "elsewhere"


def test_a_relative_root_is_one_of_the_working_directory(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "config.yaml").write_text("args:\n  output_dir: outputs\n")
    monkeypatch.chdir(run_dir.parents[2])
    assert Run.read(Path("outputs") / "demo" / run_dir.name).root == run_dir.parents[1]
    monkeypatch.chdir(run_dir)
    assert Run.read(Path()).root == run_dir.parents[1]


def test_a_trial_keeps_to_its_own_directory(tmp_path: Path) -> None:
    run = Run.read(tmp_path)
    assert (run.root, run.name, run.title, run.group) == (tmp_path, "trainer-cli", tmp_path.name, None)
    assert (run.config, run.config_text) == ({}, "")
    assert len(run.key) == 32
    assert run.key != Run.read(tmp_path.parent).key


def test_a_record_that_is_damaged_is_an_error_of_its_tracker(run_dir: Path) -> None:
    (run_dir / "run.json").write_text('{"id": "a", "crea')
    with pytest.raises(ValueError, match="Unterminated string"):
        Run.read(run_dir)


names = st.text("ab_-", min_size=1)
leaves = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
trees = st.dictionaries(names, st.recursive(leaves, lambda below: st.dictionaries(names, below)))


@given(trees)
def test_every_value_has_its_key(tree: dict[str, Any]) -> None:
    found = dict(flat(tree))
    for key, value in found.items():
        node: Any = tree
        for name in key.split("."):
            node = node[name]
        assert value == (str(node) if isinstance(node, list | dict) else node)
        assert node == {} or not isinstance(node, dict)

    def count(node: dict[str, Any]) -> int:
        return sum(count(below) if isinstance(below, dict) and below else 1 for below in node.values())

    assert len(found) == count(tree)
