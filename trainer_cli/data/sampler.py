"""The order of an epoch's samples, a pure function of (seed, epoch), and each process's share of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

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
) -> list[int]:
    """Indices of all `size` samples in the order of this epoch.

    `group_by_length` makes batches of `batch` samples of like length and shuffles the batches; the batch with
    the longest sample comes first in epoch 0, so that a lack of memory shows at once.
    """
    if strategy == "sequential":
        return list(range(size))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    if strategy == "random":
        return order
    if lengths is None:
        raise ValueError("group_by_length needs the length of each sample")
    window = WINDOW * batch
    batches: list[list[int]] = []
    for start in range(0, size, window):
        chunk = sorted(order[start : start + window], key=lengths.__getitem__, reverse=True)
        batches += [chunk[first : first + batch] for first in range(0, len(chunk), batch)]
    # A short batch must stay the last one: the loader cuts the flat order every `batch` samples.
    short = [batches.pop()] if batches and len(batches[-1]) < batch else []
    shuffled = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
    if epoch == 0 and shuffled:
        longest = max(range(len(shuffled)), key=lambda i: max(lengths[j] for j in shuffled[i]))
        shuffled[0], shuffled[longest] = shuffled[longest], shuffled[0]
    return [index for group in shuffled + short for index in group]


def shares(total: int, per_device: int, world_size: int) -> list[list[int]]:
    """How many of an update's `total` samples each process takes in each micro-batch: `[micro][rank]`.

    A full update gives every process `per_device` samples a micro-batch; a short one is spread evenly over as
    few micro-batches as hold it, so that no process waits for another.
    """
    micro_batches = -(-total // (per_device * world_size))
    slots = micro_batches * world_size
    sizes = [total // slots + (slot < total % slots) for slot in range(slots)]
    return [sizes[i * world_size : (i + 1) * world_size] for i in range(micro_batches)]
