"""Curves: from rows to points, and from many points to few."""

from __future__ import annotations

import math
from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.runs.curves import LEAST, Curve, curve, curves, share, thinned

values = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]))


def made(numbers: list[float]) -> Curve:
    return curve(list(range(0, 3 * len(numbers), 3)), numbers)


def test_each_number_of_the_rows_has_a_curve() -> None:
    rows = [
        {"step": 1, "epoch": 0.5, "train/loss": 2.0, "note": "text"},
        {"step": 2, "epoch": 1.0, "train/loss": "nan", "train/tokens_seen": 5},
        {"step": 2, "epoch": 1.0, "eval/loss": "-inf", "eval/f1": None},
    ]
    found = curves(rows)
    assert list(found) == ["train/loss", "train/tokens_seen", "eval/loss"]
    assert list(found["train/loss"].steps) == [1, 2]
    assert found["train/loss"].values[0] == 2
    assert math.isnan(found["train/loss"].values[1])
    assert found["eval/loss"].values == array("d", [-math.inf])


VALUES = st.one_of(
    st.floats(allow_nan=False), st.integers(-9, 9), st.sampled_from(["inf", "text", None, True])
)
ROWS = st.lists(
    st.tuples(st.integers(0, 99), st.dictionaries(st.sampled_from("abc"), VALUES)).map(
        lambda row: {"step": row[0], **row[1]}
    ),
    max_size=30,
)


@given(ROWS)
def test_curves_are_what_the_rows_say_one_by_one(rows: list[dict[str, Any]]) -> None:
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for name in row.keys() - {"step"}:
            value = float("inf") if row[name] == "inf" else row[name]
            if type(value) in (int, float):
                expected.setdefault(name, []).append((row["step"], value))
    found = {name: list(zip(made.steps, made.values)) for name, made in curves(iter(rows)).items()}
    assert found == {name: sorted(points, key=lambda point: point[0]) for name, points in expected.items()}


def test_steps_that_come_twice_after_a_step_back_are_in_order() -> None:
    steps = [10, 20, 30, 20, 30]
    found = curves([{"step": step, "train/loss": float(place)} for place, step in enumerate(steps)])
    assert list(found["train/loss"].steps) == [10, 20, 20, 30, 30]
    assert list(found["train/loss"].values) == [0, 1, 3, 2, 4]


@given(st.lists(values, max_size=400), st.integers(5, 120))
def test_thinning_keeps_the_extremes_and_the_order(numbers: list[float], most: int) -> None:
    whole = made(numbers)
    thin = thinned(whole, most)
    points = list(zip(thin.steps, map(repr, thin.values), strict=True))
    assert len(points) <= most
    assert thin.rows == len(numbers)
    assert list(thin.steps) == sorted(set(thin.steps))
    assert set(points) <= set(zip(whole.steps, map(repr, whole.values), strict=True))
    finite = [value for value in numbers if math.isfinite(value)]
    if finite:
        assert {min(finite), max(finite)} <= set(thin.values)
    if numbers:
        assert (thin.steps[0], thin.steps[-1]) == (whole.steps[0], whole.steps[-1])
    assert all(map(math.isfinite, thin.values)) == all(map(math.isfinite, numbers))


@given(st.lists(st.floats(-1e6, 1e6), min_size=50, max_size=400), st.integers(5, 49))
def test_the_means_are_those_of_all_rows(numbers: list[float], most: int) -> None:
    means = [mean for _, mean in thinned(made(numbers), most).means]
    assert len(means) == max(1, (most - 2) // 3)
    assert min(numbers) - 1e-6 <= min(means) <= max(means) <= max(numbers) + 1e-6


def test_a_short_curve_stays_as_it_is() -> None:
    whole = made([1.0, 2.0])
    assert thinned(whole, 5) is whole
    assert not whole.means


@given(st.lists(st.integers(0, 10_000), max_size=50), st.integers(0, 100_000))
def test_curves_share_the_points(lengths: list[int], points: int) -> None:
    most = share(lengths, points)
    if most > LEAST:
        assert sum(min(length, most) for length in lengths) <= points


def test_short_curves_leave_their_points_to_long_ones() -> None:
    assert share([10, 10, 1000], 120) == 100
    assert share([10, 20], 1000) == 20
