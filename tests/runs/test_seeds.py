"""The comparison of two settings by their seeds, against scipy's."""

from __future__ import annotations

import math
import random
import statistics
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_cli.runs.seeds import CHANCE, Lead, deviation, lead, student

stats = pytest.importorskip("scipy.stats")

scores = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 6)), min_size=1, max_size=6)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 101])
def test_student_is_students(freedom: int) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 12.7, 1e3):
        assert student(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-12)
        assert student(-t, freedom) == student(t, freedom)


@pytest.mark.parametrize("freedom", [1, 2, 5, 6])
def test_student_is_a_probability_at_any_distance(freedom: int) -> None:
    found = [student(t, freedom) for t in (0.0, 1e-300, 1.0, 1e8, 1e300, math.inf)]
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert 0 <= found[-1] < 1e-15


@given(scores, scores)
@settings(max_examples=50)
def test_the_lead_is_students_test_of_two_means(first: list[float], second: list[float]) -> None:
    found = lead(first, second)
    assert found.difference == pytest.approx(abs(statistics.fmean(first) - statistics.fmean(second)))
    if len(first) + len(second) > 2 and found.spread and found.spread > 1e-6:
        with warnings.catch_warnings(action="ignore"):  # scipy's, where the scores of one are equal
            assert found.p == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=1e-9)


@given(scores, scores, st.sampled_from([-3.0, 1e-3, 1024.0]))
def test_neither_the_order_nor_the_unit_of_the_scores_tells_settings_apart(
    first: list[float], second: list[float], unit: float
) -> None:
    found = lead(first, second)
    assert lead(second, first) == found
    other = lead([unit * score for score in first], [unit * score for score in second])
    assert other.difference == pytest.approx(abs(unit) * found.difference, abs=1e-9)
    if found.p is not None and found.spread and found.spread > 1e-6:
        assert other.p == pytest.approx(found.p, abs=1e-6)


def test_equal_settings_are_rarely_told_apart() -> None:
    drawn, wrong = random.Random(0), 0
    for _ in range(2000):
        settings = sorted(([drawn.gauss(0, 1) for _ in range(3)] for _ in range(5)), key=statistics.fmean)
        wrong += lead(settings[-1], settings[-2]).is_told
    assert wrong / 2000 < 0.05


def test_two_settings_named_in_advance_are_wrongly_told_apart_as_often_as_it_says() -> None:
    drawn, wrong = random.Random(1), 0
    for _ in range(4000):
        wrong += lead(*([drawn.gauss(0, 1) for _ in range(3)] for _ in range(2))).is_told
    # Three standard deviations of such a count on either side.
    assert abs(wrong / 4000 - CHANCE) < 3 * math.sqrt(CHANCE * (1 - CHANCE) / 4000)


def test_one_seed_each_has_no_spread() -> None:
    assert lead([0.25], [0.75]) == Lead(0.5)
    assert not lead([0.25], [0.75]).is_told


def test_the_spread_of_one_setting_is_taken_for_the_other_that_has_one_seed() -> None:
    found = lead([1.0, 2.0, 3.0], [5.0])
    assert (found.difference, found.spread, found.ratio) == (3.0, 1.0, 3.0)
    assert found.p == pytest.approx(stats.ttest_ind([1.0, 2.0, 3.0], [5.0]).pvalue)


def test_where_the_seeds_change_nothing_any_difference_tells() -> None:
    assert lead([0.5, 0.5], [0.25, 0.25]) == Lead(0.25, 0.0, None, 0.0)
    assert lead([0.5, 0.5], [0.25, 0.25]).is_told
    assert lead([0.5, 0.5], [0.5]) == Lead(0.0, 0.0, None, 1.0)
    assert not lead([0.5, 0.5], [0.5]).is_told


@given(scores)
def test_the_deviation_is_the_samples(drawn: list[float]) -> None:
    found = deviation(drawn)
    if len(drawn) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(np.std(drawn, ddof=1)), abs=1e-9)


def test_scores_whose_squares_are_no_floats_are_compared_too() -> None:
    # The perplexity of a model that got worse: the exponential of a loss of some hundreds.
    first, second = [1e200, 2e200, 3e200], [5e200, 6e200, 7e200]
    found, small = lead(first, second), lead([1.0, 2.0, 3.0], [5.0, 6.0, 7.0])
    assert found.spread == pytest.approx(1e200)
    assert (found.ratio, found.p) == (pytest.approx(small.ratio), pytest.approx(small.p))
