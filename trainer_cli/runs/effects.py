"""The effect of each axis of a sweep: what its values come to, over everything else."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 8
"""Numbers that are shown one by one; more of them are shown by quarters."""

Trial = tuple[dict[str, Any], float | None]
"""A job's values and its score."""


@dataclass(frozen=True)
class Level:
    """A value of an axis, or a range of them: the mean of the `n` scores among its `jobs` jobs."""

    label: str
    mean: float | None
    n: int
    jobs: int


@dataclass(frozen=True)
class Effect:
    """What an axis does to the score.

    `range` is the difference between the best and the worst mean; `correlation`, of an axis with many values,
    is Spearman's between value and score; `advice` says where a better value may lie.
    """

    key: str
    levels: list[Level]
    range: float | None
    correlation: float | None
    advice: str | None


def effects(trials: Sequence[Trial], axes: Sequence[str], best: dict[str, Any] | None) -> list[Effect]:
    """The effect of each axis that has several values; `best` are the winner's."""
    found = []
    for key in axes:
        values = distinct([trial[0].get(key) for trial in trials])
        if len(values) > 1:
            found.append(effect(trials, key, values, best))
    return found


def effect(trials: Sequence[Trial], key: str, values: list[Any], best: dict[str, Any] | None) -> Effect:
    """The effect of one axis with these values."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numeric:
        values = sorted(values)
    correlation, advice = None, None
    if numeric and len(values) > MOST_VALUES:
        levels = quarters(trials, key, values)
        scored = [(values[key], score) for values, score in trials if score is not None]
        correlation = spearman([value for value, _ in scored], [score for _, score in scored])
    else:
        levels = [level(trials, key, as_text(value), [value]) for value in values]
        if numeric and best is not None:
            advice = widen(key, values, best.get(key))
    means = [one.mean for one in levels if one.mean is not None]
    return Effect(key, levels, max(means) - min(means) if len(means) > 1 else None, correlation, advice)


def level(trials: Sequence[Trial], key: str, label: str, values: Sequence[Any]) -> Level:
    """The scores of the jobs that have one of these values."""
    among = {as_json(value) for value in values}
    scores = [score for own, score in trials if as_json(own.get(key)) in among]
    known = [score for score in scores if score is not None]
    return Level(label, statistics.fmean(known) if known else None, len(known), len(scores))


def quarters(trials: Sequence[Trial], key: str, values: Sequence[float]) -> list[Level]:
    """Four ranges with as many of the values in each."""
    edges = [len(values) * part // 4 for part in range(5)]
    ranges = [values[first:after] for first, after in itertools.pairwise(edges)]
    return [level(trials, key, f"{as_text(own[0])} … {as_text(own[-1])}", own) for own in ranges]


def widen(key: str, values: Sequence[float], best: Any) -> str | None:
    """What to try where the best value lies at an end of three or more; at 0 there is nothing beyond."""
    if len(values) < 3 or best not in (values[0], values[-1]) or best == values[0] == 0:
        return None
    end = "largest" if best == values[-1] else "smallest"
    return f"the best {key} is the {end} tried: widen the grid"


def spearman(values: Sequence[float], scores: Sequence[float]) -> float | None:
    """The correlation of their ranks; None where either does not vary."""
    if len(set(values)) < 2 or len(set(scores)) < 2:
        return None
    return statistics.correlation(ranks(values), ranks(scores))


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each in order of size; equal ones share the middle of theirs."""
    order = sorted(values)
    return [order.index(value) + (order.count(value) - 1) / 2 for value in values]


def distinct(values: Sequence[Any]) -> list[Any]:
    """The values that differ, in their order."""
    return list({as_json(value): value for value in values}.values())


def as_json(value: Any) -> str:
    """By what values are compared: true is not 1, and lists have no hash."""
    return json.dumps(value, sort_keys=True)


def as_text(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, float) and len(repr(value)) > 8:
        return f"{value:.4g}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{','.join(map(as_text, value))}]"
    return str(value)
