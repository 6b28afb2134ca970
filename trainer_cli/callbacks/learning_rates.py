"""The learning rate of every parameter group, in each training row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainer_cli.callbacks.base import Callback

if TYPE_CHECKING:
    from trainer_cli.engine import Engine


class LearningRates(Callback):
    """Adds train/lr/NAME for each parameter group: the rate of the update that the row is of."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def on_optimizer_step_begin(self, engine: Engine) -> None:
        # By the time of the row, the schedule has set those of the next update.
        self.rates = {
            f"train/lr/{group.get('name', number)}": float(group["lr"])
            for number, group in enumerate(engine.optimizer.param_groups)
        }

    def measure(self, engine: Engine) -> Mapping[str, float]:
        return self.rates
