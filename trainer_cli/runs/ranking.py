"""The jobs of a sweep in the order of their scores: those that differ by their seeds alone are one row."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer_cli.runs.effects import Effect, as_json, as_text, effects
from trainer_cli.runs.record import GONE
from trainer_cli.runs.seeds import Lead, deviation, lead
from trainer_cli.runs.sweeps import DONE, Entry, SweepRecord, score_of

SEEDS = ("args.seed", "args.data_seed")
"""Axes that are folded: they are no choice between settings."""


@dataclass(frozen=True)
class Result:
    """What a job came to.

    `status` is its run's, or waiting where it has none; `metric` is what it is scored by, `score` None where
    that is no number. `others` are the further scores of the model that it kept, `cause` says in a line why
    it does not count. `directory` is below the sweep's; `asked` is whether the last command named the job.
    """

    number: int
    values: dict[str, Any]
    words: list[str]
    directory: str
    asked: bool
    status: str
    metric: str | None
    greater_is_better: bool
    score: float | None
    others: dict[str, float]
    cause: str | None

    @property
    def counts(self) -> float | None:
        """The score to rank by: that of a run which came to its end."""
        return self.score if self.status == "finished" else None

    @property
    def setting(self) -> dict[str, Any]:
        """Its values, less the seeds."""
        return {key: value for key, value in self.values.items() if key not in SEEDS}

    @property
    def seeds(self) -> dict[str, Any]:
        """The seeds among its values."""
        return {key: value for key, value in self.values.items() if key in SEEDS}


@dataclass(frozen=True)
class Group:
    """Jobs that differ by their seeds alone.

    `mean` and `sd` are those of the `n` scores that its jobs have; `best` is the number of the job with the
    best one, `behind` how far the winner is ahead of the group. `others` are the means of the further scores.
    """

    rank: int | None
    setting: dict[str, Any]
    mean: float | None
    sd: float | None
    n: int
    jobs: list[int]
    statuses: dict[str, int]
    best: int | None
    best_score: float | None
    others: dict[str, float]
    behind: Lead | None = None


@dataclass(frozen=True)
class Ranking:
    """All groups that are scored by one metric, best first; those without a score come last.

    `metric` is None where nothing was scored.
    """

    metric: str | None
    greater_is_better: bool
    groups: list[Group]
    effects: list[Effect]

    @property
    def winner(self) -> Group | None:
        """The group of the best mean."""
        return self.groups[0] if self.groups and self.groups[0].rank == 1 else None


def results(sweep: SweepRecord) -> list[Result]:
    """What every job of the sweep came to, by number."""
    asked = set(sweep.fields["asked"])
    return sorted(
        (result(sweep, entry, entry.id in asked) for entry in sweep.entries), key=lambda one: one.number
    )


def result(sweep: SweepRecord, entry: Entry, asked: bool) -> Result:
    """What a job came to, by its run.json."""
    record = sweep.record(entry)
    fields: Mapping[str, Any] = {} if record is None else record.fields
    metric = fields.get("metric") or {}
    name, score = metric.get("name"), score_of(fields)
    status = "waiting" if record is None else record.status
    cause = why_not(fields, status)
    if status not in DONE and entry.id in sweep.fields.get("refused", {}):
        status, cause = "failed", sweep.fields["refused"][entry.id]
    others = {
        other: value
        for other, value in (fields.get("results") or {}).items()
        if other.startswith("eval/") and other != name and value is not None and math.isfinite(value)
    }
    return Result(
        entry.number,
        entry.values,
        entry.words,
        entry.directory,
        asked,
        status,
        name,
        bool(metric.get("greater_is_better")),
        score if score is not None and math.isfinite(score) else None,
        others,
        cause,
    )


def why_not(fields: Mapping[str, Any], status: str) -> str | None:
    """Why a run does not count, in a line; None where it does, or has not ended."""
    if status == "finished":
        name, score = (fields.get("metric") or {}).get("name"), score_of(fields)
        if name is None or (score is not None and math.isfinite(score)):
            return None
        was_evaluated = name in (fields.get("results") or {})
        return f"its {short(name)} " + ("is not finite" if was_evaluated else "was not evaluated")
    if status == "failed":
        return fields.get("error") or GONE
    return fields.get("error") or fields.get("stopped")


def rankings(jobs: Sequence[Result]) -> list[Ranking]:
    """A ranking for each metric, as unlike numbers have no order."""
    folded: dict[str, list[Result]] = {}
    for job in jobs:
        folded.setdefault(as_json(job.setting), []).append(job)
    by_metric: dict[str | None, list[list[Result]]] = {}
    for same in folded.values():
        by_metric.setdefault(metric_of(same), []).append(same)
    if len(by_metric) == 2 and None in by_metric:  # what failed before it said how it is scored
        unscored = by_metric.pop(None)
        (known,) = by_metric.values()
        known += unscored
    return [ranking(metric, groups) for metric, groups in by_metric.items()]


def metric_of(jobs: Sequence[Result]) -> str | None:
    """What the jobs of a group are scored by; None where none of them says so."""
    return next((job.metric for job in jobs if job.metric is not None), None)


def ranking(metric: str | None, groups: Sequence[Sequence[Result]]) -> Ranking:
    """The groups in the order of their mean scores; of equal ones the one with the lower job first."""
    jobs = [job for group in groups for job in group]
    greater = any(job.greater_is_better for job in jobs if job.metric is not None)
    sign = -1 if greater else 1

    def place(group: Group) -> tuple[float, int]:
        return math.inf if group.mean is None else sign * group.mean, min(group.jobs)

    members = {min(job.number for job in same): same for same in groups}
    ordered = sorted((fold(same, greater) for same in groups), key=place)
    scores = [[job.counts for job in members[min(group.jobs)] if job.counts is not None] for group in ordered]
    ranked = [
        replace(
            group,
            rank=None if group.mean is None else place_of + 1,
            behind=lead(scores[0], own) if place_of and own else None,
        )
        for place_of, (group, own) in enumerate(zip(ordered, scores, strict=True))
    ]
    best = ranked[0].setting if ranked and ranked[0].rank else None
    axes = list(dict.fromkeys(key for job in jobs for key in job.setting))
    trials = [(job.values, job.counts) for job in jobs]
    return Ranking(metric, greater, ranked, effects(trials, axes, best) if metric else [])


def fold(jobs: Sequence[Result], greater: bool) -> Group:
    """Jobs that differ by their seeds as one row."""
    counted = [(job.counts, job) for job in jobs if job.counts is not None]
    scores = [score for score, _ in counted]
    best = (max if greater else min)(counted, key=lambda pair: pair[0], default=(None, None))
    names = dict.fromkeys(name for _, job in counted for name in job.others)
    statuses = [job.status for job in jobs]
    return Group(
        rank=None,
        setting=jobs[0].setting,
        mean=statistics.fmean(scores) if scores else None,
        sd=deviation(scores),
        n=len(scores),
        jobs=[job.number for job in jobs],
        statuses={status: statuses.count(status) for status in dict.fromkeys(statuses)},
        best=best[1].number if best[1] is not None else None,
        best_score=best[0],
        others={
            name: statistics.fmean([job.others[name] for _, job in counted if name in job.others])
            for name in names
        },
    )


def answer(ranking: Ranking, seeds: bool) -> str:
    """Which setting won, and by how much against the spread of the seeds; `seeds`: whether any were swept."""
    left = {"waiting", "running", "preempted"}
    so_far = any(group.statuses.keys() & left for group in ranking.groups)
    return ("so far, " if so_far else "") + verdict(ranking, seeds)


def verdict(ranking: Ranking, seeds: bool) -> str:
    """The answer, of all that there is."""
    winner = ranking.winner
    if winner is None or ranking.metric is None:
        return nothing_won(ranking)
    digits = Digits.of(ranking.groups)
    name = short(ranking.metric)
    first = f"{name} {digits.with_spread(winner)} ({count(winner.n)})"
    runner_up = ranking.groups[1] if len(ranking.groups) > 1 else None
    if runner_up is None or runner_up.behind is None or runner_up.mean is None:
        others = "no other setting came to a score" if runner_up else "there is nothing to compare it with"
        return f"{label(winner.setting)}: {first}; {others}"
    differing = {
        key: value
        for key, value in runner_up.setting.items()
        if as_json(value) != as_json(winner.setting[key])
    }
    behind, second = runner_up.behind, f"{label(differing)} ({digits.with_spread(runner_up)}"
    second += ")" if runner_up.n == winner.n else f", {count(runner_up.n)})"
    if behind.difference == 0:
        return f"{label(winner.setting)}: {first}, and equal to it {second}"
    ahead = f"{first}, {digits.text(behind.difference)} ahead of {second}"
    if behind.p is None:
        hint = "" if seeds else ": args.seed=1,2,3 would"
        return f"{label(winner.setting)} is best: {ahead}; one seed says nothing of the spread{hint}"
    if behind.ratio is None:
        return f"{label(winner.setting)} wins: {ahead}; the seeds make no difference"
    times = f"{behind.ratio:.1f} times the spread of the seeds"
    if behind.is_told:
        return f"{label(winner.setting)} wins: {ahead}: {times} ({chance(behind.p)})"
    seeds_each = count(max(winner.n, runner_up.n))
    return (
        f"{label(winner.setting)} is best: {ahead}: {times}, by which {seeds_each} cannot tell the two apart"
        f" ({chance(behind.p)})"
    )


def nothing_won(ranking: Ranking) -> str:
    """Why there is no winner."""
    if ranking.metric is None and any("finished" in group.statuses for group in ranking.groups):
        return (
            "nothing was evaluated, so there is nothing to rank by: args.stages=[train,eval] scores each job"
        )
    return "no job has come to a score"


def label(setting: Mapping[str, Any]) -> str:
    """A setting in a line."""
    return " ".join(f"{key}={as_text(value)}" for key, value in setting.items()) or "the one setting"


def short(metric: str) -> str:
    """A metric's name without what all of them share."""
    return metric.removeprefix("eval/")


