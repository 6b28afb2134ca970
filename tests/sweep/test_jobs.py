from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs.sweeps import FILE
from trainer_cli.sweep.jobs import Jobs, jobs_of

Asked = Callable[..., Jobs]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """The jobs of a command whose runs go below this test's directory."""

    def of(*words: str) -> Jobs:
        return jobs_of(["+recipe=glue", f"args.output_dir={tmp_path}", *words], [])

    return of


def test_jobs_are_told_apart_by_what_their_values_resolve_to(asked: Asked) -> None:
    jobs = asked("optim.lr=1e-5,3e-5,0.00001", "args.seed=1,2")
    assert [job.values for job in jobs.jobs] == [
        {"optim.lr": lr, "args.seed": seed} for lr in (1e-5, 3e-5) for seed in (1, 2)
    ]
    assert jobs.duplicates == [
        ({"optim.lr": 1e-5, "args.seed": 1}, 1),
        ({"optim.lr": 1e-5, "args.seed": 2}, 2),
    ]
    assert len({job.id for job in jobs.jobs}) == 4
    assert jobs.jobs[0].words[-2:] == ["optim.lr=1e-05", "args.seed=1"]
    assert jobs.jobs[0].entry.directory == f"lr-1e-05_seed-1_{jobs.jobs[0].id[:12]}"


def test_a_wider_grid_is_the_same_sweep_and_keeps_its_numbers(asked: Asked) -> None:
    first = asked("optim.lr=1e-5,3e-5", "args.seed=1")
    first.sweep_dir.mkdir(parents=True)
    first.record.update()
    wider = asked("optim.lr=5e-5,3e-5", "args.seed=1")
    assert wider.sweep_dir == first.sweep_dir
    assert [job.number for job in wider.jobs] == [3, 2]
    assert wider.jobs[1].id == first.jobs[1].id
    assert len(wider.record.entries) == 3
    assert [entry.number for entry in wider.record.asked] == [3, 2]


def test_settings_of_the_sweep_and_where_it_goes_are_no_part_of_its_name(asked: Asked) -> None:
    words = ("optim.lr=1e-5,3e-5",)
    plain = asked(*words)
    other = asked(
        *words, "sweep.jobs=2", "tracker=tensorboard", "checkpoint.async_save=false", "run.name=glue"
    )
    assert other.sweep_dir == plain.sweep_dir
    assert [job.id for job in other.jobs] == [job.id for job in plain.jobs]
    assert asked(*words, "args.max_steps=3").sweep_dir != plain.sweep_dir
    assert asked(*words, "sweep.name=mine").sweep_dir == plain.sweep_dir.parent / "mine"


def test_what_another_sweep_has_done_is_taken_unless_this_one_has_a_name(asked: Asked) -> None:
    first = asked("optim.lr=1e-5,3e-5")
    done = first.sweep_dir / first.jobs[0].entry.directory
    done.mkdir(parents=True)
    (done / "run.json").write_text("{}")
    seed = first.jobs[0].composition.config["args"]["seed"]
    wider = asked("optim.lr=1e-5,3e-5", f"args.seed={seed},7")
    assert wider.jobs[0].entry.directory == f"../{first.sweep_dir.name}/{done.name}"
    assert wider.jobs[1].entry.directory.startswith("lr-1e-05_seed-7")
    named = asked("optim.lr=1e-5,3e-5", "sweep.name=mine")
    assert named.jobs[0].entry.directory == done.name


def test_axes_of_a_recipe_are_overridden_by_those_of_the_command_line(asked: Asked) -> None:
    params = "sweep.params={optim.lr: [1e-5, 2e-5], args.seed: '1,2'}"
    assert len(asked(params).jobs) == 4
    jobs = asked(params, "optim.lr=3e-5,4e-5,5e-5")
    assert [job.values["optim.lr"] for job in jobs.jobs[::2]] == [3e-5, 4e-5, 5e-5]
    jobs = asked(params, "optim.lr=7e-5")
    assert [job.values for job in jobs.jobs] == [{"args.seed": 1}, {"args.seed": 2}]
    assert {job.composition.config["optim"]["lr"] for job in jobs.jobs} == {7e-5}


def test_a_group_that_is_swept_over_is_called_by_its_options(asked: Asked) -> None:
    jobs = asked("optim=adamw,sgd", "args.seed=1,2", "sweep.zip=[[optim,args.seed]]")
    assert [job.values for job in jobs.jobs] == [
        {"optim": "adamw", "args.seed": 1},
        {"optim": "sgd", "args.seed": 2},
    ]


