"""Shares of a whole as counts, and that epochs asked for are epochs trained."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from trainer_cli.counts import START, Epochs, Position, in_updates, share_of


@pytest.mark.parametrize(
    ("share", "whole", "count"),
    [
        (0.07, 100, 7),  # 7.000000000000001 as floats
        (0.14, 50, 7),
        (0.55, 100, 55),
        (0.1, 10, 1),
        (0.1, 11, 2),
        (1e-9, 10, 1),
        (0.0, 10, 0),
        (1.1, 10, 11),
    ],
)
def test_a_share_is_rounded_up_and_float_noise_is_not(share: float, whole: int, count: int) -> None:
    assert share_of(share, whole) == count


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_share_in_decimals_comes_to_what_they_say(millionths: int, whole: int) -> None:
    assert share_of(float(Decimal(millionths).scaleb(-6)), whole) == -(-millionths * whole // 10**6)


@pytest.mark.parametrize(
    ("amount", "total", "updates"),
    [
        (0, 100, 0),
        (0.0, 100, 0),
        (0.07, 100, 7),
        (0.06, 99, 6),
        (0.999, 10, 10),
        (1, 100, 1),
        (1.0, 100, 1),
        (250, 100, 250),
        (0.5, 0, 0),
    ],
)
def test_a_number_of_updates_below_one_is_a_share_of_all(amount: float, total: int, updates: int) -> None:
    assert in_updates(amount, total) == updates


@given(st.one_of(st.floats(0, 1), st.integers(0, 10_000), st.floats(1, 1e6)), st.integers(0, 10_000))
def test_updates_are_counted_as_transformers_does_but_for_float_noise(amount: float, total: int) -> None:
    theirs: Any = SimpleNamespace(warmup_steps=amount)
    found, expected = in_updates(amount, total), TrainingArguments.get_warmup_steps(theirs, total)
    noise = amount < 1 and abs(amount * total - round(amount * total)) < 1e-9 * max(total, 1)
    assert type(found) is int and (found == expected or (noise and abs(found - expected) == 1))
    if amount < 1:
        assert found <= total


def test_transformers_rounds_float_noise_up() -> None:
    """The difference that docs/hugging_face.md names."""
    theirs: Any = SimpleNamespace(warmup_steps=0.07)
    assert (in_updates(0.07, 100), TrainingArguments.get_warmup_steps(theirs, 100)) == (7, 8)


@pytest.mark.parametrize(
    ("epochs", "updates"), [(1.1, 11), (2.0, 20), (0.05, 1), (3.3, 33), (1000.1, 10_001), (2, 20)]
)
def test_epochs_of_ten_updates(epochs: float, updates: int) -> None:
    assert Epochs(95, 10, drop_last=False).total(epochs, START) == updates


def test_the_end_follows_from_what_is_left() -> None:
    twice = Epochs(200, 20, drop_last=False)
    assert twice.total(4, Position(updates=40, epoch=2, samples=0)) == 60
    assert Epochs(200, 5, drop_last=False).total(4, Position(40, 2, 0)) == 120
    assert twice.total(4, Position(updates=45, epoch=2, samples=50)) == 45 + 8 + 10
    assert twice.total(1, Position(40, 2, 0)) == 40  # fewer epochs than there were


def test_an_epoch_that_drops_its_last_rows_ends_where_no_batch_is_left() -> None:
    epochs = Epochs(45, 10, drop_last=True)
    assert (epochs.updates, epochs.end(0)) == (4, 40)
    assert (epochs.updates_from(16), epochs.end(16)) == (2, 36)
    assert (epochs.updates_from(28), epochs.end(28)) == (1, 38)


class Run:
    """A run's position, moved as the loop moves it, and how often it trained on each sample of each epoch."""

    def __init__(self, size: int, drop_last: bool) -> None:
        self.size, self.drop_last = size, drop_last
        self.at = START
        self.seen: Counter[tuple[int, int]] = Counter()

    def train(self, epochs: float, batch: int, most: int | None = None) -> int:
        """To the end, or for so many updates; the total that was planned."""
        plan = Epochs(self.size, batch, self.drop_last)
        total = plan.total(epochs, self.at)
        while self.at.updates < total and most != 0:
            updates, epoch, samples = self.at.updates, self.at.epoch, self.at.samples
            if not plan.updates_from(samples):
                self.at = Position(updates, epoch + 1, 0)
                continue
            rows = range(samples, min(samples + batch, self.size))
            self.seen.update((epoch, row) for row in rows)
            self.at = Position(updates + 1, epoch, samples + len(rows))
            most = None if most is None else most - 1
            if not plan.updates_from(self.at.samples):
                self.at = Position(updates + 1, epoch + 1, 0)
        return total


sessions = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), max_size=6)


@given(st.integers(1, 150), st.integers(1, 5), sessions, st.integers(1, 40))
def test_epochs_asked_for_are_epochs_trained_under_any_batches(
    size: int, epochs: int, sessions: list[tuple[int, int]], last: int
) -> None:
    run = Run(size, drop_last=False)
    for batch, updates in sessions:
        run.train(epochs, batch, most=updates)
    run.train(epochs, last)
    assert (run.at.epoch, run.at.samples) == (epochs, 0)
    assert run.seen == Counter({(epoch, row): 1 for epoch in range(epochs) for row in range(size)})


@given(st.integers(40, 150), st.integers(1, 5), sessions, st.integers(1, 40))
def test_no_row_comes_twice_where_last_rows_are_dropped(
    size: int, epochs: int, sessions: list[tuple[int, int]], last: int
) -> None:
    run = Run(size, drop_last=True)
    for batch, updates in sessions:
        run.train(epochs, batch, most=updates)
    run.train(epochs, last)
    largest = max(last, *(batch for batch, _ in sessions)) if sessions else last
    counts = [sum((epoch, row) in run.seen for row in range(size)) for epoch in range(epochs)]
    assert set(run.seen.values()) == {1} and all(count > size - largest for count in counts)
    assert max(epoch for epoch, _ in run.seen) == epochs - 1


@given(st.integers(1, 150), st.integers(1, 400), sessions, st.integers(1, 40))
def test_a_part_of_an_epoch_is_trained_whole_and_no_batch_more(
    size: int, hundredths: int, sessions: list[tuple[int, int]], last: int
) -> None:
    epochs = hundredths / 100
    run = Run(size, drop_last=False)
    for batch, updates in sessions:
        run.train(epochs, batch, most=updates)
    run.train(epochs, last)
    asked = Fraction(hundredths, 100) * size
    largest = max(last, *(batch for batch, _ in sessions)) if sessions else last
    assert asked <= run.seen.total() < asked + 2 * largest


@given(st.integers(1, 150), st.integers(1, 400), st.integers(1, 40), st.integers(0, 700), st.booleans())
def test_an_unchanged_batch_leaves_the_total_as_it_was(
    size: int, hundredths: int, batch: int, stop: int, drop_last: bool
) -> None:
    plan = Epochs(size, batch, drop_last)
    if not plan.updates:
        return
    run = Run(size, drop_last)
    total = run.train(hundredths / 100, batch, most=stop)
    assert total == math.ceil(Fraction(hundredths, 100) * plan.updates)
    assert run.train(hundredths / 100, batch) == total == run.at.updates
