"""The schedule that waits for the score: down when evaluations no longer get better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from trainer_cli.config.types import Ge, Gt, Lt


@runtime_checkable
class WatchesScore(Protocol):
    """A schedule that is told the score that names the best model, after each evaluation."""

    def evaluated(self, score: float) -> None:
        """Take note of it; may change the learning rate."""


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    """Down by a factor when the score that names the best model has not become better for a while.

    Its state is what it has seen and how often it went down: a run that goes on takes today's learning rate
    and factor.

    Args:
        mode: Whether a lower score is better or a higher one; as the metric says where it is not set.
        factor: The factor of a drop.
        patience: Evaluations without a better score that are waited for.
        threshold: By how much a score must be better to count.
        threshold_mode: Whether the threshold is a share of the best score, or a difference.
        cooldown: Evaluations after a drop that are not counted.
        min_lr: The learning rate never falls below it.
        eps: A drop smaller than this is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"],
        factor: Annotated[float, Gt(0), Lt(1)],
        patience: Annotated[int, Ge(0)],
        threshold: Annotated[float, Ge(0)],
        threshold_mode: Literal["rel", "abs"],
        cooldown: Annotated[int, Ge(0)],
        min_lr: Annotated[float, Ge(0)],
        eps: Annotated[float, Ge(0)],
    ) -> None:
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.drops = 0

    def step(self, epoch: int | None = None) -> None:  # type: ignore[override]
        """An update changes nothing."""

    def evaluated(self, score: float) -> None:
        """Compare the score with the best one so far, and lower the rate once patience is at its end."""
        super().step(score)

    def _reduce_lr(self, epoch: int | None) -> None:
        self.drops += 1
        super()._reduce_lr(epoch)

    def state_dict(self) -> dict[str, Any]:
        """What it has seen, in JSON's types: no score yet is null."""
        return {
            "best": self.best if math.isfinite(self.best) else None,
            "num_bad_epochs": self.num_bad_epochs,
            "cooldown_counter": self.cooldown_counter,
            "last_epoch": self.last_epoch,
            "drops": self.drops,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the state, and set each rate to today's, lowered as often as it was."""
        self.best = self.mode_worse if state_dict["best"] is None else state_dict["best"]
        self.num_bad_epochs = state_dict["num_bad_epochs"]
        self.cooldown_counter = state_dict["cooldown_counter"]
        self.last_epoch = state_dict["last_epoch"]
        self.drops = 0
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        for _ in range(state_dict["drops"]):
            self._reduce_lr(None)
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]
