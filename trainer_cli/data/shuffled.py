"""Streams in random order, from any row of which reading can go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from trainer_cli.config.errors import UserError
from trainer_cli.data.randomness import seed_generators, undisturbed
from trainer_cli.data.streams import KnowsEpoch, Pass, State


class Shuffled(IterableDataset[Any]):
    """A stream's rows in random order, block by block of `buffer_size` rows.

    The order of a block is a function of (seed, epoch, block), and so is what reading its rows draws. A row
    stays in its block: data that is sorted needs large blocks, or files in random order. Reading goes on at
    any row: one block at most is read again if the stream has a state of its own, else all before it are.

    Args:
        dataset: The stream, by _target_.
        buffer_size: Rows of a block, which are in memory together.
        seed: By which blocks are shuffled, each epoch in another order.
    """

    def __init__(self, dataset: IterableDataset[Any], buffer_size: int, seed: int = 0) -> None:
        if not isinstance(dataset, IterableDataset):
            raise UserError(
                f"Shuffled takes an IterableDataset, and {type(dataset).__name__} is none",
                right="without Shuffled: the rows of any other dataset come in random order",
            )
        if buffer_size < 1:
            raise UserError(f"buffer_size={buffer_size} is no block of rows", right="buffer_size=1000")
        self._dataset = dataset
        self._size = buffer_size
        self._seed = seed
        self._epoch = 0
        self._place = self._at(0, 0, None)
        self._goes_on = False

    def set_epoch(self, epoch: int) -> None:
        """Another order; the stream below is told, too."""
        self._epoch = epoch
        if isinstance(self._dataset, KnowsEpoch):
            self._dataset.set_epoch(epoch)

    def state_dict(self) -> State:
        """The place after the last row: its block, the stream's state before that, and the rows given."""
        return self._place

    def load_state_dict(self, state: State) -> None:
        """Go on from there in the pass that begins next."""
        for name in ("buffer_size", "seed"):
            if state[name] != self._place[name]:
                raise UserError(
                    f"{name} is {self._place[name]}, and the rows before were shuffled with {state[name]}",
                    right=f"{name}={state[name]}",
                )
        self._place = state
        self._goes_on = True

    def __iter__(self) -> Iterator[Any]:
        begin = self._place if self._goes_on else self._at(0, 0, None)
        self._goes_on = False
        stream = Pass(self._dataset, begin["source"])
        block = begin["block"] if stream.goes_on else 0
        while True:
            source = stream.state
            rows = self._block(stream, block)
            if not rows:
                return
            if block >= begin["block"]:
                for at in range(begin["row"] if block == begin["block"] else 0, len(rows)):
                    last = at + 1 == len(rows)
                    self._place = (
                        self._at(block + 1, 0, stream.state) if last else self._at(block, at + 1, source)
                    )
                    yield rows[at]
            block += 1

    def _block(self, stream: Pass, block: int) -> list[Any]:
        with undisturbed():
            rows = stream.take(self._size, block * self._size, self._seed, self._epoch, "rows")
            seed_generators(self._seed, self._epoch, "order", block)
            return [rows[row] for row in torch.randperm(len(rows)).tolist()]

    def _at(self, block: int, row: int, source: State | None) -> State:
        return {
            "buffer_size": self._size,
            "seed": self._seed,
            "block": block,
            "row": row,
            "source": source,
        }
