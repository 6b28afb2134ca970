"""How much memory a run takes, in each training row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import psutil
import torch

from trainer_cli.callbacks.base import Callback

if TYPE_CHECKING:
    from trainer_cli.engine import Engine

MB = 10**6


class Memory(Callback):
    """Adds the memory of the process that takes the most, in megabytes of 10^6 bytes.

    On CUDA it is the peak of what was allocated on a device since the run began, train/peak_device_memory_mb;
    elsewhere what the process has in main memory at the moment, train/resident_memory_mb.
    """

    def measure(self, engine: Engine) -> Mapping[str, float]:
        strategy = engine.strategy
        if strategy.device.type == "cuda":
            name, used = "peak_device_memory_mb", torch.cuda.max_memory_allocated(strategy.device)
        else:
            name, used = "resident_memory_mb", psutil.Process().memory_info().rss
        parts = strategy.gather(torch.tensor([used / MB], dtype=torch.float64))
        return {f"train/{name}": max(float(part) for part in parts)}
