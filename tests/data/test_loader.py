"""Batches for training and for evaluation."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainer_cli.data.loader import EvalLoader, TrainLoader
from trainer_cli.data.reader import Batch, Workers
from trainer_cli.data.sampler import SamplingStrategy


class Numbers(Dataset[dict[str, int]]):
    """Row i is i; each has a length."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lengths: Sequence[int] = [1 + (7 * index) % 23 for index in range(size)]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"x": index}


class ManyAtOnce(Numbers):
    """Reads a batch in one call, and says so in its rows."""

    def __getitems__(self, indices: list[int]) -> list[dict[str, int]]:
        return [{"x": 1000 + index} for index in indices]


class Counting(IterableDataset[dict[str, int]]):
    """The numbers from 0, or from 100 times the epoch where that is told."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.first = 0

    def set_epoch(self, epoch: int) -> None:
        self.first = 100 * epoch

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"x": self.first + index} for index in range(self.size))


def collate(rows: list[dict[str, int]]) -> Batch:
    return {"x": torch.tensor([row["x"] for row in rows])}


def train_loader(dataset: Any, **fields: Any) -> TrainLoader:
    values: dict[str, Any] = {
        "dataset": dataset,
        "collate": collate,
        "sampling": "random",
        "seed": 3,
        "per_device": 4,
        "accumulation": 1,
        "rank": 0,
        "world_size": 1,
        "drop_last": False,
        "workers": Workers(0),
    }
    return TrainLoader(**{**values, **fields})


def joined(lists: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def numbers(batch: Batch) -> list[int]:
    return batch["x"].tolist()


def global_updates(
    loader: TrainLoader, epoch: int = 0, start: int = 0, order_batch: int = 0
) -> list[list[int]]:
    """The real rows of each update over all processes, rank by rank, which must be in step."""
    ranks = [
        list(dataclasses.replace(loader, rank=rank).updates(epoch, start, order_batch or loader.global_batch))
        for rank in range(loader.world_size)
    ]
    updates = []
    for parts in zip(*ranks, strict=True):
        micro_batches = [part.micro_batches for part in parts]
        assert all(part.rows == parts[0].rows for part in parts)
        assert len({len(micros) for micros in micro_batches}) == 1
        rows = [
            row
            for step in zip(*micro_batches, strict=True)
            for micro in step
            if micro.real
            for row in numbers(micro.inputs)
        ]
        assert len(rows) == len(parts[0].rows)
        if loader.size is not None:
            assert [row % 1000 for row in rows] == parts[0].rows
        updates.append(rows)
    return updates


# Processes and accumulation that make 12 rows an update, with the rows per process that it takes.
SPLITS = [
    (world_size, accumulation)
    for world_size in (1, 2, 3)
    for accumulation in (1, 2, 4)
    if 12 % (world_size * accumulation) == 0
]


@pytest.mark.parametrize("dataset", [Numbers, Counting])
@pytest.mark.parametrize("sampling", ["random", "sequential", "group_by_length"])
@pytest.mark.parametrize("drop_last", [False, True])
@given(size=st.integers(1, 60), epoch=st.integers(0, 2))
def test_an_update_has_the_same_rows_however_it_is_split(
    dataset: Any, sampling: SamplingStrategy, drop_last: bool, size: int, epoch: int
) -> None:
    alone = train_loader(dataset(size), per_device=12, sampling=sampling, drop_last=drop_last)
    expected = global_updates(alone, epoch)
    for world_size, accumulation in SPLITS:
        split = dataclasses.replace(
            alone,
            world_size=world_size,
            accumulation=accumulation,
            per_device=12 // (world_size * accumulation),
        )
        assert global_updates(split, epoch) == expected


@pytest.mark.parametrize("sampling", ["random", "sequential", "group_by_length"])
@given(
    size=st.integers(1, 50),
    start=st.integers(0, 50),
    world_size=st.integers(1, 3),
    accumulation=st.integers(1, 3),
)
def test_from_any_position_exactly_the_rest_comes(
    sampling: SamplingStrategy, size: int, start: int, world_size: int, accumulation: int
) -> None:
    loader = train_loader(
        Numbers(size), sampling=sampling, world_size=world_size, accumulation=accumulation, per_device=2
    )
    all_rows = joined(global_updates(loader, epoch=1, order_batch=8))
    rest = global_updates(loader, epoch=1, start=start, order_batch=8)
    assert joined(rest) == all_rows[start:]
    if start % loader.global_batch == 0:
        whole = global_updates(loader, epoch=1, order_batch=8)
        assert rest == whole[start // loader.global_batch :]


@given(size=st.integers(1, 50), start=st.integers(0, 50), world_size=st.integers(1, 3))
def test_a_stream_goes_on_from_any_position(size: int, start: int, world_size: int) -> None:
    loader = train_loader(Counting(size), world_size=world_size)
    assert joined(global_updates(loader, start=start)) == list(range(start, size))


@pytest.mark.parametrize("dataset", [Numbers(21), Counting(21)], ids=["rows", "stream"])
def test_drop_last_leaves_out_the_short_update(dataset: Any) -> None:
    loader = train_loader(dataset, per_device=2, world_size=2, accumulation=2, drop_last=True)
    assert [len(rows) for rows in global_updates(loader)] == [8, 8]
    assert [len(rows) for rows in global_updates(loader, start=8)] == [8]
    whole = dataclasses.replace(loader, drop_last=False)
    assert [len(rows) for rows in global_updates(whole)] == [8, 8, 5]


@given(size=st.integers(1, 50), start=st.integers(0, 50))
def test_only_full_updates_come_from_any_position(size: int, start: int) -> None:
    loader = train_loader(Numbers(size), per_device=8, sampling="sequential", drop_last=True)
    updates = global_updates(loader, start=start)
    assert [len(rows) for rows in updates] == [8] * (max(size - start, 0) // 8)
    assert joined(updates) == list(range(start, start + 8 * len(updates)))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_update_takes_no_longer_where_more_come_after_it(workers: int) -> None:
    class Endless(Numbers):
        def __init__(self) -> None:
            self.size = 10**15

    loader = train_loader(Endless(), sampling="sequential", workers=Workers(workers))
    update = next(loader.updates(0, 10**14, 4))
    assert update.rows == numbers(update.micro_batches[0].inputs) == [10**14 + row for row in range(4)]


@given(
    size=st.integers(1, 60),
    per_device=st.integers(1, 5),
    world_size=st.integers(1, 3),
    drop_last=st.booleans(),
)
def test_the_counts_are_those_of_what_comes(
    size: int, per_device: int, world_size: int, drop_last: bool
) -> None:
    loader = train_loader(
        Numbers(size), per_device=per_device, world_size=world_size, accumulation=2, drop_last=drop_last
    )
    updates = global_updates(loader)
    assert loader.updates_per_epoch == len(updates)
    assert loader.epochs is not None and loader.epochs.end(0) == sum(map(len, updates))
    for start in (1, size // 2, size):  # as another batch size may have left it
        rest = [batch.rows for batch in loader.updates(0, start, loader.global_batch)]
        assert loader.epochs.updates_from(start) == len(rest)
        assert loader.epochs.end(start) == start + sum(map(len, rest))


@pytest.mark.parametrize("drop_last", [False, True])
@given(size=st.integers(1, 30), start=st.integers(0, 30), world_size=st.integers(1, 2))
def test_the_rows_of_a_stream_are_its_positions(
    drop_last: bool, size: int, start: int, world_size: int
) -> None:
    loader = train_loader(Counting(size), world_size=world_size, drop_last=drop_last)
    updates = list(loader.updates(1, start, 0))
    assert [row + 100 for update in updates for row in update.rows] == joined(
        global_updates(loader, epoch=1, start=start)
    )


@pytest.mark.parametrize("dataset", [Numbers(29), Counting(29)], ids=["rows", "stream"])
@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
@pytest.mark.parametrize("micro", [1, 2, 3, 4, 6, 12])
def test_smaller_micro_batches_make_the_same_updates(
    dataset: Any, sampling: SamplingStrategy, micro: int
) -> None:
    loader = train_loader(dataset, per_device=6, accumulation=2, world_size=2, sampling=sampling)
    smaller = loader.with_micro_batch(micro)
    assert (smaller.per_device, smaller.accumulation) == (micro, 12 // micro)
    assert smaller.global_batch == loader.global_batch
    assert [{*rows} for rows in global_updates(smaller)] == [{*rows} for rows in global_updates(loader)]
    for update in smaller.updates(0, 0, smaller.global_batch):
        assert all(len(numbers(part.inputs)) <= micro for part in update.micro_batches)


@pytest.mark.parametrize("micro", [-1, 0, 5, 24])
def test_micro_batches_that_do_not_fill_the_batch_are_refused(micro: int) -> None:
    with pytest.raises(ValueError, match="cannot be cut into micro-batches"):
        train_loader(Numbers(29), per_device=6, accumulation=2).with_micro_batch(micro)


def test_a_stream_has_no_counts() -> None:
    loader = train_loader(Counting(9))
    assert (loader.size, loader.epochs, loader.updates_per_epoch) == (None, None, None)


def test_a_process_without_a_row_gets_a_stand_in() -> None:
    loader = train_loader(Numbers(2), world_size=3, sampling="sequential")
    seen = []
    for rank in range(3):
        (update,) = dataclasses.replace(loader, rank=rank).updates(0, 0, 12)
        (micro,) = update.micro_batches
        seen.append((update.rows, numbers(micro.inputs), micro.real))
    assert seen == [([0, 1], [0], True), ([0, 1], [1], True), ([0, 1], [0], False)]


def test_a_dataset_that_reads_many_rows_at_once_is_asked_so() -> None:
    (update,) = train_loader(ManyAtOnce(4), sampling="sequential").updates(0, 0, 4)
    assert numbers(update.micro_batches[0].inputs) == [1000, 1001, 1002, 1003]


def test_a_stream_that_wants_the_epoch_is_told_it() -> None:
    assert global_updates(train_loader(Counting(4)), epoch=2) == [[200, 201, 202, 203]]


def test_an_error_in_a_row_names_the_rows() -> None:
    class Broken(Numbers):
        def __getitem__(self, index: int) -> dict[str, int]:
            raise KeyError("text")

    with pytest.raises(KeyError) as caught:
        list(train_loader(Broken(6), sampling="sequential").updates(0, 0, 4))
    assert caught.value.__notes__ == ["while reading rows [0, 1, 2, 3] of the data"]


def test_reading_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    for dataset in (Numbers(9), Counting(9)):
        list(train_loader(dataset).updates(0, 0, 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dataset", [Numbers(23), ManyAtOnce(23), Counting(23)], ids=["rows", "many", "stream"]
)
@pytest.mark.parametrize("start", [0, 8])
def test_workers_change_neither_batches_nor_random_numbers(dataset: Any, start: int) -> None:
    loader = train_loader(dataset, world_size=2, accumulation=2)
    ahead = dataclasses.replace(loader, workers=Workers(2, prefetch=2))
    before = torch.get_rng_state()
    assert global_updates(ahead, start=start) == global_updates(loader, start=start)
    assert torch.equal(torch.get_rng_state(), before)


def eval_loader(dataset: Any, rank: int = 0, world_size: int = 1, **fields: Any) -> EvalLoader:
    return EvalLoader(
        **{
            "dataset": dataset,
            "collate": collate,
            "seed": 3,
            "per_device": 4,
            "rank": rank,
            "world_size": world_size,
            "workers": Workers(0),
            **fields,
        }
    )


@given(
    size=st.integers(0, 60),
    per_device=st.integers(1, 9),
    world_size=st.integers(1, 4),
    keep_order=st.booleans(),
    stream=st.booleans(),
)
def test_every_row_is_evaluated_once_over_all_processes(
    size: int, per_device: int, world_size: int, keep_order: bool, stream: bool
) -> None:
    dataset: Any = Counting(size) if stream else Numbers(size)
    seen: list[int] = []
    for rank in range(world_size):
        loader = eval_loader(dataset, rank, world_size, per_device=per_device, keep_order=keep_order)
        batches = [numbers(batch) for batch in loader]
        assert loader.batches in (None, len(batches))
        assert (loader.batches is None) == stream
        assert all(len(batch) == per_device for batch in batches[:-1])
        seen += joined(batches)
    assert sorted(seen) == list(range(size))


def test_long_rows_are_evaluated_first_by_every_process() -> None:
    dataset = Numbers(30)
    of_ranks = [
        [dataset.lengths[row] for batch in eval_loader(dataset, rank, 2) for row in numbers(batch)]
        for rank in range(2)
    ]
    for lengths in of_ranks:
        assert lengths == sorted(lengths, reverse=True)
    assert abs(sum(of_ranks[0]) - sum(of_ranks[1])) <= max(dataset.lengths)


def test_rows_keep_their_order_where_that_is_asked_for() -> None:
    of_ranks = [
        [row for batch in eval_loader(Numbers(11), rank, 2, keep_order=True) for row in numbers(batch)]
        for rank in range(2)
    ]
    assert of_ranks == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9]]


def test_evaluation_can_be_repeated() -> None:
    loader = eval_loader(Numbers(9))
    assert [numbers(batch) for batch in loader] == [numbers(batch) for batch in loader]


@pytest.mark.slow
def test_workers_change_nothing_in_evaluation() -> None:
    before = torch.get_rng_state()
    plain = [numbers(batch) for batch in eval_loader(Numbers(19))]
    ahead = [numbers(batch) for batch in eval_loader(Numbers(19), workers=Workers(2))]
    assert ahead == plain
    assert torch.equal(torch.get_rng_state(), before)


def test_tensors_of_rows_are_those_of_the_dataset() -> None:
    class Points(Dataset[dict[str, Tensor]]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return {"x": torch.tensor(math.pi * index)}

    (batch,) = eval_loader(Points(), collate=lambda rows: {"x": torch.stack([row["x"] for row in rows])})
    assert batch["x"].tolist() == pytest.approx([0, math.pi, 2 * math.pi])
