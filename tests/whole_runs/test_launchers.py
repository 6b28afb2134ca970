"""Hydra's own launchers carry out the jobs of a sweep."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_a_launcher_runs_the_jobs_and_the_same_command_none_of_them_again(project, launcher):
    words = ["-m", "+recipe=spirals", "optim.lr=0.01,1e30", "args.max_steps=4", f"hydra/launcher={launcher}"]
    words += [f"args.output_dir={project.outputs}"]
    ended = project(*words)
    assert ended.code == 1 and "2 of 2 jobs to" in ended.err, ended.text
    (sweep,) = (path.parent for path in project.outputs.rglob("sweep.json"))
    records = {path: json.loads(path.read_text()) for path in sorted(sweep.glob("*/run.json"))}
    assert sorted(record["status"] for record in records.values()) == ["diverged", "finished"]
    assert all((path.parent / "output.log").stat().st_size for path in records)
    before = {path: path.stat().st_mtime_ns for path in records}
    again = project(*words)
    assert again.code == 1 and "jobs to" not in again.err, again.text
    assert {path: path.stat().st_mtime_ns for path in records} == before
