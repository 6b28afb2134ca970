"""The order of an epoch's samples, a pure function of (seed, epoch), and each process's share of a batch."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

SamplingStrategy = Literal["random", "sequential", "group_by_length"]

# Batches are sorted by length within windows of this many batches: long enough to leave little padding,
# short enough to keep an epoch's batches a random draw.
WINDOW = 50


def epoch_order(
    strategy: SamplingStrategy,
    size: int,
    seed: int,
    epoch: int,
    batch: int,
    lengths: Sequence[int] | None = None,
) -> Sequence[int]:
    """Indices of all `size` samples in the order of this epoch.

    `group_by_length` makes batches of `batch` samples of like length and shuffles the batches; the batch with
    the longest sample comes first in epoch 0, so that a lack of memory shows at once.
    """
    if strategy == "sequential":
        return range(size)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(size, generator=generator)
    if strategy == "random":
        return numbers(order)
    if lengths is None:
        raise ValueError("group_by_length needs the length of each sample")
    length = torch.from_numpy(np.array(lengths))
    for start in range(0, size, WINDOW * batch):
        window = order[start : start + WINDOW * batch]
        window.copy_(window[torch.argsort(length[window], descending=True, stable=True)])
    # A short batch must stay the last one: the loader cuts the flat order every `batch` samples.
    full = size - size % batch
    batches = order[:full].view(-1, batch)
    batches = batches[torch.randperm(len(batches), generator=generator)]
    if epoch == 0 and len(batches):
        longest = length[batches].amax(dim=1)
        first = int((longest == longest.max()).nonzero()[0])
        batches[[0, first]] = batches[[first, 0]]
    return numbers(torch.cat([batches.flatten(), order[full:]]))


def numbers(tensor: Tensor) -> array[int]:
    """Integers as Python reads them, in a quarter of a list's memory."""
    result = array("q")
    result.frombytes(tensor.numpy().view("u1").data)
    return result


def shares(total: int, per_device: int, world_size: int) -> list[list[int]]:
    """How many of an update's `total` samples each process takes in each micro-batch: `[micro][rank]`.

    A full update gives every process `per_device` samples a micro-batch; a short one is spread evenly over as
    few micro-batches as hold it, so that no process waits for another.
    """
    micro_batches = -(-total // (per_device * world_size))
    slots = micro_batches * world_size
    sizes = [total // slots + (slot < total % slots) for slot in range(slots)]
    return [sizes[i * world_size : (i + 1) * world_size] for i in range(micro_batches)]