def count(n: int) -> str:
    """So many seeds in words."""
    return "one seed" if n == 1 else f"{n} seeds"


def chance(p: float) -> str:
    """A probability as it is cited."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


@dataclass(frozen=True)
class Digits:
    """As many digits after the point as tell the settings apart; None: a float's own four."""

    places: int | None

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Digits:
        """Four digits of the greatest mean, and up to three more where the first two need them."""
        means = [abs(group.mean) for group in groups if group.mean is not None]
        greatest = max(means, default=0.0)
        if not 1e-3 <= greatest < 1e6:
            return cls(None)
        least = 3 - math.floor(math.log10(greatest))
        fine = [groups[0].sd or 0.0, *(group.behind.difference for group in groups[1:2] if group.behind)]
        needed = [1 - math.floor(math.log10(value)) for value in fine if value > 0]
        return cls(max(0, min(max([least, *needed]), least + 3)))

    def text(self, value: float) -> str:
        """A score, or a difference of two."""
        return f"{value:.4g}" if self.places is None else f"{value:.{self.places}f}"

    def with_spread(self, group: Group) -> str:
        """Mean and deviation of a group's scores."""
        if group.mean is None:
            return "-"
        return self.text(group.mean) + ("" if group.sd is None else f" ± {self.text(group.sd)}")
