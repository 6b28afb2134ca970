"""What the loop asks of a strategy, and the strategy of a single process."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Strategy(ABC):
    """The few verbs by which the loop and the runner reach the other processes."""

    device: torch.device
    rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    @abstractmethod
    def wrap(self, module: nn.Module) -> nn.Module:
        """The module as the loop calls it; it averages gradients over the processes."""

    @abstractmethod
    def without_sync(self, model: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Forward and backward inside leave gradients on this process, as before the last micro-batch."""

    @abstractmethod
    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""

    def sum_by_name(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each name's value summed over the processes that have it; the first process's names come first."""
        own = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
        parts = [json.loads(bytes(part.tolist())) for part in self.gather(own)]
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    @abstractmethod
    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's tensor, in rank order; they may differ in their first dimension."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every process is here."""

    @abstractmethod
    def close(self) -> None:
        """Leave the process group."""


class SingleProcess(Strategy):
    """One process on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank = 0
        self.world_size = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def without_sync(self, model: nn.Module) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def sum(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def sum_by_name(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        return [tensor]

    def barrier(self) -> None:
        return

    def close(self) -> None:
        return