def test_a_random_search_is_frozen_and_its_first_jobs_stay(asked: Asked) -> None:
    words = ("optim.lr=tag(log,interval(1e-5,1e-3))", "sweep.search=random")
    few, many = asked(*words, "sweep.trials=3"), asked(*words, "sweep.trials=6")
    assert [job.id for job in many.jobs[:3]] == [job.id for job in few.jobs]
    assert all(1e-5 <= job.values["optim.lr"] <= 1e-3 for job in many.jobs)


def test_an_optuna_search_has_no_jobs_yet_and_later_ones_have_numbers_of_their_own(asked: Asked) -> None:
    words = ("optim.lr=interval(1e-5,1e-3)", "sweep.search=tpe")
    jobs = asked(*words)
    assert jobs.jobs == []
    jobs.sweep_dir.mkdir(parents=True)
    (job,) = jobs.add([[*jobs.axes.fixed, "optim.lr=2e-5"]])
    jobs.record.update()
    later = asked(*words)
    (other,) = later.add([[*jobs.axes.fixed, "optim.lr=3e-5"]])
    assert [entry.number for entry in later.record.entries] == [job.number, other.number] == [1, 2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("optim.lrr=1,2",), "AdamW has no parameter lrr"),
        (("optim.lr=1,abc",), "optim.lr is abc (job optim.lr=abc)"),
        (("optim=adamw,sgdd", "args.seed=1,2"), "no optim=sgdd (job optim=sgdd args.seed=1)"),
        (("optim.lr=1,2", "resume=auto"), "resume does not go with -m"),
        (("optim.lr=interval(0,1)",), "an interval has no values"),
        (("optim.lr=interval(-1,1)", "sweep.search=tpe"), "optim.lr is -1"),
        (
            ("optim.lr=interval(0,1)", "sweep.search=random", "sweep.zip=[[optim.lr]]"),
            "sweep.zip is for a grid",
        ),
        (("optim.lr=1,2", "sweep.jobs=0"), "sweep.jobs is 0"),
        (("optim.lr=1,2", "sweep.zip=[optim.lr]"), "sweep.zip is [optim.lr]"),
        (("optim.lr=1,2", "sweep.zip=[[optim.lr],[optim.lr]]"), "sweep.zip names optim.lr more than once"),
        (("optim.lr=1,2", "sweep.search=random", "sweep.trials=few"), "sweep.trials is few"),
        (("optim.lr=1,2", "sweep.name=[a]"), "sweep.name is [a]"),
        (("optim.lr=1,2", "sweep.params=null"), "sweep.params is null"),
        (("optim.lr=1,2", "~sweep.params"), "sweep.params is missing"),
        (("optim.lr=1,2", "~sweep"), "sweep is missing"),
        (("optim.lr=1,2", "run.name=[a]"), "run.name is [a]"),
        (("optim.lr=1,2", "sweep.jobs=1,2"), "sweep.jobs cannot be swept over"),
        (("sweep.params={run.name: 'a,b'}",), "run.name cannot be swept over"),
        (("optim.lr=1,2", "sweep.jos=2"), "sweep.jos"),
    ],
)
def test_what_is_wrong_is_said_of_the_job_that_it_is_of(
    asked: Asked, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        asked(*words)
    assert says in caught.value.block()


def test_what_is_wrong_without_an_axis_is_said_of_no_job(asked: Asked) -> None:
    with pytest.raises(UserError) as caught:
        asked("optim.lr=abc")
    assert caught.value.problems[0].what == "optim.lr is abc"


def test_what_comes_to_the_same_is_said_and_of_many_how_many_more(asked: Asked) -> None:
    assert list(asked("optim.lr=1e-5,3e-5,0.00001").repeated()) == ["optim.lr=1e-05 is job 1 again"]
    *named, more = asked("optim.lr=1e-5" + ",1e-5" * 12).repeated()
    assert len(named) == 10
    assert more == "and 2 more are jobs that there are already"


def test_a_damaged_record_is_said_and_not_written_over(asked: Asked) -> None:
    first = asked("optim.lr=1,2")
    first.sweep_dir.mkdir(parents=True)
    (first.sweep_dir / FILE).write_text(json.dumps({"jobs": []})[:-1])
    with pytest.raises(UserError, match=r"cannot be read"):
        asked("optim.lr=1,2")
