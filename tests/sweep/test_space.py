"""What a search draws from."""

from __future__ import annotations

import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import axis_values, parse
from trainer_cli.sweep.space import Axis, Choices, Numbers, axis, combinations, corners, draw


def axes(*words: str) -> list[Axis]:
    parsed, problems = parse(words)
    assert not problems
    return [axis(override, axis_values(override, ())) for override in parsed]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=1,2", Choices("a", ("1", "2"))),
        ("+a=choice(x,'b c')", Choices("+a", ("x", r"b\ c"))),
        ("a=[1,2],[3]", Choices("a", ("[1,2]", "[3]"))),
        ("a=2,1,2", Choices("a", ("2", "1"))),
        ("a=interval(0,1)", Numbers("a", 0.0, 1.0)),
        ("a=int(interval(2,8))", Numbers("a", 2, 8, whole=True)),
        ("a=tag(log, interval(1e-5,1e-3))", Numbers("a", 1e-5, 1e-3, log=True)),
        ("a=tag(log, int(interval(1,64)))", Numbers("a", 1, 64, whole=True, log=True)),
        ("a=range(1,5)", Numbers("a", 1, 4, whole=True)),
        ("a=range(4,0,-1)", Numbers("a", 1, 4, whole=True)),
        ("a=range(2,9,3)", Numbers("a", 2, 8, whole=True, steps=(2, 5, 8))),
        ("a=range(0.0,0.75,0.25)", Numbers("a", 0.0, 0.5, steps=(0.0, 0.25, 0.5))),
        ("a=tag(log, range(1,9))", Numbers("a", 1, 8, whole=True, log=True)),
    ],
)
def test_an_axis_is_read_from_hydras_words(word: str, expected: Axis) -> None:
    assert axes(word) == [expected]


def test_a_glob_is_the_names_that_it_was_found_to_have() -> None:
    (override,) = OverridesParser.create().parse_overrides(["optim=glob(*)"])
    assert axis(override, ["adamw", "sgd"]) == Choices("optim", ("adamw", "sgd"))


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("a=interval(2,1)", "from the lower to the higher"),
        ("a=interval(0,inf)", "from the lower to the higher"),
        ("a=tag(log, interval(0,1))", "begins above 0"),
        ("a=range(3,3)", "names no values"),
    ],
)
def test_an_axis_that_nothing_can_be_drawn_from_is_refused(word: str, right: str) -> None:
    with pytest.raises(UserError) as caught:
        axes(word)
    assert word in caught.value.block() and right in caught.value.block()


def test_every_choice_and_both_ends_occur_in_the_corners() -> None:
    found = corners(axes("a=x,y,z", "b=interval(0,1)", "c=range(1,9)", "d=interval(2,2)"))
    assert found == [
        ["a=x", "b=0.0", "c=1", "d=2.0"],
        ["a=y", "b=1.0", "c=8", "d=2.0"],
        ["a=z", "b=0.0", "c=1", "d=2.0"],
    ]
    assert corners([]) == []


def test_jobs_are_counted() -> None:
    assert combinations(axes("a=1,2", "b=range(0,3)", "c=range(0,1,0.25)", "d=interval(1,1)")) == 24
    assert combinations(axes("a=1,2", "b=int(interval(1,3))")) == 6
    assert combinations(axes("a=1,2", "b=interval(1,3)")) is None


def test_where_there_are_few_each_is_drawn_once() -> None:
    few = axes("a=1,2,3", "b=x,y")
    drawn = draw(few, 100, seed=0)
    assert sorted(drawn) == [[f"a={a}", f"b={b}"] for a in (1, 2, 3) for b in "xy"]
    assert draw(few, 4, seed=0) == drawn[:4] and draw(few, 100, seed=1) != drawn


bounded = st.floats(-1e6, 1e6)
positive = st.floats(1e-9, 1e9)
whole = st.integers(-1000, 1000)
above_zero = st.integers(1, 100_000)


@st.composite
def numbers(draw: st.DrawFn) -> Numbers:
    """An axis of numbers of any kind."""
    kind = draw(st.sampled_from(["float", "log", "int", "log int", "range"]))
    if kind == "range":
        start, step = draw(bounded), draw(st.floats(1e-3, 10))
        steps = tuple(start + at * step for at in range(draw(st.integers(1, 30))))
        return Numbers("x", steps[0], steps[-1], steps=steps)
    of = {"float": bounded, "log": positive, "int": whole, "log int": above_zero}[kind]
    low, high = sorted([draw(of), draw(of)])
    return Numbers("x", low, high, whole="int" in kind, log="log" in kind)


@given(numbers(), st.floats(0, 1))
def test_a_number_is_within_its_bounds_and_one_of_the_axis(axis: Numbers, share: float) -> None:
    value = axis.at(share)
    assert axis.low <= value <= axis.high and axis.has(value)
    assert isinstance(value, int) == axis.whole
    assert all(axis.has(end) for end in axis.ends)


@given(numbers(), st.floats(0, 1))
def test_the_share_of_a_value_leads_back_to_it(axis: Numbers, share: float) -> None:
    value = axis.at(share)
    assert -1e-9 <= axis.share(value) <= 1 + 1e-9
    assert math.isclose(axis.at(axis.share(value)), value, rel_tol=1e-6, abs_tol=1e-6)


@given(numbers(), st.integers(0, 99))
def test_hydra_reads_the_very_number_back(axis: Numbers, seed: int) -> None:
    for (word,) in draw([axis], 3, seed):
        (override,) = OverridesParser.create().parse_overrides([word])
        assert axis.has(override.value())  # type: ignore[arg-type]


@given(st.lists(numbers(), min_size=1, max_size=3), st.integers(0, 99), st.integers(1, 8), st.integers(1, 8))
def test_more_trials_keep_the_first_ones(several: list[Numbers], seed: int, few: int, more: int) -> None:
    named = [Numbers(f"x{at}", *list(vars(axis).values())[1:]) for at, axis in enumerate(several)]
    drawn = draw(named, few + more, seed)
    assert draw(named, few, seed) == drawn[:few]
    assert len({tuple(words) for words in drawn}) == len(drawn) == min(few + more, combinations(named) or 99)


def test_an_axis_draws_the_same_whatever_stands_beside_it() -> None:
    alone = draw(axes("a=interval(0,1)"), 5, seed=3)
    beside = draw(axes("b=1,2", "a=interval(0,1)"), 5, seed=3)
    assert [words[1:] for words in beside] == alone


def of(word: str, trials: int) -> list[float]:
    return [float(words[0].partition("=")[2]) for words in draw(axes(word), trials, seed=0)]


def test_a_logarithmic_axis_has_as_many_in_each_decade() -> None:
    drawn = of("a=tag(log, interval(1e-6,1e-2))", 4000)
    decades = [math.floor(math.log10(value)) for value in drawn]
    assert all(abs(decades.count(decade) - 1000) < 100 for decade in (-6, -5, -4, -3))


def test_every_value_of_a_range_is_as_likely() -> None:
    (axis,) = axes("a=range(0,1,0.25)")
    found = [axis.at((at + 0.5) / 1000) for at in range(1000)]
    assert [found.count(value) for value in (0.0, 0.25, 0.5, 0.75)] == [250] * 4
    (axis,) = axes("a=int(interval(1,5))")
    found = [axis.at((at + 0.5) / 1000) for at in range(1000)]
    assert [found.count(value) for value in range(1, 6)] == [200] * 5
