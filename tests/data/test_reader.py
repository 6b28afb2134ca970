"""A sample is the same bits wherever it is read."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from trainer_cli.config.errors import UserError
from trainer_cli.data.collate import RowCollator
from trainer_cli.data.loader import EvalLoader, GlobalBatch, TrainLoader
from trainer_cli.data.randomness import seed_generators
from trainer_cli.data.reader import Batch, Reader, Workers


def noise(row: int) -> list[float]:
    """Numbers of a generator that depends on the row; every fourth row draws none."""
    draws = [
        lambda: [0.0, 0.0],
        lambda: [random.random(), random.gauss()],
        lambda: np.random.randn(2).tolist(),
        lambda: torch.randn(2, dtype=torch.float64).tolist(),
    ]
    return draws[row % 4]()


class Augmented(Dataset[dict[str, Tensor]]):
    """Rows that are drawn anew each time they are read; counts how often that is."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reads = [0] * size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.reads[index] += 1
        return {"row": torch.tensor(index), "noise": torch.tensor(noise(index), dtype=torch.float64)}


class AugmentedMany(Augmented):
    """The same rows, many in one call."""

    def __getitems__(self, indices: list[int]) -> list[dict[str, Tensor]]:
        return [self[index] for index in indices]


class Plain(Augmented):
    """Rows that are the same each time."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.reads[index] += 1
        return {"row": torch.tensor(index), "noise": torch.zeros(2, dtype=torch.float64)}


class AugmentedStream(IterableDataset[dict[str, Tensor]]):
    """The same rows through a shuffle buffer of three."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        buffer: list[int] = []
        for index in [*range(self.size), None, None, None]:
            if index is not None:
                buffer.append(index)
            if buffer and (index is None or len(buffer) == 3):
                row = buffer.pop(random.randrange(len(buffer)))
                yield {"row": torch.tensor(row), "noise": torch.tensor(noise(row), dtype=torch.float64)}


def masking(rows: list[dict[str, Tensor]]) -> Batch:
    """A batch that says what its collation drew."""
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    drawn = [random.random(), np.random.rand(), torch.rand((), dtype=torch.float64).item()]
    return {**batch, "mask": torch.tensor(drawn, dtype=torch.float64).expand(len(rows), 3)}


def loader(dataset: Any, **fields: Any) -> TrainLoader:
    values: dict[str, Any] = {
        "collate": masking,
        "sampling": "random",
        "seed": 3,
        "per_device": 4,
        "accumulation": 1,
        "rank": 0,
        "world_size": 1,
        "drop_last": False,
        "workers": Workers(0),
    }
    return TrainLoader(dataset, **{**values, **fields})


Sample = tuple[float, ...]


def of_batch(batch: Batch, name: str) -> dict[int, Sample]:
    return {row: tuple(values) for row, values in zip(batch["row"].tolist(), batch[name].tolist())}


def samples(loader: TrainLoader, epoch: int = 1, start: int = 0) -> dict[int, Sample]:
    """What each row drew, over all processes."""
    return {
        row: values
        for rank in range(loader.world_size)
        for update in dataclasses.replace(loader, rank=rank).updates(epoch, start, 12)
        for micro in update.micro_batches
        for row, values in of_batch(micro.inputs, "noise").items()
    }


def bits(updates: Iterator[GlobalBatch]) -> list[Any]:
    return [
        (update.rows, [{name: value.tolist() for name, value in micro.inputs.items()}])
        for update in updates
        for micro in update.micro_batches
    ]


@pytest.mark.parametrize("dataset", [Augmented, AugmentedMany])
@given(
    size=st.integers(1, 40),
    per_device=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    world_size=st.integers(1, 3),
    start=st.integers(0, 40),
)
def test_a_sample_is_a_function_of_seed_epoch_and_row(
    dataset: Any, size: int, per_device: int, accumulation: int, world_size: int, start: int
) -> None:
    expected = samples(loader(Augmented(size), sampling="sequential", per_device=7))
    assert [*expected] == [*range(size)]
    split = loader(dataset(size), per_device=per_device, accumulation=accumulation, world_size=world_size)
    assert samples(split) == expected
    rest = samples(split, start=start)
    assert rest.items() <= expected.items()
    assert len(rest) == max(size - start, 0)


