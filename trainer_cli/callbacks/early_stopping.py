"""Stopping a run whose score no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer_cli.callbacks.base import Callback

if TYPE_CHECKING:
    from trainer_cli.engine import Engine


class EarlyStopping(Callback):
    """Ends training after `patience` evaluations in a row without a gain.

    Args:
        patience: Evaluations without a gain that are waited through, at least 1.
        threshold: A gain counts when it is larger than this.
        metric: A logged name such as eval/accuracy; null: the metric of the best model.
    """

    def __init__(self, patience: int, threshold: float, metric: str | None) -> None:
        self.patience = patience
        self.threshold = threshold
        self.metric = metric
        self.best = math.nan
        self.waited = 0

    def on_train_begin(self, engine: Engine) -> None:
        engine.score_name(self.metric)  # an unknown metric is said before the first step

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        name = engine.score_name(self.metric)
        gain = row[name] - self.best if engine.greater_is_better(name) else self.best - row[name]
        if gain > self.threshold or (math.isnan(self.best) and not math.isnan(row[name])):
            self.best = row[name]
            self.waited = 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            engine.state.stop = (
                f"early stopping: {name} no better than {self.best:g} for {self.waited} evaluations"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": None if math.isnan(self.best) else self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = math.nan if state["best"] is None else state["best"]
        self.waited = state["waited"]
