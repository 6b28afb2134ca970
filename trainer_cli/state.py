"""What a checkpoint must hold of the run itself: the position, the best score, the open log window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer_cli.counts import Position


@dataclass
class LossWindow:
    """Sums of losses by name since the last logged row, and the items that they are of.

    The sums are this process's own, tensors that stay on the device until `totals` asks for them; `items`
    counts those of all processes; `carried` is what a resume brought along. `lr` and `grad_norm` are those of
    the last update in it, None where there is none.
    """

    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    carried: dict[str, float] = field(default_factory=dict)
    items: int = 0
    lr: float | None = None
    grad_norm: float | None = None

    def take(self, update: Update) -> None:
        """Take in an update that was made."""
        self.add(update.losses, update.items)
        self.lr, self.grad_norm = update.lr, update.grad_norm

    def add(self, losses: list[dict[str, Tensor]], items: int) -> None:
        """Take in the sums of micro-batches."""
        for sums in losses:
            for name, value in sums.items():
                self.sums.setdefault(name, []).append(value)
        self.items += items

    def totals(self) -> dict[str, float]:
        """This process's sum by name; waits for the device."""
        totals = dict(self.carried)
        for name, values in self.sums.items():
            totals[name] = totals.get(name, 0.0) + float(torch.stack(values).cpu().double().sum())
        return totals

    def clear(self) -> None:
        """Start the next logged row."""
        self.sums.clear()
        self.carried.clear()
        self.items, self.lr, self.grad_norm = 0, None, None


@dataclass(frozen=True)
class Update:
    """What an update was made of, or would have been.

    `losses` are sums over items by name, one dict a micro-batch of this process, `items` counts those of all
    processes. `grad_norm` is the norm before clipping, None where gradients do not outlive the backward pass.
    """

    losses: list[dict[str, Tensor]]
    items: int
    grad_norm: float | None
    lr: float
    made: bool

    def loss_sum(self) -> float:
        """This process's sum of the loss; waits for the device."""
        return float(torch.stack([sums["loss"] for sums in self.losses]).cpu().double().sum())


Best = tuple[float | None, int | None]


@dataclass
class TrainState:
    """The run's own state; `step` counts optimizer updates and nothing else.

    `samples` counts samples of the current epoch over all processes, so that a position means the same under
    another batch size or process count. `epoch_batch` is the global batch that the current epoch's order was
    made for, `stream` what a stream of data says of its own position, `micro_batch` the rows of a micro-batch
    that turned out to fit into memory. `skipped_steps` are updates that were not made, `nonfinite_steps`
    those among them that the policy on such values skipped, and `rejected` the positions, (epoch, samples),
    of batches that a rollback passes over. `rows` counts the rows that were logged; `evaluation_due` says
    that this step's evaluation is not done. `best_saving` and `best_kept` are the best score and its step as
    the checkpoint being written, and the last that was written, have them.

    A callback ends training by setting `stop` to the reason; a signal handler sets `signal`, which all
    processes agree on at the next update.
    """

    step: int = 0
    epoch: int = 0
    samples: int = 0
    epoch_batch: int = 0
    stream: Any = None
    micro_batch: int | None = None
    skipped_steps: int = 0
    nonfinite_steps: int = 0
    rejected: list[list[int]] = field(default_factory=list)
    best_metric: float | None = None
    best_step: int | None = None
    saved_step: int | None = None
    best_saving: Best = field(default=(None, None), compare=False)
    best_kept: Best = field(default=(None, None), compare=False)
    rows: int = 0
    evaluation_due: bool = False
    window: LossWindow = field(default_factory=LossWindow)
    stop: str | None = None
    signal: int | None = None
    interrupted: bool = False

    @property
    def position(self) -> Position:
        """How far the run has come; an update that was not made counts as one of its own."""
        return Position(self.step + self.skipped_steps, self.epoch, self.samples)

    def was_saved(self) -> None:
        """The checkpoint that was being written is on the disk."""
        self.best_kept = self.best_saving

    def was_lost(self, step: int) -> None:
        """This step has no checkpoint: the best model is one that was kept, or the one at hand."""
        self.best_saving = self.best_kept
        self.saved_step = None if self.saved_step == step else self.saved_step
        if self.best_step == step != self.step:
            self.best_metric, self.best_step = self.best_kept

    def state_dict(self) -> dict[str, Any]:
        """The position and the best score; the window's losses are stored apart."""
        stored = {name: getattr(self, name) for name in STORED}
        return {
            **stored,
            "window_items": self.window.items,
            "window_lr": self.window.lr,
            "window_grad_norm": self.window.grad_norm,
            "stop": None if self.interrupted else self.stop,
        }

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name in (*STORED, "stop"):
            setattr(self, name, values[name])
        self.best_saving = self.best_kept = (self.best_metric, self.best_step)
        self.window.clear()
        self.window.items = values["window_items"]
        # Checkpoints of the first releases have neither.
        self.window.lr, self.window.grad_norm = values.get("window_lr"), values.get("window_grad_norm")


STORED = (
    "step",
    "epoch",
    "samples",
    "epoch_batch",
    "stream",
    "micro_batch",
    "skipped_steps",
    "nonfinite_steps",
    "rejected",
    "best_metric",
    "best_step",
    "saved_step",
    "rows",
    "evaluation_due",
)
