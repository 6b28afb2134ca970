"""A stream in random order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.shuffled import Shuffled
from trainer_cli.data.streams import State


class Counting(IterableDataset[int]):
    """The numbers from 0; counts how many were read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reads = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.size):
            self.reads += 1
            yield number


class Placed(Counting):
    """The same, with a place and an epoch."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.epoch = 0
        self.begin = self.next = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> State:
        return {"next": self.next}

    def load_state_dict(self, state: State) -> None:
        self.begin = state["next"]

    def __iter__(self) -> Iterator[int]:
        begin, self.begin = self.begin, 0
        for number in range(begin, self.size):
            self.reads += 1
            self.next = number + 1
            yield number


def blocks(rows: list[int], size: int) -> list[list[int]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


@given(size=st.integers(0, 100), block=st.integers(1, 120), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_each_block_has_its_own_rows(size: int, block: int, seed: int, epoch: int) -> None:
    stream = Shuffled(Counting(size), block, seed)
    stream.set_epoch(epoch)
    rows = list(stream)
    assert [sorted(part) for part in blocks(rows, block)] == blocks([*range(size)], block)
    assert list(stream) == rows


def test_the_order_is_of_seed_epoch_and_block() -> None:
    orders = set()
    for seed in (0, 1):
        stream = Shuffled(Counting(300), 100, seed)
        for epoch in (0, 1):
            stream.set_epoch(epoch)
            orders |= {tuple(row % 100 for row in part) for part in blocks(list(stream), 100)}
    assert len(orders) == 12


@given(size=st.integers(1, 60), block=st.integers(1, 70), at=st.integers(0, 60), placed=st.booleans())
def test_it_goes_on_after_any_row(size: int, block: int, at: int, placed: bool) -> None:
    at = min(at, size)
    make: Any = Placed if placed else Counting
    whole = list(Shuffled(make(size), block))
    stream = Shuffled(make(size), block)
    rows = iter(stream)
    assert [next(rows) for _ in range(at)] == whole[:at]
    fresh = Shuffled(source := make(size), block)
    fresh.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert list(fresh) == whole[at:]
    again = at % block if at < size else 0
    assert source.reads == (size - at + again if placed else size)
    assert list(fresh) == whole  # a state counts for one pass


def test_the_stream_below_is_told_the_epoch() -> None:
    source = Placed(3)
    Shuffled(source, 2).set_epoch(5)
    assert source.epoch == 5
    Shuffled(Counting(3), 2).set_epoch(5)


@pytest.mark.parametrize(("size", "seed", "name"), [(3, 0, "buffer_size"), (2, 1, "seed")])
def test_a_place_in_another_order_is_none_in_this(size: int, seed: int, name: str) -> None:
    state = Shuffled(Counting(9), 2).state_dict()
    with pytest.raises(UserError, match=f"{name} is {size if name == 'buffer_size' else seed}, and the rows"):
        Shuffled(Counting(9), size, seed).load_state_dict(state)


def test_what_cannot_be_shuffled() -> None:
    class Rows(Dataset[int]):
        """No stream."""

    stream: Any = Rows()
    with pytest.raises(UserError, match="takes an IterableDataset, and Rows is none"):
        Shuffled(stream, 2)
    with pytest.raises(UserError, match="buffer_size=0"):
        Shuffled(Counting(9), 0)