def test_another_row_epoch_or_seed_draws_other_numbers() -> None:
    here = loader(Augmented(40))
    drawn = [samples(here, epoch=0), samples(here, epoch=1), samples(loader(Augmented(40), seed=4))]
    of_rows = [values for sample in drawn for row, values in sample.items() if row % 4]
    assert len({number for values in of_rows for number in values}) == 3 * 30 * 2


def test_the_first_row_to_draw_may_come_late() -> None:
    class Late(Augmented):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return super().__getitem__(index if index > 20 else 0)

    expected = samples(loader(Late(30), sampling="sequential"))
    assert samples(loader(Late(30), sampling="sequential"), start=24).items() <= expected.items()
    assert samples(loader(Late(30), per_device=9)) == expected


@given(size=st.integers(1, 40), step=st.integers(0, 9), accumulation=st.integers(1, 3))
def test_what_a_collator_draws_goes_on_from_any_step(size: int, step: int, accumulation: int) -> None:
    here = loader(Plain(size), accumulation=accumulation)
    whole = bits(here.updates(2, 0, 12))
    rest = bits(here.updates(2, step * here.global_batch, 12))
    assert rest == whole[len(whole) - len(rest) :]
    masks = {micro["mask"][0][0] for _, micros in whole for micro in micros}
    assert len(masks) == len(whole)


def test_a_collator_draws_the_same_whether_the_rows_drew_or_not() -> None:
    drawn = [
        [update.micro_batches[0].inputs["mask"].tolist() for update in loader(dataset).updates(0, 0, 4)]
        for dataset in (Plain(20), Augmented(20))
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("dataset", [Plain, Augmented, AugmentedStream])
def test_dropout_sees_the_numbers_that_it_would_see_without_data(dataset: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(12).tolist()
    torch.manual_seed(5)
    evaluation = EvalLoader(dataset(12), masking, 3, 4, 0, 1, Workers(0))
    seen = []
    for _ in loader(dataset(12)).updates(0, 0, 4):
        seen.append(torch.rand(1).item())
        for _ in evaluation:
            seen.append(torch.rand(1).item())
    assert seen == expected


@pytest.mark.parametrize(
    ("dataset", "collate", "first"),
    [(Plain, default_collate, 1), (Plain, masking, 2), (Augmented, default_collate, 2)],
)
def test_only_data_that_draws_is_read_again_and_only_once(dataset: Any, collate: Any, first: int) -> None:
    data = dataset(12)
    list(loader(data, collate=collate, sampling="sequential").updates(0, 0, 4))
    assert data.reads == [first] * 4 + [1] * 8


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [Plain, Augmented, AugmentedStream])
def test_a_model_draws_the_same_with_workers(dataset: Any) -> None:
    def drawn(workers: int) -> list[Any]:
        here = loader(dataset(30), workers=Workers(workers))
        seed_generators(5)
        return [[random.random(), np.random.randn(), torch.rand(1).item()] for _ in here.updates(1, 0, 4)]

    assert drawn(1) == drawn(0)
    assert len({numbers[0] for numbers in drawn(0)}) == 8


@pytest.mark.parametrize("dataset", [Augmented, AugmentedStream])
def test_evaluations_draw_the_same_each_time(dataset: Any) -> None:
    evaluation = EvalLoader(dataset(11), masking, 3, 4, 0, 1, Workers(0))
    first, second = ([{n: v.tolist() for n, v in batch.items()} for batch in evaluation] for _ in "ab")
    assert first == second


@given(
    size=st.integers(1, 40),
    step=st.integers(0, 6),
    split=st.sampled_from([(12, 1, 1), (4, 3, 1), (2, 2, 3)]),
)
def test_a_stream_goes_on_with_the_samples_that_would_have_come(
    size: int, step: int, split: tuple[int, int, int]
) -> None:
    per_device, accumulation, world_size = split
    whole = samples(loader(AugmentedStream(size), per_device=12))
    here = loader(
        AugmentedStream(size), per_device=per_device, accumulation=accumulation, world_size=world_size
    )
    rest = samples(here, start=12 * step)
    assert [*whole.items()][12 * step :] == [(row, whole[row]) for row in whole if row in rest]
    assert rest.items() <= whole.items()
    updates = bits(here.updates(1, 0, 12))
    resumed = bits(here.updates(1, 12 * step, 12))
    assert resumed == updates[len(updates) - len(resumed) :]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [Workers(1), Workers(2, prefetch=3), Workers(2, start_method="spawn")])
