"""`trainer-cli plan -m`, of sweeps over a run small enough for a test."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import small_run

from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.sweep import plan as module
from trainer_cli.sweep import sizes
from trainer_cli.sweep.jobs import jobs_of
from trainer_cli.sweep.plan import makespan, print_sweep_plan


class Planner:
    """Plans below a directory, as JSON or as text."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys

    def words(self, *words: str) -> list[str]:
        return [*small_run.OVERRIDES, f"args.output_dir={self.root}", *words]

    def json(self, *words: str, measure: bool = False) -> dict[str, Any]:
        assert print_sweep_plan(self.words(*words), [], measure, as_json=True) == 0
        found: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return found

    def text(self, *words: str, measure: bool = False) -> list[str]:
        assert print_sweep_plan(self.words(*words), [], measure, as_json=False) == 0
        return self.capsys.readouterr().out.splitlines()

    def end(self, words: Sequence[str], *runs: dict[str, Any] | None) -> None:
        """Have the sweep's jobs come to what these run.json say."""
        jobs = jobs_of(self.words(*words), [])
        jobs.sweep_dir.mkdir(parents=True)
        jobs.record.update()
        for job, fields in zip(jobs.jobs, runs, strict=True):
            if fields is not None:
                run_dir = jobs.sweep_dir / job.entry.directory
                run_dir.mkdir()
                own = {"id": job.id, "created": "2026-01-01T00:00:00+00:00", "host": "another", **fields}
                (run_dir / "run.json").write_text(json.dumps(own))


@pytest.fixture
def planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Planner:
    return Planner(tmp_path, capsys)


def finished(seconds: int) -> dict[str, Any]:
    """A run that took so long."""
    ended = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
    return {"status": "finished", "ended": ended.isoformat(), "sessions": [{}], "total_steps": 12}


def test_every_job_has_its_steps_and_its_room(planner: Planner) -> None:
    plan = planner.json("optim.lr=0.1,0.2,0.10", "args.num_train_epochs=1,2", "args.save_strategy=no")
    assert [(job["number"], job["values"], job["status"], job["steps"]) for job in plan["jobs"]] == [
        (number, {"optim.lr": lr, "args.num_train_epochs": epochs}, "new", 6 * epochs)
        for number, (lr, epochs) in enumerate([(0.1, 1.0), (0.1, 2.0), (0.2, 1.0), (0.2, 2.0)], start=1)
    ]
    assert plan["duplicates"] == [
        {"values": {"optim.lr": 0.1, "args.num_train_epochs": 1.0}, "job": 1},
        {"values": {"optim.lr": 0.1, "args.num_train_epochs": 2.0}, "job": 2},
    ]
    model = 4 * (small_run.FEATURES * 16 + 16 + 16 * small_run.CLASSES + small_run.CLASSES)
    assert [job["left"]["disk"] for job in plan["jobs"]] == [model] * 4
    assert plan["left"] == {"steps": 36, "disk": 4 * model, "seconds": None}
    assert not list(planner.root.iterdir())


