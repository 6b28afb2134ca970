"""What each axis of a sweep does to the score, against numpy and scipy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.runs.effects import (
    MOST_VALUES,
    Level,
    Trial,
    as_json,
    as_text,
    distinct,
    effects,
    ranks,
    spearman,
)


def test_the_effect_of_an_axis_is_the_mean_over_the_others() -> None:
    rate = {1e-2: 0.3, 1e-3: 0.2, 1e-4: 0.1}
    trials: list[Trial] = []
    for optim in ("sgd", "adamw"):
        for lr, score in rate.items():
            for seed in (1, 2):
                values = {"optim": optim, "optim.lr": lr, "args.seed": seed}
                failed = optim == "sgd" and lr == 1e-2
                trials.append((values, None if failed else score + 0.01 * (optim == "adamw")))
    optim_effect, lr_effect = effects(trials, ["optim", "optim.lr"], {"optim": "adamw", "optim.lr": 1e-2})
    assert (optim_effect.key, [level.label for level in optim_effect.levels]) == ("optim", ["sgd", "adamw"])
    assert [(level.n, level.jobs) for level in optim_effect.levels] == [(4, 6), (6, 6)]
    assert [level.mean for level in optim_effect.levels] == pytest.approx([0.15, 0.21])
    assert optim_effect.advice is None
    assert [level.label for level in lr_effect.levels] == ["0.0001", "0.001", "0.01"]
    assert [level.mean for level in lr_effect.levels] == pytest.approx([0.105, 0.205, 0.31])
    assert lr_effect.range == pytest.approx(0.205)
    assert lr_effect.advice == "the best optim.lr is the largest tried: widen the grid"


def test_an_axis_of_one_value_has_no_effect() -> None:
    assert effects([({"a": 1, "b": 2}, 0.1), ({"a": 1, "b": 2}, 0.2)], ["a", "b"], None) == []


def test_where_all_that_have_a_value_failed_it_has_no_mean_and_alone_no_range() -> None:
    trials: list[Trial] = [({"a": "x"}, 1.0), ({"a": "y"}, None), ({"a": "y"}, None)]
    (effect,) = effects(trials, ["a"], {"a": "x"})
    assert effect.levels == [Level("x", 1.0, 1, 1), Level("y", None, 0, 2)]
    assert effect.range is None


@given(st.integers(2, 30), st.integers(1, 3), st.randoms())
def test_every_job_is_in_one_level_and_their_means_come_to_the_mean_of_all(
    size: int, seeds: int, drawn: random.Random
) -> None:
    rates = drawn.sample(range(1000), size)
    trials: list[Trial] = [
        ({"optim.lr": rate / 7}, drawn.choice([None, drawn.uniform(-1, 1)]))
        for rate in rates
        for _ in range(seeds)
    ]
    drawn.shuffle(trials)
    (effect,) = effects(trials, ["optim.lr"], None)
    assert len(effect.levels) == (size if size <= MOST_VALUES else 4)
    assert sum(level.jobs for level in effect.levels) == len(trials)
    scores = [score for _, score in trials if score is not None]
    assert sum(level.n for level in effect.levels) == len(scores)
    if scores:
        sums = [level.mean * level.n for level in effect.levels if level.mean is not None]
        assert sum(sums) / len(scores) == pytest.approx(float(np.mean(scores)), abs=1e-12)
    if size > MOST_VALUES:
        jobs = [level.jobs for level in effect.levels]
        assert max(jobs) - min(jobs) <= seeds


@pytest.mark.parametrize(
    ("values", "best", "end"),
    [
        ([1, 2, 3], 1, "smallest"),
        ([3, 2, 1], 1, "smallest"),
        ([1, 2, 3], 3, "largest"),
        ([1, 2, 3], 2, None),
        ([0, 1, 2], 0, None),
        ([-1, 0, 1], -1, "smallest"),
        ([1, 2], 2, None),
        ([1, 2, None], 2, None),
        ([False, True], True, None),
        (["1", "2", "3"], "3", None),
    ],
)
def test_a_grid_whose_best_value_lies_at_its_end_should_be_wider(
    values: list[Any], best: Any, end: str | None
) -> None:
    (effect,) = effects([({"a.b": value}, 1.0) for value in values], ["a.b"], {"a.b": best})
    assert effect.advice == (end and f"the best a.b is the {end} tried: widen the grid")


def test_an_axis_of_many_numbers_is_shown_by_quarters() -> None:
    trials = [({"optim.lr": value / 100}, None if value == 3 else -float(value)) for value in range(1, 13)]
    (effect,) = effects(trials, ["optim.lr"], {"optim.lr": 0.01})
    assert effect.levels == [
        Level("0.01 … 0.03", -1.5, 2, 3),
        Level("0.04 … 0.06", -5.0, 3, 3),
        Level("0.07 … 0.09", -8.0, 3, 3),
        Level("0.1 … 0.12", -11.0, 3, 3),
    ]
    assert effect.correlation == pytest.approx(-1)
    assert effect.advice is None


def test_many_names_are_shown_one_by_one() -> None:
    trials: list[Trial] = [({"model": f"m{number}"}, float(number)) for number in range(12)]
    (effect,) = effects(trials, ["model"], {"model": "m11"})
    assert [level.label for level in effect.levels] == [f"m{number}" for number in range(12)]
    assert (effect.range, effect.correlation) == (11.0, None)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=20), st.randoms())
def test_rank_correlation_is_spearmans(values: list[int], drawn: random.Random) -> None:
    stats = pytest.importorskip("scipy.stats")
    others = [drawn.randrange(6) for _ in values]
    found = spearman(values, others)
    if found is None:
        assert len(set(values)) == 1 or len(set(others)) == 1
    else:
        assert found == pytest.approx(stats.spearmanr(values, others).statistic)


@given(st.lists(st.integers(-3, 3) | st.floats(-3, 3), max_size=20))
def test_equal_values_share_the_middle_of_their_ranks(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert ranks(values) == [rank - 1 for rank in stats.rankdata(values)]


def test_values_are_told_apart_as_json_has_them() -> None:
    values = [1, True, "1", [1], [1], None, {"b": 1, "a": 2}, {"a": 2, "b": 1}, "1"]
    assert distinct(values) == [1, True, "1", [1], None, {"b": 1, "a": 2}]
    assert as_json({"b": 1, "a": 2}) == as_json({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-05, "1e-05"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.3333"),
        (123456789.123, "1.235e+08"),
        (0.123456, "0.123456"),
        (123456789, "123456789"),
        (True, "true"),
        (None, "null"),
        ("null", "null"),
        ([1, "a", [None]], "[1,a,[null]]"),
    ],
)
def test_a_value_in_few_characters(value: Any, text: str) -> None:
    assert as_text(value) == text
