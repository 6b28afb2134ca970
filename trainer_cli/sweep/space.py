"""What a search draws from: axes of choices and of numbers, and jobs drawn from them at random."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import where

Value = str | int | float


@dataclass(frozen=True)
class Choices:
    """One of several values, as they are written."""

    key: str
    values: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def ends(self) -> tuple[str, ...]:
        """The values that show whether all of them compose."""
        return self.values

    def at(self, share: float) -> str:
        """The value at a share from 0 up to 1 of them all, each of which has an equal part."""
        return self.values[at_most(self.count, share)]

    def has(self, value: Value) -> bool:
        """Whether it is one of them."""
        return value in self.values

    def word(self, value: Value) -> str:
        """The override that sets it."""
        return f"{self.key}={value}"


@dataclass(frozen=True)
class Numbers:
    """A number from `low` to `high`, both included: any one, a whole one, or one of a range's `steps`."""

    key: str
    low: float
    high: float
    whole: bool = False
    log: bool = False
    steps: tuple[float, ...] = ()

    @property
    def count(self) -> int | None:
        """How many values there are; None where they are without number."""
        if self.steps:
            return len(self.steps)
        if self.whole:
            return int(self.high - self.low) + 1
        return 1 if self.low == self.high else None

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that show whether all of them compose."""
        return tuple(dict.fromkeys((self.nearest(self.low), self.nearest(self.high))))

    @property
    def bounds(self) -> tuple[float, float]:
        """From where to where a number is drawn, for every value to have an equal part of it."""
        if self.steps:
            half = (self.high - self.low) / max(2 * len(self.steps) - 2, 1)
        else:
            half = 0.5 if self.whole else 0.0
        return self.low - half, self.high + half

    def at(self, share: float) -> int | float:
        """The value at a share from 0 to 1 of the way from the lowest to the highest."""
        low, high = self.bounds
        if self.log:
            return self.nearest(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
        return self.nearest(low + share * (high - low))

    def share(self, value: Value) -> float:
        """Where the value stands: what `at` is given for it."""
        (low, high), number = self.bounds, float(value)
        if low == high:
            return 0.5
        if self.log:
            return (math.log(number) - math.log(low)) / (math.log(high) - math.log(low))
        return (number - low) / (high - low)

    def nearest(self, number: float) -> int | float:
        """The value that is nearest to a number."""
        if self.steps:
            number = min(self.steps, key=lambda step: abs(step - number))
        number = min(max(number, self.low), self.high)
        return round(number) if self.whole else float(number)

    def has(self, value: Value) -> bool:
        """Whether it is one of them."""
        return not isinstance(value, str) and self.low <= value <= self.high and self.nearest(value) == value

    def word(self, value: Value) -> str:
        """The override that sets it, in as few digits as give it back."""
        return f"{self.key}={value!r}"


Axis = Choices | Numbers


def at_most(count: int, share: float) -> int:
    """The place of a share from 0 to 1 among so many."""
    return min(int(share * count), count - 1)


def axis(override: Override, values: Sequence[str]) -> Axis:
    """The axis of an override that is swept over; `values` are those that it names, none for an interval.

    Raises UserError for one that nothing can be drawn from.
    """
    key, swept = override.get_key_element(), override.value()
    if isinstance(swept, IntervalSweep):
        return interval(override, key, swept)
    if not values:
        raise UserError(f"{override.input_line} cannot be swept over: it names no values", where(override))
    if isinstance(swept, RangeSweep):
        whole = isinstance(swept.range(), range)
        steps = sorted(int(value) if whole else float(value) for value in values)
        every = whole and len(steps) == steps[-1] - steps[0] + 1
        log = "log" in swept.tags and steps[0] > 0
        return Numbers(key, steps[0], steps[-1], whole, log and every, () if every else tuple(steps))
    return Choices(key, tuple(dict.fromkeys(values)))


def interval(override: Override, key: str, swept: IntervalSweep) -> Numbers:
    """The axis of an interval; raises UserError for one that is empty, or has no logarithms."""
    low, high = swept.start, swept.end
    assert low is not None and high is not None
    right = ""
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        right = f"{key}=interval(LOW, HIGH), from the lower to the higher"
    elif "log" in swept.tags and low <= 0:
        right = "on a logarithmic scale an interval begins above 0"
    if right:
        raise UserError(f"{override.input_line}: nothing can be drawn from it", where(override), right)
    whole = isinstance(low, int) and isinstance(high, int)
    return Numbers(key, low, high, whole, "log" in swept.tags)


def combinations(axes: Sequence[Axis]) -> int | None:
    """How many jobs there can be; None where they are without number."""
    counts = [axis.count for axis in axes]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def corners(axes: Sequence[Axis]) -> list[list[str]]:
    """The words of a few jobs, in which every choice and both ends of the numbers occur."""
    longest = max((len(axis.ends) for axis in axes), default=0)
    return [[axis.word(axis.ends[at % len(axis.ends)]) for axis in axes] for at in range(longest)]


def draw(axes: Sequence[Axis], trials: int, seed: int) -> list[list[str]]:
    """The words of that many jobs, drawn at random; fewer where there are no more. No job occurs twice.

    A job is a function of the seed and its number: more of them begin with the same ones. An axis draws the
    same values whatever stands beside it.
    """
    words = (words_of(axes, values) for values in drawn(axes, seed))
    return [next(words) for _ in range(min(trials, combinations(axes) or trials))]


def drawn(axes: Sequence[Axis], seed: int) -> Iterator[list[Value]]:
    """Values of all axes drawn at random, never the same ones twice; ends when there are no more."""
    seen: set[tuple[Value, ...]] = set()
    limit, number = combinations(axes), 0
    while limit is None or len(seen) < limit:
        values = [axis.at(chance(seed, number, axis.key)) for axis in axes]
        number += 1
        if tuple(values) not in seen:
            seen.add(tuple(values))
            yield values


def chance(seed: int, number: int, name: str) -> float:
    """A number from 0 up to 1 that these three determine."""
    return random.Random(f"{seed} {number} {name}").random()


def words_of(axes: Sequence[Axis], values: Sequence[Value]) -> list[str]:
    """The overrides that set the axes to the values."""
    return [axis.word(value) for axis, value in zip(axes, values, strict=True)]
