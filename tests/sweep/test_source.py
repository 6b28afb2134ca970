"""Which job comes next: of a list, and of a study that learns from those before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from played_jobs import ACCURACY

from trainer_cli.runs.journal import FILE, trials_of
from trainer_cli.sweep.jobs import Job, Jobs, jobs_of
from trainer_cli.sweep.source import Listed, Searched, Source

Asked = Callable[..., Jobs]
CHOICES = ("optim.lr=0.1,0.2", "optim.weight_decay=0,0.5")
RATES = ("optim.lr=interval(0.1,0.2)",)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """The jobs of a command whose runs go below this test's directory."""

    def of(*words: str) -> Jobs:
        jobs = jobs_of(["+recipe=glue", f"args.output_dir={tmp_path}", "sweep.name=s", *words], [])
        jobs.sweep_dir.mkdir(parents=True, exist_ok=True)
        return jobs

    return of


def ended(job: Job) -> dict[str, Any]:
    """The run.json of a job that came to its end, with its learning rate as its score."""
    score = {"eval/accuracy": job.values["optim.lr"]}
    return {"status": "finished", "metric": ACCURACY, "results": score}


def go_on(source: Source) -> list[Job]:
    """Run what it hands out until it has no more."""
    done = []
    while (job := source.next()) is not None:
        done.append(job)
        source.ended(job, ended(job))
    return done


def states(searched: Searched) -> list[tuple[str, float | None]]:
    """How the trials of a study stand."""
    return [(trial.state.name, trial.value) for trial in trials_of(searched.study.storage).values()]


@pytest.mark.parametrize(
    "words",
    [
        CHOICES,
        (*RATES, "sweep.search=random", "sweep.trials=4"),
        (*CHOICES, "sweep.zip=[[optim.lr,optim.weight_decay]]"),
    ],
)
def test_a_list_is_handed_out_once_in_its_order_whatever_became_of_the_jobs(
    asked: Asked, words: tuple[str, ...]
) -> None:
    jobs = asked(*words)
    source = Listed(jobs)
    handed_out = []
    while (job := source.next()) is not None:
        handed_out.append(job)
        source.ended(job, None)
    assert handed_out == jobs.jobs
    assert source.next() is None


def test_a_study_is_asked_for_one_job_after_the_other_and_told_of_each(asked: Asked) -> None:
    jobs = asked(*RATES, "sweep.search=tpe", "sweep.trials=5")
    source = Searched(jobs)
    done = go_on(source)
    assert done == jobs.jobs
    assert [job.number for job in done] == [1, 2, 3, 4, 5]
    assert states(source) == [("COMPLETE", -job.values["optim.lr"]) for job in done]
    assert [entry.id for entry in jobs.record.load(jobs.sweep_dir).entries] == [job.id for job in done]


def test_values_that_were_tried_are_not_tried_again_and_come_to_the_same(asked: Asked) -> None:
    jobs = asked("optim.lr=0.1,0.2", "sweep.search=tpe", "sweep.trials=12")
    source = Searched(jobs)
    done = go_on(source)
    assert sorted(job.values["optim.lr"] for job in done) == [0.1, 0.2]
    found = trials_of(source.study.storage).values()
    assert len(found) == 12
    assert all(trial.value == -float(trial.params["optim.lr"]) for trial in found)


def test_values_of_a_job_that_still_runs_are_told_when_it_ends(asked: Asked) -> None:
    jobs = asked("optim.lr=0.1,0.2", "sweep.search=tpe", "sweep.trials=8", "sweep.jobs=2")
    source = Searched(jobs)
    running = [source.next(), source.next()]
    assert source.next() is None
    assert states(source) == [("RUNNING", None)] * 8
    for job in running:
        assert job is not None
        source.ended(job, ended(job))
    assert {state for state, _ in states(source)} == {"COMPLETE"}


@pytest.mark.parametrize("search", ["tpe", "cma_es"])
def test_a_search_that_is_stopped_hands_out_the_same_jobs_again_and_goes_on_as_it_would_have(
    asked: Asked, tmp_path: Path, search: str
) -> None:
    words = (*RATES, f"sweep.search={search}", "sweep.trials=7")
    straight = [job.id for job in go_on(Searched(asked(*words, "sweep.name=straight")))]
    first = Searched(asked(*words))
    for _ in range(3):
        job = first.next()
        assert job is not None
        first.ended(job, ended(job))
    left = first.next()  # the sweep is killed while it runs
    assert left is not None
    again = asked(*words)
    assert [entry.id for entry in again.record.entries] == straight[:4]
    done = go_on(Searched(again))
    assert [job.id for job in done] == straight
    assert [job.number for job in done] == [1, 2, 3, 4, 5, 6, 7]


def test_what_could_not_be_started_is_open_again_in_the_next_command(asked: Asked) -> None:
    words = (*RATES, "sweep.search=tpe", "sweep.trials=2")
    source = Searched(asked(*words))
    job = source.next()
    assert job is not None
    source.ended(job, None)
    assert states(source) == [("FAIL", None)]
    again = Searched(asked(*words))
    assert states(again) == [("RUNNING", None)]
    assert go_on(again)[0].id == job.id
    assert [state for state, _ in states(again)] == ["COMPLETE"] * 2


def test_a_pruner_watches_each_job_and_changes_nothing_of_what_it_is(asked: Asked) -> None:
    words = (*RATES, "sweep.search=random", "sweep.trials=2")
    jobs = asked(*words, "sweep.pruner=median")
    pruned = go_on(Searched(jobs))
    nodes = [job.composition.config["callbacks"]["pruning"] for job in pruned]
    assert [(node["trial"], node["pruner"]) for node in nodes] == [(0, "median"), (1, "median")]
    assert {Path(node["journal"]) for node in nodes} == {jobs.sweep_dir.resolve() / FILE}
    assert [job.id for job in pruned] == [job.id for job in asked(*words, "sweep.name=other").jobs]
