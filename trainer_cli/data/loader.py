"""Batches: the micro-batches of each update for training, every sample once for evaluation."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import Dataset, IterableDataset

from trainer_cli.counts import Epochs
from trainer_cli.data.reader import Batch, Collate, Reader, StreamReader, Workers
from trainer_cli.data.sampler import SamplingStrategy, epoch_order, shares
from trainer_cli.data.streams import KnowsEpoch, State, resumable

log = logging.getLogger(__name__)


@runtime_checkable
class KnowsLengths(Protocol):
    """A dataset that knows the length of each row, by which batches may be grouped."""

    lengths: Sequence[int]


@dataclass(frozen=True)
class MicroBatch:
    """One forward's inputs; `real` is False for a stand-in that only keeps the processes in step.

    `rows` are those of the data that it has, as a GlobalBatch names them.
    """

    inputs: Batch
    real: bool = True
    rows: Sequence[int] = ()


@dataclass(frozen=True)
class GlobalBatch:
    """An update's samples over all processes, by their rows in the data, and this process's part of them.

    A row of a stream is its position since the stream began, and `after` the stream's own state after these
    rows, None where it has none from which it would go on exactly.
    """

    rows: list[int]
    micro_batches: list[MicroBatch]
    after: State | None = None


@dataclass
class TrainLoader:
    """Updates of an epoch from any position in it, for one of `world_size` processes.

    `seed` decides the order of each epoch and what its rows and batches draw.
    """

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
    def epochs(self) -> Epochs | None:
        """What an epoch is made of; None for a stream."""
        return None if self.size is None else Epochs(self.size, self.global_batch, self.drop_last)

    @property
    def updates_per_epoch(self) -> int | None:
        """Updates of a whole epoch; None for a stream."""
        return None if self.epochs is None else self.epochs.updates

    def with_micro_batch(self, per_device: int) -> TrainLoader:
        """The same updates in micro-batches of `per_device` rows; raises ValueError where they do not fit."""
        rows = self.per_device * self.accumulation
        if per_device < 1 or rows % per_device:
            raise ValueError(f"{rows} rows of a process cannot be cut into micro-batches of {per_device}")
        return dataclasses.replace(self, per_device=per_device, accumulation=rows // per_device)

    def updates(
        self, epoch: int, start: int, order_batch: int, stream_state: State | None = None
    ) -> Iterator[GlobalBatch]:
        """From sample `start` of the epoch: the batch of each update.

        `order_batch` is the global batch that the epoch's order is made for; `stream_state` is what a stream
        had as its state there, without which its rows are read again up to `start`.
        """
        if isinstance(self.dataset, KnowsEpoch):
            self.dataset.set_epoch(epoch)
        if isinstance(self.dataset, IterableDataset):
            return self._stream(self.dataset, epoch, start, stream_state)
        return self._map(epoch, start, order_batch)

    def _map(self, epoch: int, start: int, order_batch: int) -> Iterator[GlobalBatch]:
        size = self.size or 0
        lengths = self.dataset.lengths if isinstance(self.dataset, KnowsLengths) else None
        order = epoch_order(self.sampling, size, self.seed, epoch, order_batch, lengths)
        end = size - self.global_batch + 1 if self.drop_last else size
        groups = (list(order[at : at + self.global_batch]) for at in range(start, end, self.global_batch))
        # Workers take the rows of batches to come, so as many parts are kept as these are ahead.
        parts, ahead = itertools.tee((group, self._part(group)) for group in groups)
        reader = Reader(self.dataset, self.collate, self.seed, epoch)
        batches = self.workers.batches(reader, (rows for _, part in ahead for rows, _ in part))
        for group, part in parts:
            yield GlobalBatch(group, [MicroBatch(next(batches), real, rows) for rows, real in part])

    def _stream(
        self, dataset: IterableDataset[Any], epoch: int, start: int, state: State | None
    ) -> Iterator[GlobalBatch]:
        if start and (state is None or resumable(dataset) is None):
            log.info("reading the first %d rows of the stream again, as it keeps no place of its own", start)
        reader = StreamReader(
            dataset, self.collate, self.seed, epoch, self.global_batch, self._split, start, state
        )
        for rows, batches, after in self.workers.groups(reader):
            if self.drop_last and len(rows) < self.global_batch:
                return
            part = zip(batches, self._part(rows), strict=True)
            yield GlobalBatch(rows, [MicroBatch(batch, real, own) for batch, (own, real) in part], after)

    def _split(self, group: list[int]) -> list[list[int]]:
        return [rows for rows, _ in self._part(group)]

    def _part(self, group: list[int]) -> list[tuple[list[int], bool]]:
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
    """Every sample once over all processes; long rows first, where lengths are known, to pad little.

    What is drawn is a function of `seed` as in a first epoch, so that evaluations can be compared.
    """

    dataset: Dataset[Any]
    collate: Collate
    seed: int
    per_device: int
    rank: int
    world_size: int
    workers: Workers
    keep_order: bool = False

    @property
    def batches(self) -> int | None:
        """Batches of this process; None for a stream."""
        return -(-len(self._indices()) // self.per_device) if isinstance(self.dataset, Sized) else None

    def rows(self, number: int) -> list[int]:
        """The rows of one of this process's batches, by its number; of a stream by their positions in it."""
        at = number * self.per_device
        if isinstance(self.dataset, IterableDataset):
            group = self.per_device * self.world_size
            return list(range(number * group + self.rank, (number + 1) * group, self.world_size))
        return self._indices()[at : at + self.per_device]

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self.dataset, IterableDataset):
            return self._stream(self.dataset)
        indices = self._indices()
        batches = [indices[at : at + self.per_device] for at in range(0, len(indices), self.per_device)]
        return self.workers.batches(Reader(self.dataset, self.collate, self.seed, epoch=0), batches)

    def _indices(self) -> list[int]:
        order: Sequence[int] = range(len(self.dataset))  # type: ignore[arg-type]
        if isinstance(self.dataset, KnowsLengths) and not self.keep_order:
            order = sorted(order, key=self.dataset.lengths.__getitem__, reverse=True)
        return list(order[self.rank :: self.world_size])

    def _stream(self, dataset: IterableDataset[Any]) -> Iterator[Batch]:
        rows = self.per_device * self.world_size
        reader = StreamReader(dataset, self.collate, self.seed, 0, rows, self._split)
        for group in self.workers.groups(reader):
            yield from group.batches

    def _split(self, group: list[int]) -> list[list[int]]:
        """This process's rows, as one batch; none where there are none."""
        rows = group[self.rank :: self.world_size]
        return [rows] if rows else []
