"""Batches: the micro-batches of each update for training, every sample once for evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainer_cli.data.sampler import SamplingStrategy, epoch_order, shares

Batch = dict[str, Tensor]
Collate = Callable[[list[Any]], Batch]


@runtime_checkable
class FetchesMany(Protocol):
    """A dataset that reads many rows in one call (torch's own convention)."""

    def __getitems__(self, indices: list[int]) -> list[Any]: ...


@runtime_checkable
class KnowsLengths(Protocol):
    """A dataset that knows the length of each row, by which batches may be grouped."""

    lengths: Sequence[int]


@runtime_checkable
class KnowsEpoch(Protocol):
    """A dataset that wants to know which pass over it begins."""

    def set_epoch(self, epoch: int) -> None: ...


@dataclass(frozen=True)
class MicroBatch:
    """One forward's inputs; `real` is False for a stand-in that only keeps the processes in step."""

    inputs: Batch
    real: bool = True


@dataclass(frozen=True)
class Workers:
    """How rows are read: in the training process (`count` 0), or ahead of it by others."""

    count: int
    prefetch: int | None = None

    def loader(
        self, dataset: Dataset[Any], batches: Iterable[list[int]], collate: Collate, seed: int
    ) -> Iterable[Batch]:
        """The collated rows of each list of indices, in order; `seed` starts the workers' own generators."""
        if self.count == 0:
            return (fetch(dataset, indices, collate) for indices in batches)
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.count,
            prefetch_factor=self.prefetch,
            # Its own generator, as a draw from the global one would change the numbers that dropout sees.
            generator=torch.Generator().manual_seed(seed),
        )

    def stream(self, dataset: IterableDataset[Any], seed: int) -> Iterator[Any]:
        """The rows of a stream; one worker at most reads it, as two would each read all of it."""
        if self.count == 0:
            return iter(dataset)
        return iter(
            DataLoader(
                dataset,
                batch_size=None,
                num_workers=1,
                prefetch_factor=self.prefetch,
                generator=torch.Generator().manual_seed(seed),
            )
        )


def fetch(dataset: Dataset[Any], indices: list[int], collate: Collate) -> Batch:
    """The batch of these rows; an error in reading one says which rows were asked for."""
    try:
        if isinstance(dataset, FetchesMany):
            return collate(dataset.__getitems__(indices))
        return collate([dataset[index] for index in indices])
    except Exception as error:
        error.add_note(f"while reading rows {indices[:8]}{'…' if len(indices) > 8 else ''} of the data")
        raise


@dataclass
class TrainLoader:
    """Updates of an epoch from any position in it, for one of `world_size` processes."""

    dataset: Dataset[Any]
    collate: Collate
    sampling: SamplingStrategy
    seed: int
    per_device: int
    accumulation: int
    rank: int
    world_size: int
    drop_last: bool
    workers: Workers

    @property
    def global_batch(self) -> int:
        """Samples that an update takes over all processes and micro-batches."""
        return self.per_device * self.accumulation * self.world_size

    @property
    def size(self) -> int | None:
        """Samples of an epoch; None for a stream."""
        return len(self.dataset) if isinstance(self.dataset, Sized) else None

    @property
    def samples_per_epoch(self) -> int | None:
        """Samples of an epoch that are trained on; None for a stream."""
        if self.size is None or not self.drop_last:
            return self.size
        return self.size - self.size % self.global_batch

    @property
    def updates_per_epoch(self) -> int | None:
        """Updates of a whole epoch; None for a stream."""
        if self.size is None:
            return None
        return self.size // self.global_batch if self.drop_last else -(-self.size // self.global_batch)

    def updates(self, epoch: int, start: int, order_batch: int) -> Iterator[tuple[int, list[MicroBatch]]]:
        """From sample `start` of the epoch: each update's global number of samples and this process's part.

        `order_batch` is the global batch that the epoch's order is made for.
        """
        if isinstance(self.dataset, KnowsEpoch):
            self.dataset.set_epoch(epoch)
        if isinstance(self.dataset, IterableDataset):
            return self._stream(self.dataset, epoch, start)
        return self._map(epoch, start, order_batch)

    def _map(self, epoch: int, start: int, order_batch: int) -> Iterator[tuple[int, list[MicroBatch]]]:
        size = self.size or 0
        lengths = self.dataset.lengths if isinstance(self.dataset, KnowsLengths) else None
        order = epoch_order(self.sampling, size, self.seed, epoch, order_batch, lengths)
        groups = [order[at : at + self.global_batch] for at in range(start, size, self.global_batch)]
        if self.drop_last and groups and len(groups[-1]) < self.global_batch:
            groups.pop()
        parts = [self._part(group) for group in groups]
        rows = [rows for part in parts for rows, _ in part]
        batches = iter(self.workers.loader(self.dataset, rows, self.collate, self.seed + epoch))
        for group, part in zip(groups, parts):
            yield len(group), [MicroBatch(next(batches), real) for _, real in part]

    def _stream(
        self, dataset: IterableDataset[Any], epoch: int, start: int
    ) -> Iterator[tuple[int, list[MicroBatch]]]:
        rows = itertools.islice(self.workers.stream(dataset, self.seed + epoch), start, None)
        while group := list(itertools.islice(rows, self.global_batch)):
            if self.drop_last and len(group) < self.global_batch:
                return
            yield len(group), [MicroBatch(self.collate(rows), real) for rows, real in self._part(group)]

    def _part(self, group: list[Any]) -> list[tuple[list[Any], bool]]:
        """This process's rows of each micro-batch; a process with none borrows one as a stand-in."""
        part = []
        at = 0
        for sizes in shares(len(group), self.per_device, self.world_size):
            begin = at + sum(sizes[: self.rank])
            rows = group[begin : begin + sizes[self.rank]]
            part.append((rows or group[:1], bool(rows)))
            at += sum(sizes)
        return part


@dataclass
class EvalLoader:
    """Every sample once over all processes; long rows first, where lengths are known, to pad little."""

    dataset: Dataset[Any]
    collate: Collate
    per_device: int
    rank: int
    world_size: int
    workers: Workers
    keep_order: bool = False

    @property
    def batches(self) -> int | None:
        """Batches of this process; None for a stream."""
        return -(-len(self._indices()) // self.per_device) if isinstance(self.dataset, Sized) else None

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self.dataset, IterableDataset):
            return self._stream(self.dataset)
        indices = self._indices()
        batches = [indices[at : at + self.per_device] for at in range(0, len(indices), self.per_device)]
        return iter(self.workers.loader(self.dataset, batches, self.collate, seed=0))

    def _indices(self) -> list[int]:
        order: Sequence[int] = range(len(self.dataset))  # type: ignore[arg-type]
        if isinstance(self.dataset, KnowsLengths) and not self.keep_order:
            order = sorted(order, key=self.dataset.lengths.__getitem__, reverse=True)
        return list(order[self.rank :: self.world_size])

    def _stream(self, dataset: IterableDataset[Any]) -> Iterator[Batch]:
        rows = itertools.islice(dataset, self.rank, None, self.world_size)
        while batch := list(itertools.islice(rows, self.per_device)):
            yield self.collate(batch)
