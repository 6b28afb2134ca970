"""Rows read and collated, in the training process or by workers, with the same random numbers in both."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
import torch.utils.data._utils.worker as torch_worker
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainer_cli.config.errors import Misfit, Problem, UserError
from trainer_cli.data.randomness import WATCH, seed_generators, undisturbed
from trainer_cli.data.streams import Pass, State

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
        except Misfit as error:
            raise error.of(rows) from error.__cause__
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


class Refusal(NamedTuple):
    """What a worker found wrong with rows: raised there, it would come as the text of a traceback."""

    problems: tuple[Problem, ...]


class Answering(Dataset[Batch | Refusal]):
    """A reader whose UserErrors are items."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, rows: list[int]) -> Batch | Refusal:
        try:
            return self._reader[rows]
        except UserError as error:
            return Refusal(error.problems)


class Group(NamedTuple):
    """Rows of a stream by their positions, the batches made of them, and the stream's state after them."""

    rows: list[int]
    batches: list[Batch]
    after: State | None


class StreamReader(IterableDataset[Group]):
    """A stream in groups of `group` rows from row `start` on, each as the batches of `split`.

    What reading a group draws is a function of (seed, epoch, first position), and what `collate` draws
    likewise. With the stream's `state` at `start` nothing is read again. Without, the rows before are, in
    groups of the same size: either way it goes on as it would have.
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
        state: State | None = None,
    ) -> None:
        self._pass = (seed, epoch)
        self._dataset = dataset
        self._collate = collate
        self._group = group
        self._split = split
        self._start = start
        self._state = state

    def __iter__(self) -> Iterator[Group]:
        with undisturbed():
            stream = Pass(self._dataset, self._state)
            position = self._start if stream.goes_on else self._skip(stream)
        while True:
            with undisturbed():
                items = self._take(stream, position, self._group)
                rows = list(range(position, position + len(items)))
                group = Group(rows, self._batches(items, rows), stream.state) if rows else None
            if group is None:
                return
            yield group
            position += len(rows)

    def _skip(self, stream: Pass) -> int:
        """Read the rows before `start`, as far as there are any; how many there were."""
        # Where a run went on with another batch, the first group is what makes the others begin at `start`.
        position = len(self._take(stream, 0, self._start % self._group))
        while position < self._start and (items := self._take(stream, position, self._group)):
            position += len(items)
        return position

    def _take(self, stream: Pass, position: int, size: int) -> list[Any]:
        return stream.take(size, position, *self._pass, "group")

    def _batches(self, items: list[Any], rows: list[int]) -> list[Batch]:
        batches = []
        for part in self._split(rows):
            seed_generators(*self._pass, "batch", part[0])
            try:
                batches.append(self._collate([items[row - rows[0]] for row in part]))
            except Misfit as error:
                raise error.of(part) from error.__cause__
        return batches


@dataclass(frozen=True)
class Workers:
    """Where rows are read: in the training process (`count` 0), or ahead of it by others.

    With `pin_memory`, batches come in page-locked memory, from which a GPU can take them while it computes.
    """

    count: int
    prefetch: int | None = None
    start_method: StartMethod | None = None
    pin_memory: bool = False

    def batches(self, reader: Reader, rows: Iterable[list[int]]) -> Iterator[Batch]:
        """The batch of each list of rows, in order."""
        if self.count == 0:
            yield from (self._pinned(reader[part]) for part in rows)
            return
        for batch in self._ahead(Answering(reader), self.count, rows):
            if isinstance(batch, Refusal):
                raise UserError.many(batch.problems)
            WATCH.skip()  # so that a model draws the numbers that it would draw without workers
            yield batch

    def groups(self, reader: StreamReader) -> Iterator[Group]:
        """The groups of a stream; one worker at most reads it, as two would each read all of it."""
        if self.count > 0:
            return self._ahead(reader, 1)
        return (group._replace(batches=[self._pinned(batch) for batch in group.batches]) for group in reader)

    def _pinned(self, batch: Batch) -> Batch:
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch

    def _ahead(self, reader: Dataset[T], count: int, rows: Iterable[list[int]] | None = None) -> Iterator[T]:
        loader = DataLoader(
            reader,
            batch_size=None,
            sampler=rows,
            collate_fn=unchanged,
            num_workers=count,
            worker_init_fn=read_alone if rows is None else None,
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


def rows_alone(rows: list[Any]) -> Any:
    """The rows as they are, of which no batch is made."""
    return rows


def read_alone(_: int) -> None:
    """Hide from a stream that a worker reads it: Hugging Face's would come in another order then."""
    torch_worker._worker_info = None
