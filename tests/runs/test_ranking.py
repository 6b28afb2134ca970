"""The order of a sweep's jobs, and the answer in words."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sweep import ACCURACY, LOSS, Values, failed, finished, made_sweep

from trainer_cli.runs.ranking import Digits, Ranking, Result, answer, rankings, results
from trainer_cli.runs.sweeps import SweepRecord


def only(jobs: Sequence[Result]) -> Ranking:
    """The ranking of jobs with one metric."""
    (ranking,) = rankings(jobs)
    return ranking


def said(record: SweepRecord) -> str:
    """The answer of a sweep with one metric."""
    jobs = results(record)
    return answer(only(jobs), any(job.seeds for job in jobs))


def job(number: int, values: dict[str, Any], score: float | None, **more: Any) -> Result:
    """A job with this score, greatest first; without one it has failed."""
    status, metric = ("finished" if score is not None else "failed"), "eval/x"
    own = Result(number, values, [], "", True, status, metric, True, score, {}, None)
    return replace(own, **more)


# ---- what a job came to


@pytest.mark.parametrize(
    ("fields", "status", "score", "cause"),
    [
        (finished(0.5), "finished", 0.5, None),
        (finished(math.nan), "finished", None, "its accuracy is not finite"),
        (finished(-math.inf), "finished", None, "its accuracy is not finite"),
        ({"status": "finished", "metric": ACCURACY}, "finished", None, "its accuracy was not evaluated"),
        ({"status": "finished", "metric": None, "results": {"train/seconds": 1.0}}, "finished", None, None),
        (failed(), "failed", None, "CUDA out of memory"),
        ({"status": "failed"}, "failed", None, "its process ended without a word"),
        ({"status": "pruned", "stopped": "the others did better"}, "pruned", None, "the others did better"),
        ({"status": "diverged", "error": "update 3 has loss nan"}, "diverged", None, "update 3 has loss nan"),
        ({"status": "running"}, "running", None, None),
        (None, "waiting", None, None),
    ],
)
def test_what_a_job_came_to_is_what_its_record_says(
    tmp_path: Path, fields: dict[str, Any] | None, status: str, score: float | None, cause: str | None
) -> None:
    (found,) = results(made_sweep(tmp_path, {"optim.lr": [1]}, lambda _: fields))
    assert (found.status, found.score, found.cause) == (status, score, cause)
    assert found.counts == score


def test_what_could_not_be_started_has_failed_and_says_why(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, {"optim.lr": [1, 2]}, lambda _: None)
    record.update(refused={record.entries[1].id: "it could not be started: a file is in its way"})
    waiting, refused = results(record)
    assert (waiting.status, waiting.cause) == ("waiting", None)
    assert (refused.status, refused.cause) == ("failed", "it could not be started: a file is in its way")


def test_what_could_not_be_started_and_was_ended_by_another_command_counts(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, {"optim.lr": [1, 2]}, lambda values: finished(values["optim.lr"]))
    record.update(refused={entry.id: "it is still running" for entry in record.entries})
    assert [(one.status, one.counts, one.cause) for one in results(record)] == [
        ("finished", 1, None),
        ("finished", 2, None),
    ]


def test_further_scores_are_the_finite_ones_of_the_evaluation(tmp_path: Path) -> None:
    def run(_: Values) -> dict[str, Any]:
        fields = finished(0.5, f1=0.25, loss=math.inf)
        fields["results"] |= {"eval/empty": None, "train/loss": 0.1}
        return fields

    (found,) = results(made_sweep(tmp_path, {"optim.lr": [1]}, run))
    assert found.others == {"eval/f1": 0.25}


def test_jobs_are_put_in_order_and_those_of_earlier_commands_are_told_apart(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, {"optim.lr": [1, 2, 3]}, lambda _: None)
    record.update(jobs=record.fields["jobs"][::-1], asked=record.fields["asked"][:1])
    assert [(found.number, found.asked) for found in results(record)] == [(1, True), (2, False), (3, False)]


# ---- their order


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 4)), unique_by=lambda x: x[:2]
    ),
    st.booleans(),
    st.randoms(),
)
def test_the_order_is_that_of_the_scores_whatever_the_order_of_the_jobs(
    drawn: list[tuple[str, int, int]], greater: bool, order: random.Random
) -> None:
    jobs = [
        job(number, {"optim": name, "args.seed": seed}, float(score) or None, greater_is_better=greater)
        for number, (name, seed, score) in enumerate(drawn, start=1)
    ]
    shuffled = list(jobs)
    order.shuffle(shuffled)
    found = rankings(jobs)
    for one, again in zip(found, rankings(shuffled), strict=True):
        for group, other in zip(one.groups, again.groups, strict=True):
            # Of equal scores the first is the best one.
            assert replace(other, jobs=sorted(other.jobs), best=group.best) == group
    for ranking in found:
        means = [group.mean for group in ranking.groups if group.mean is not None]
        assert means == sorted(means, reverse=greater)
        assert [group.rank for group in ranking.groups if group.rank] == list(range(1, len(means) + 1))
        assert sorted(number for group in ranking.groups for number in group.jobs) == [
            one.number for one in jobs
        ]
        for group in ranking.groups:
            own = [one.counts for one in jobs if one.number in group.jobs and one.counts is not None]
            assert group.mean == (pytest.approx(statistics.fmean(own)) if own else None)
            assert group.sd == (pytest.approx(statistics.stdev(own)) if len(own) > 1 else None)
            assert group.best_score == ((max if greater else min)(own) if own else None)


def test_of_equal_means_the_lower_job_comes_first() -> None:
    jobs = [job(1, {"a": 1}, None), job(2, {"a": 2}, 0.5), job(3, {"a": 3}, 0.5), job(4, {"a": 4}, 0.5)]
    assert [group.jobs for group in only(jobs).groups] == [[2], [3], [4], [1]]


def test_both_seeds_are_folded_and_values_of_other_types_are_not() -> None:
    seeds = [{"args.seed": seed, "args.data_seed": data} for seed in (1, 2) for data in (1, 2)]
    values = [{"a": value, **seed} for value in (1, True, "1", [1]) for seed in seeds]
    ranking = only([job(number, own, 0.5) for number, own in enumerate(values, start=1)])
    assert [group.n for group in ranking.groups] == [4, 4, 4, 4]
    assert [group.setting for group in ranking.groups] == [{"a": 1}, {"a": True}, {"a": "1"}, {"a": [1]}]


def test_what_failed_before_it_said_how_it_is_scored_comes_last_where_there_is_one_metric() -> None:
    unsaid = job(1, {"a": 1}, None, metric=None, greater_is_better=False)
    scored = [job(2, {"a": 2}, 0.25), job(3, {"a": 3}, 0.5)]
    assert [group.jobs for group in only([unsaid, *scored]).groups] == [[3], [2], [1]]
    other = job(4, {"a": 4}, 0.1, metric="eval/y")
    assert [ranking.metric for ranking in rankings([unsaid, *scored, other])] == [None, "eval/x", "eval/y"]


# ---- the answer


SEEDED = {"optim.lr": [1e-5, 3e-5], "args.seed": [1, 2, 3]}


def test_what_seeds_cannot_tell_apart_is_not_called_a_winner(tmp_path: Path) -> None:
    noise = {1: 0.0, 2: 0.02, 3: 0.01}
    record = made_sweep(
        tmp_path, SEEDED, lambda values: finished(values["optim.lr"] * 100 + noise[values["args.seed"]])
    )
    assert said(record) == (
        "optim.lr=3e-05 is best: accuracy 0.01300 ± 0.01000 (3 seeds), 0.00200 ahead of optim.lr=1e-05"
        " (0.01100 ± 0.01000): 0.2 times the spread of the seeds, by which 3 seeds cannot tell the two apart"
        " (p = 0.82)"
    )


def test_one_seed_says_nothing_of_the_spread(tmp_path: Path) -> None:
    record = made_sweep(
        tmp_path, {"optim.lr": [1, 2]}, lambda values: finished(values["optim.lr"] / 10, LOSS)
    )
    assert said(record) == (
        "optim.lr=1 is best: loss 0.1000 (one seed), 0.1000 ahead of optim.lr=2 (0.2000);"
        " one seed says nothing of the spread: args.seed=1,2,3 would"
    )


@pytest.mark.parametrize(
    ("axes", "run", "says"),
    [
        (
            {"optim.lr": [1, 2]},
            lambda _: finished(0.5),
            "optim.lr=1: accuracy 0.5000 (one seed), and equal to it optim.lr=2 (0.5000)",
        ),
        (
            {"optim.lr": [1]},
            lambda _: finished(0.5),
            "optim.lr=1: accuracy 0.5000 (one seed); there is nothing to compare it with",
        ),
        (
            {"args.seed": [1, 2]},
            lambda _: finished(0.5),
            "the one setting: accuracy 0.5000 ± 0.0000 (2 seeds); there is nothing to compare it with",
        ),
        ({"optim.lr": [1, 2]}, lambda _: failed(), "no job has come to a score"),
        ({"optim.lr": [1, 2]}, lambda _: None, "so far, no job has come to a score"),
        ({"optim.lr": [1, 2]}, lambda _: finished(None), "no job has come to a score"),
        (
            {"optim.lr": [1, 2]},
            lambda _: {"status": "finished", "metric": None, "results": {"train/seconds": 1.0}},
            "nothing was evaluated, so there is nothing to rank by: args.stages=[train,eval] scores each job",
        ),
        (
            {"optim.lr": [1, 2]},
            lambda values: finished(0.5) if values["optim.lr"] == 1 else failed(),
            "optim.lr=1: accuracy 0.5000 (one seed); no other setting came to a score",
        ),
        (
            {"optim.lr": [1, 2], "args.seed": [1, 2]},
            lambda values: finished(values["optim.lr"]),
            "optim.lr=2 wins: accuracy 2.000 ± 0.000 (2 seeds), 1.000 ahead of optim.lr=1 (1.000 ± 0.000);"
            " the seeds make no difference",
        ),
        (
            {"optim.lr": [1, 2]},
            lambda values: finished(0.5) if values["optim.lr"] == 1 else None,
            "so far, optim.lr=1: accuracy 0.5000 (one seed); no other setting came to a score",
        ),
        (
            {"optim": ["a", "b"], "optim.lr": [1, 2]},
            lambda values: finished(values["optim.lr"] + (values["optim"] == "a") / 2),
            "optim=a optim.lr=2 is best: accuracy 2.500 (one seed), 0.500 ahead of optim=b (2.000);"
            " one seed says nothing of the spread: args.seed=1,2,3 would",
        ),
        (
            {"optim.lr": [1, 2], "args.seed": [1, 2]},
            lambda values: (
                finished(values["optim.lr"]) if values["optim.lr"] == values["args.seed"] else None
            ),
            "so far, optim.lr=2 is best: accuracy 2.000 (one seed), 1.000 ahead of optim.lr=1 (1.000);"
            " one seed says nothing of the spread",
        ),
    ],
)
def test_what_there_is_to_say_of_other_sweeps(
    tmp_path: Path, axes: dict[str, list[Any]], run: Callable[[Values], dict[str, Any] | None], says: str
) -> None:
    assert said(made_sweep(tmp_path, axes, run)) == says


@pytest.mark.parametrize(
    ("means", "texts"),
    [
        ([0.91234, 0.9], ["0.9123", "0.9000"]),
        ([87.3, 87.2999], ["87.30000", "87.29990"]),
        ([1e-6, 2e-6], ["2e-06", "1e-06"]),
        ([12345.678, 1.0], ["12346", "1"]),
        ([0.0, 0.0], ["0", "0"]),
        ([1e30, 1.0], ["1e+30", "1"]),
        ([-0.5, -0.50004], ["-0.500000", "-0.500040"]),
    ],
)
def test_scores_have_the_digits_that_tell_them_apart(means: list[float], texts: list[str]) -> None:
    groups = only([job(number, {"a": number}, mean) for number, mean in enumerate(means)]).groups
    digits = Digits.of(groups)
    assert [digits.text(group.mean) for group in groups if group.mean is not None] == texts


@given(st.floats(1e-3, 1e5), st.floats(1e-3, 0.5))
def test_two_scores_that_differ_in_a_thousandth_never_look_the_same(score: float, share: float) -> None:
    groups = only([job(1, {"a": 1}, score), job(2, {"a": 2}, score * (1 + share))]).groups
    first, second = (Digits.of(groups).with_spread(group) for group in groups)
    assert first != second
