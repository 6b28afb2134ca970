"""The order of an epoch, and each process's share of a batch."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.data.sampler import SamplingStrategy, epoch_order, shares

STRATEGIES: list[SamplingStrategy] = ["random", "sequential", "group_by_length"]
SIZES = st.integers(0, 300)
BATCHES = st.integers(1, 40)
SEEDS = st.integers(0, 2**31)


def some_lengths(size: int) -> list[int]:
    draw = random.Random(size)
    return [draw.randint(1, 100) for _ in range(size)]


def cut(order: list[int], batch: int) -> list[list[int]]:
    return [order[at : at + batch] for at in range(0, len(order), batch)]


@given(strategy=st.sampled_from(STRATEGIES), size=SIZES, seed=SEEDS, epoch=st.integers(0, 5), batch=BATCHES)
def test_every_order_has_each_sample_once(
    strategy: SamplingStrategy, size: int, seed: int, epoch: int, batch: int
) -> None:
    order = epoch_order(strategy, size, seed, epoch, batch, some_lengths(size))
    assert sorted(order) == list(range(size))


@given(strategy=st.sampled_from(STRATEGIES), seed=SEEDS, epoch=st.integers(0, 5), batch=BATCHES)
def test_an_order_is_a_function_of_seed_and_epoch(
    strategy: SamplingStrategy, seed: int, epoch: int, batch: int
) -> None:
    lengths = some_lengths(100)
    first = epoch_order(strategy, 100, seed, epoch, batch, lengths)
    assert epoch_order(strategy, 100, seed, epoch, batch, lengths) == first


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_another_seed_or_epoch_gives_another_order(strategy: SamplingStrategy) -> None:
    orders = {
        tuple(epoch_order(strategy, 200, seed, epoch, 8, some_lengths(200)))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_random_order_does_not_depend_on_the_batch() -> None:
    assert epoch_order("random", 50, 1, 2, 4) == epoch_order("random", 50, 1, 2, 16)


@given(seed=SEEDS, epoch=st.integers(0, 3), batch=st.integers(4, 32))
def test_batches_grouped_by_length_have_little_padding(seed: int, epoch: int, batch: int) -> None:
    lengths = some_lengths(2000)

    def padding(strategy: SamplingStrategy) -> float:
        batches = cut(epoch_order(strategy, 2000, seed, epoch, batch, lengths), batch)
        padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)
        return padded / sum(lengths) - 1

    assert padding("group_by_length") < 0.1 < 0.4 < padding("random")


@given(size=st.integers(1, 300), seed=SEEDS, batch=BATCHES)
def test_the_first_batch_of_all_is_the_longest_of_the_full_ones(size: int, seed: int, batch: int) -> None:
    lengths = some_lengths(size)
    batches = cut(epoch_order("group_by_length", size, seed, 0, batch, lengths), batch)
    longest = [max(lengths[row] for row in rows) for rows in batches if len(rows) == batch]
    assert not longest or longest[0] == max(longest)


@given(size=st.integers(1, 300), seed=SEEDS, epoch=st.integers(0, 3), batch=BATCHES)
def test_only_the_last_batch_mixes_what_was_not_sorted_together(
    size: int, seed: int, epoch: int, batch: int
) -> None:
    lengths = some_lengths(size)
    for rows in cut(epoch_order("group_by_length", size, seed, epoch, batch, lengths), batch):
        of_rows = [lengths[row] for row in rows]
        assert of_rows == sorted(of_rows, reverse=True)


def test_grouping_needs_lengths() -> None:
    with pytest.raises(ValueError, match="needs the length of each sample"):
        epoch_order("group_by_length", 10, 0, 0, 2)


@given(total=st.integers(1, 200), per_device=st.integers(1, 9), world_size=st.integers(1, 5))
def test_shares_are_even_and_complete(total: int, per_device: int, world_size: int) -> None:
    micro_batches = shares(total, per_device, world_size)
    sizes = [size for micro_batch in micro_batches for size in micro_batch]
    assert all(len(micro_batch) == world_size for micro_batch in micro_batches)
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= per_device
    assert len(micro_batches) == -(-total // (per_device * world_size))


@given(accumulation=st.integers(1, 6), per_device=st.integers(1, 9), world_size=st.integers(1, 5))
def test_a_full_update_gives_every_process_its_batch(
    accumulation: int, per_device: int, world_size: int
) -> None:
    full = shares(accumulation * per_device * world_size, per_device, world_size)
    assert full == [[per_device] * world_size] * accumulation
