"""What a checkpoint must hold of the run itself: the position, the best score, the open log window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class TrainState:
    """The run's own state; `step` counts optimizer updates and nothing else.

    `samples` counts samples of the current epoch over all processes, so that a position means the same under
    another batch size or process count. `epoch_batch` is the global batch that the current epoch's order was
    made for. `window_losses` holds this process's loss sums (tensors on the device) since the last logged
    row, `window_loss` what a resume brought along of it, `window_items` the global number of items of both. A
    callback ends training by setting `stop` to the reason; a signal handler sets `signal`, which all
    processes agree on at the next update.
    """

    step: int = 0
    epoch: int = 0
    samples: int = 0
    epoch_batch: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    saved_step: int | None = None
    window_losses: list[Tensor] = field(default_factory=list)
    window_loss: float = 0.0
    window_items: int = 0
    stop: str | None = None
    signal: int | None = None
    interrupted: bool = False

    def state_dict(self) -> dict[str, Any]:
        """The position and the best score, in JSON's types; the open window's losses are stored apart."""
        stored = {name: getattr(self, name) for name in STORED}
        return {**stored, "stop": None if self.interrupted else self.stop}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name in (*STORED, "stop"):
            setattr(self, name, values[name])

    def window_loss_sum(self) -> float:
        """Sum of this process's losses since the last logged row; waits for the device."""
        if not self.window_losses:
            return self.window_loss
        return self.window_loss + float(torch.stack(self.window_losses).cpu().double().sum())

    def clear_window(self) -> None:
        """Start the next logged row."""
        self.window_losses.clear()
        self.window_loss = 0.0
        self.window_items = 0


STORED = (
    "step",
    "epoch",
    "samples",
    "epoch_batch",
    "best_metric",
    "best_step",
    "saved_step",
    "window_items",
)
