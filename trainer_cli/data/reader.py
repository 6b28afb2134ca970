"""Rows read and collated, in the training process or by workers, with the same random numbers in both."""

from __future__ import annotations

import itertools
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.randomness import WATCH, seed_generators, undisturbed

Batch = dict[str, Tensor]
Collate = Callable[[list[Any]], Batch]
StartMethod = Literal["fork", "spawn", "forkserver"]
T = TypeVar("T")


@runtime_checkable
class FetchesMany(Protocol):
    """A dataset that reads many rows in one call (torch's own convention)."""

    def __getitems__(self, indices: list[int]) -> list[Any]: ...


class Reader(Dataset[Batch]):
    """A dataset whose item is the batch of a list of rows.

    What reading a row draws from the global generators is a function of (seed, epoch, row), and what
    `collate` draws one of (seed, epoch, first row): neither depends on the batch that a row comes in, on
    workers or processes, or on where a run was resumed. What mixes several rows belongs in `collate`, as a
    dataset that draws is asked for one row at a time.
    """

    def __init__(self, dataset: Dataset[Any], collate: Collate, seed: int, epoch: int) -> None:
        self._pass = (seed, epoch)
        self._dataset = dataset
        self._many = dataset if isinstance(dataset, FetchesMany) else None
        self._collate = collate
        self._draws = False

    def __getitem__(self, rows: list[int]) -> Batch:
        """The batch of these rows; an error in reading one says which rows were asked for."""
        try:
            return self._batch(rows)
        except Exception as error:
            error.add_note(f"while reading rows {rows[:8]}{'…' if len(rows) > 8 else ''} of the data")
            raise

    def _batch(self, rows: list[int]) -> Batch:
        # To seed for each row takes as long as a third of a small model's step, and most data draws nothing.
        # So a batch is made without, and only where that moved a generator is it made again, as all later
        # ones are at once, with a seed for each row.
        WATCH.start()
        batch = None if self._draws else self._collate(self._read(rows))
        moved = WATCH.moved()
        if batch is not None and not moved:
            return batch
        self._draws = True
        try:
            return self._collate(self._seeded(rows))
        finally:
            WATCH.put_back()

    def _seeded(self, rows: list[int]) -> list[Any]:
        """The rows, each read with its own numbers; the batch's are next."""
        items = []
        for row in rows:
            seed_generators(*self._pass, "row", row)
            items += self._read([row])
        seed_generators(*self._pass, "batch", rows[0])
        return items

    def _read(self, rows: list[int]) -> list[Any]:
        return [self._dataset[row] for row in rows] if self._many is None else self._many.__getitems__(rows)


class StreamReader(IterableDataset[tuple[list[int], list[Batch]]]):
    """A stream in groups of `group` rows from row `start` on: their positions, and the batches of `split`.

    What reading a group draws is a function of (seed, epoch, first position), and what `collate` draws
    likewise: a stream that is read again up to `start`, in groups of the same size, goes on as it would have.
    """

    def __init__(
        self,
        dataset: IterableDataset[Any],
        collate: Collate,
        seed: int,
        epoch: int,
        group: int,
        split: Callable[[list[int]], list[list[int]]],
        start: int = 0,
    ) -> None:
        self._pass = (seed, epoch)
        self._dataset = dataset
        self._collate = collate
        self._group = group
        self._split = split
        self._start = start

    def __iter__(self) -> Iterator[tuple[list[int], list[Batch]]]:
        stream = itertools.chain.from_iterable([self._dataset])  # begins inside of the first group
        position = 0
        # Where a run went on with another batch, the first group is what makes the others begin at `start`.
        for size in itertools.chain(
            [self._start % self._group or self._group], itertools.repeat(self._group)
        ):
            with undisturbed():
                seed_generators(*self._pass, "group", position)
                group = dict(enumerate(itertools.islice(stream, size), position))
                parts = self._split([*group]) if group and position >= self._start else []
                batches = [self._batch([group[row] for row in rows], rows[0]) for rows in parts]
            if not group:
                return
            if position >= self._start:
                yield [*group], batches
            position += len(group)

    def _batch(self, items: list[Any], first: int) -> Batch:
        seed_generators(*self._pass, "batch", first)
        return self._collate(items)


@dataclass(frozen=True)
class Workers:
    """Where rows are read: in the training process (`count` 0), or ahead of it by others.

    With `pin_memory`, batches come in page-locked memory, from which a GPU can take them while it computes.
    """

    count: int
    prefetch: int | None = None
    start_method: StartMethod | None = None
    pin_memory: bool = False

    def batches(self, reader: Reader, rows: Sequence[list[int]]) -> Iterator[Batch]:
        """The batch of each list of rows, in order."""
        if self.count == 0:
            yield from (self._pinned(reader[part]) for part in rows)
            return
        for batch in self._ahead(reader, self.count, rows):
            WATCH.skip()  # so that a model draws the numbers that it would draw without workers
            yield batch

    def groups(self, reader: StreamReader) -> Iterator[tuple[list[int], list[Batch]]]:
        """The groups of a stream; one worker at most reads it, as two would each read all of it."""
        if self.count > 0:
            return self._ahead(reader, 1)
        return ((rows, [self._pinned(batch) for batch in batches]) for rows, batches in reader)

    def _pinned(self, batch: Batch) -> Batch:
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch

    def _ahead(self, reader: Dataset[T], count: int, rows: Sequence[list[int]] | None = None) -> Iterator[T]:
        loader = DataLoader(
            reader,
            batch_size=None,
            sampler=rows,
            collate_fn=unchanged,
            num_workers=count,
            prefetch_factor=self.prefetch,
            multiprocessing_context=self.start_method,
            pin_memory=self.pin_memory,
            # Its own generator, as a draw from the global one would change the numbers that dropout sees.
            generator=torch.Generator(),
        )
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got pickle error")  # the error below says it
                return iter(loader)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(
                f"the data cannot be sent to worker processes: {error}",
                right="args.dataloader_num_workers=0, args.dataloader_multiprocessing_context=fork,"
                " or a dataset and a collate_fn that can be pickled",
            ) from error


def unchanged(item: T) -> T:
    """A worker's item as it is; torch would make tensors of its arrays."""
    return item