def test_one_job_of_each_kind_is_built(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    size_of = sizes.size_of
    monkeypatch.setattr(module, "size_of", lambda *given: built.append(given) or size_of(*given))
    words = ["optim.lr=0.1,0.2", "args.seed=1,2", "scheduler.num_warmup_steps=0.1,0.2"]
    assert len(planner.json(*words)["jobs"]) == 8
    assert len(built) == 1
    planner.json(*words, "model.hidden_features=[4],[8]")
    assert len(built) == 3


def test_what_is_done_is_left_out_and_tells_how_long_the_rest_takes(planner: Planner) -> None:
    words = ["optim.lr=0.1,0.2,0.3,0.4,0.5", "args.save_strategy=no"]
    halfway = {"status": "preempted", "step": 3, "total_steps": 12}
    planner.end(
        words, finished(40), {**finished(60), "status": "diverged"}, halfway, {"status": "failed"}, None
    )
    plan = planner.json(*words)
    assert [job["status"] for job in plan["jobs"]] == ["finished", "diverged", "preempted", "failed", "new"]
    left = [job["left"] and (job["left"]["steps"], job["left"]["seconds"]) for job in plan["jobs"]]
    assert left == [None, None, (9, 30.0), (12, 40.0), (12, 40.0)]
    assert plan["left"]["seconds"] == 110
    lines = planner.text(*words, "sweep.jobs=2")
    assert "jobs   5: 1 finished, 1 diverged, 1 preempted, 1 failed, 1 new" in lines
    assert "steps  33 in 3 jobs" in lines
    assert "time   1 min 10 s, 2 at a time, as the finished ones took" in lines


def test_nothing_is_left_of_a_sweep_that_is_done(planner: Planner) -> None:
    words = ["optim.lr=0.1,0.2"]
    planner.end(words, finished(4), finished(6))
    assert planner.text(*words)[-1] == "nothing is left to run"


def test_without_a_measurement_no_time_is_invented(planner: Planner) -> None:
    lines = planner.text("optim.lr=0.1,0.2")
    assert lines[-1] == "time   not known: --measure times a few updates of each kind of job"


def test_a_measurement_gives_the_time_of_each_job(planner: Planner) -> None:
    plan = planner.json(
        "optim.lr=0.1,0.2", "args.max_steps=10,1000", "args.eval_strategy=epoch", measure=True
    )
    seconds = [job["left"]["seconds"] for job in plan["jobs"]]
    assert all(second > 0 for second in seconds)
    assert seconds[1] > seconds[0]
    assert plan["left"]["seconds"] == pytest.approx(sum(seconds))
    assert planner.text("optim.lr=0.1,0.2", measure=True)[-1].endswith("by a few updates of each kind of job")


def test_many_jobs_are_counted_and_not_listed(planner: Planner) -> None:
    lines = planner.text("args.seed=range(0,40)")
    assert any("... and 10 more" in line for line in lines)
    assert "jobs   40: 40 new" in lines
    assert "steps  480 in 40 jobs" in lines


def test_a_random_search_lists_what_is_drawn(planner: Planner) -> None:
    plan = planner.json("optim.lr=interval(0.1,0.2)", "sweep.search=random", "sweep.trials=3")
    assert [job["number"] for job in plan["jobs"]] == [1, 2, 3]
    assert all(0.1 <= job["values"]["optim.lr"] <= 0.2 for job in plan["jobs"])


def test_a_search_by_optuna_lists_its_axes_and_its_bounds(planner: Planner) -> None:
    words = ["optim.lr=tag(log,interval(0.001,0.1))", "args.max_steps=3,9", "sweep.search=tpe"]
    lines = planner.text(*words, "sweep.trials=5", "args.save_strategy=no")
    assert "jobs   5 of tpe" in lines
    assert "axis   optim.lr: from 0.001 to 0.1 by its logarithm" in lines
    assert "axis   args.max_steps: 3, 9" in lines
    assert "steps  at most 45 in 5 jobs" in lines
    plan = planner.json(*words, "sweep.trials=5", measure=True)
    assert plan["jobs"] == []
    assert plan["to_come"] == 5
    assert plan["left"]["seconds"] > 0
    assert not list(planner.root.iterdir())


def test_a_value_that_builds_to_an_error_is_named_with_its_job(planner: Planner) -> None:
    with pytest.raises(UserError) as raised:
        planner.json("args.metric_for_best_model=loss,acuracy,f2", "args.seed=1,2")
    assert not isinstance(raised.value, RunFailed)
    assert [problem.what for problem in raised.value.problems] == [
        f"{name} is no metric of this run's evaluation (job args.metric_for_best_model={name} args.seed=1)"
        for name in ("acuracy", "f2")
    ]


def test_an_error_that_all_jobs_share_is_said_once(planner: Planner) -> None:
    with pytest.raises(UserError) as raised:
        planner.json("args.max_steps=1,2", "args.metric_for_best_model=acuracy")
    assert raised.value.block().count("acuracy") == 1
    assert "(job" not in raised.value.block()


def test_a_launcher_that_there_is_not_is_said_by_the_plan(planner: Planner) -> None:
    with pytest.raises(UserError, match="hydra/launcher=joblibb"):
        planner.text("optim.lr=0.1,0.2", "hydra/launcher=joblibb")


def test_what_only_torch_refuses_is_named_too(planner: Planner) -> None:
    with pytest.raises(UserError, match=r"\(job model.in_features=5\)"):
        planner.json(f"model.in_features={small_run.FEATURES},5", measure=True)


def test_jobs_are_begun_as_soon_as_there_is_a_place() -> None:
    assert makespan([], 2) == 0
    assert makespan([3, 2, 2], 1) == 7
    assert makespan([3, 2, 2], 2) == 4
    assert makespan([1, 1, 5], 2) == 6
    assert makespan([1, 2], 8) == 2
