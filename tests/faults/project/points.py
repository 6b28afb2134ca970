"""Data of a user's own: points on two spirals as they are, drawn anew at each reading, and as a stream."""

import math
import random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate


class Points(Dataset):
    """Points on two interleaved spirals, each with the spiral it belongs to."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        turn = torch.rand(size, generator=generator) * 3 * math.pi
        self.labels = torch.arange(size) % 2
        angle = turn + self.labels * math.pi
        self.features = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 10

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index], "labels": self.labels[index]}


class Shaken(Points):
    """The same, each moved a little whenever it is read, by all three global generators."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        size = 0.01 * random.random() + 0.01 * float(np.random.rand())
        return {**row, "features": row["features"] + size * torch.randn(2)}


class Passing(IterableDataset):
    """The points one after the other, through a buffer that shuffles by Python's generator."""

    def __init__(self, size: int, seed: int, buffer: int) -> None:
        self.points = Points(size, seed)
        self.buffer = buffer

    def __iter__(self):
        held = []
        while True:
            for index in range(len(self.points)):
                held.append(index)
                if len(held) > self.buffer:
                    yield self.points[held.pop(random.randrange(len(held)))]


def mask(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of which a tenth of the features is hidden."""
    batch = default_collate(rows)
    return {**batch, "features": batch["features"] * (torch.rand(batch["features"].shape) > 0.1)}