@pytest.mark.parametrize("dataset", [Augmented, AugmentedMany, Plain, AugmentedStream])
def test_workers_draw_what_the_training_process_would(dataset: Any, workers: Workers) -> None:
    here = loader(dataset(30), accumulation=2)
    ahead = dataclasses.replace(here, workers=workers)
    for start in (0, 8):
        assert bits(ahead.updates(1, start, 8)) == bits(here.updates(1, start, 8))
    evaluation = EvalLoader(dataset(11), masking, 3, 4, 1, 2, Workers(0))
    expected = [{n: v.tolist() for n, v in batch.items()} for batch in evaluation]
    seen = [
        {n: v.tolist() for n, v in batch.items()}
        for batch in dataclasses.replace(evaluation, workers=workers)
    ]
    assert seen == expected


@pytest.mark.slow
def test_an_error_in_a_worker_names_the_rows() -> None:
    broken = Plain(6)
    broken.reads = []
    with pytest.raises(IndexError, match=r"while reading rows \[0, 1, 2, 3\] of the data"):
        list(loader(broken, sampling="sequential", workers=Workers(1)).updates(0, 0, 4))


@pytest.mark.slow
def test_data_that_cannot_be_sent_to_a_worker_is_an_error_of_the_user() -> None:
    ahead = loader(Plain(6), collate=lambda rows: masking(rows), workers=Workers(1, start_method="spawn"))
    with pytest.raises(UserError, match="the data cannot be sent to worker processes") as caught:
        next(ahead.updates(0, 0, 4))
    assert "dataloader_multiprocessing_context=fork" in caught.value.block()


def test_a_dataset_that_ends_too_early_does_not_end_the_evaluation() -> None:
    class Exhausted(Plain):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(EvalLoader(Exhausted(3), masking, 3, 4, 0, 1, Workers(0)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory is for a GPU")
@pytest.mark.parametrize("dataset", [Plain, AugmentedStream])
@pytest.mark.parametrize("count", [0, 1])
def test_batches_come_page_locked(dataset: Any, count: int) -> None:
    here = loader(dataset(9))
    pinned = dataclasses.replace(here, workers=Workers(count, pin_memory=True))
    for update in pinned.updates(0, 0, 4):
        assert all(value.is_pinned() for value in update.micro_batches[0].inputs.values())
    assert bits(pinned.updates(0, 0, 4)) == bits(here.updates(0, 0, 4))


def test_a_reader_is_a_dataset_of_batches() -> None:
    batch = Reader(Plain(5), masking, seed=0, epoch=0)[[4, 2]]
    assert batch["row"].tolist() == [4, 2]


class Ragged(Dataset[dict[str, Tensor]]):
    """Rows of which one is longer."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.ones(3 if index == 4 else 2)}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_row_that_does_not_fit_is_named_by_its_number_also_by_a_worker(workers: int) -> None:
    reader = Reader(Ragged(), RowCollator(), 0, 0)
    batches = Workers(workers).batches(reader, [[0, 1], [5, 4]])
    assert next(batches)["x"].shape == (2, 2)
    with pytest.raises(UserError) as caught:
        next(batches)
    assert caught.value.block() == (
        "error: row 4 of the data: x is float32 (3,), and float32 (2,) in the row before it in the batch\n"
        "  rows alike, or a data.collate_fn._target_=… that makes one batch of them"
    )
