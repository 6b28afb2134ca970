"""What `DONE` and `FAILED` mean to all that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_run
from played_jobs import ACCURACY, Played, finished

from trainer_cli.runs.leaderboard import STATUSES
from trainer_cli.runs.ranking import results
from trainer_cli.runs.record import Record, provenance
from trainer_cli.runs.sweeps import DONE
from trainer_cli.sweep import run as module
from trainer_cli.sweep.jobs import Jobs, jobs_of
from trainer_cli.sweep.plan import print_sweep_plan
from trainer_cli.sweep.run import run_sweep
from trainer_cli.sweep.state import FAILED, JobState
from trainer_cli.sweep.view import ENDED

ENDS = ("finished", "pruned", "preempted", "failed", "diverged")
"""How a run's record says that it ended."""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The overrides of a sweep of one job."""
    return [*small_run.OVERRIDES, f"args.output_dir={tmp_path}", "optim.lr=0.1"]


def came_to(words: list[str], status: str) -> Jobs:
    """The sweep, whose job came to this."""
    jobs = jobs_of(words, [])
    jobs.sweep_dir.mkdir(parents=True)
    jobs.record.update()
    (job,) = jobs.jobs
    run_dir = jobs.prepare(job, [], provenance()).run_dir
    results: dict[str, Any] = {"results": {"eval/accuracy": 0.5}} if status == "finished" else {}
    Record.load(run_dir).end(status, metric=ACCURACY, total_steps=12, **results)
    return jobs


def test_every_status_is_known_to_the_view_and_the_leaderboard() -> None:
    assert set(ENDS) == set(ENDED)
    assert {*ENDS, "running", JobState(1, "a").status} == set(STATUSES)
    assert {*DONE, *FAILED} <= set(ENDS)


@pytest.mark.parametrize("status", ENDS)
def test_what_is_done_is_left_alone_by_the_sweep_and_its_plan(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    came_to(words, status)
    print_sweep_plan(words, [], False, as_json=True)
    (planned,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (planned["status"], planned["left"] is None) == (status, status in DONE)
    nursery = Played(lambda number, _: finished(0.5))
    monkeypatch.setattr(module, "Cold", lambda: nursery)
    code = run_sweep(words, [], ["-m"], False)
    assert nursery.started == ([] if status in DONE else [1])
    assert code == (status in DONE and status in FAILED)


@pytest.mark.parametrize("status", ENDS)
def test_what_has_failed_has_no_score_and_a_cause(words: list[str], status: str) -> None:
    (result,) = results(came_to(words, status).record)
    if status in FAILED:
        assert result.counts is None
        assert result.cause is not None or status == "diverged"
    assert (result.counts is not None) == (status == "finished")
