"""The ready parts of a run, as the runner built them and the loop uses them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainer_cli.callbacks import Callback
from trainer_cli.checkpoint import Checkpoints
from trainer_cli.checkpoint.saver import Saver
from trainer_cli.checkpoint.snapshot import Snapshot
from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import Args
from trainer_cli.data.loader import EvalLoader, TrainLoader
from trainer_cli.data.reader import Batch
from trainer_cli.data.source import Labels
from trainer_cli.loss import Loss
from trainer_cli.metrics import Metric
from trainer_cli.optim.averaging import Averaging
from trainer_cli.state import TrainState
from trainer_cli.strategy import Strategy
from trainer_cli.tracker import Tracker

Row = dict[str, float]


@dataclass
class Engine:
    """Everything that a run is made of.

    `model` is what training calls (wrapped by the strategy), `module` the bare model below it; `averaging`
    has the weights to evaluate and keep. `args` has counts of steps where the configuration has shares.
    `model_inputs` are the names that its forward takes and `labels`, None if it takes any. `total_steps` is
    the number of updates that training has, `schedule_steps` the one that the schedule was made for.
    `scores` are the names that an evaluation row will have, each with whether more of it is better. `summary`
    is what a user should know before the first step, `fingerprint` by what the data can be told to be the
    same again, `train_fingerprint` and `eval_fingerprint` its parts. `training` says whether a signal finds
    something to save.
    """

    args: Args
    run_dir: Path
    strategy: Strategy
    autocast: Callable[[], AbstractContextManager[Any]]
    module: nn.Module
    model: nn.Module
    model_inputs: frozenset[str] | None
    labels: Labels | None
    tokenizer: Any
    loss: Loss
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler
    averaging: Averaging
    total_steps: int
    schedule_steps: int
    train_loader: TrainLoader
    eval_loaders: dict[str, EvalLoader]
    predict_loader: EvalLoader | None
    metrics: dict[str, Metric]
    scores: dict[str, bool]
    checkpoints: Checkpoints
    saver: Saver
    callbacks: dict[str, Callback]
    trackers: dict[str, Tracker]
    summary: dict[str, str]
    fingerprint: str
    train_fingerprint: str
    eval_fingerprint: str
    state: TrainState = field(default_factory=TrainState)
    snapshots: dict[str, Snapshot] = field(default_factory=lambda: defaultdict(Snapshot))
    evaluation: Row | None = None  # of the model as it is now
    training: bool = False

    def __post_init__(self) -> None:
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._listeners = {
            event: [part for part in self.callbacks.values() if listens(part, event)]
            for event in vars(Callback)
            if event.startswith("on_") or event == "measure"
        }

    def notify(self, event: str, *values: Any) -> None:
        """Tell the callbacks that have something to do at this event, in their configured order."""
        for part in self._listeners[event]:
            getattr(part, event)(self, *values)

    def measure(self) -> Row:
        """What the callbacks add to a training row."""
        return {
            name: value for part in self._listeners["measure"] for name, value in part.measure(self).items()
        }

    def log(self, row: Row, step: int | None = None) -> None:
        """Give a row, of the current step or another, to the trackers and then to the callbacks."""
        self.state.rows += 1
        full = {"step": self.state.step if step is None else step, "epoch": round(self.epoch, 4), **row}
        for tracker in self.trackers.values():
            tracker.log(full)
        self.notify("on_log", full)

    def place(self, batch: Batch) -> Batch:
        """The inputs that the model takes, and the labels, on the model's device."""
        device, names = self.strategy.device, self.model_inputs
        if device.type == "cpu" and (names is None or batch.keys() <= names):
            return batch
        return {
            name: tensor.to(device, non_blocking=True)
            for name, tensor in batch.items()
            if names is None or name in names
        }

    def fit_micro_batch(self, rows: int) -> None:
        """Train on micro-batches of at most so many rows from here on; the global batch stays."""
        loader = self.train_loader
        whole = loader.per_device * loader.accumulation
        most = min(rows, loader.per_device)
        rows = max(size for size in range(1, most + 1) if whole % size == 0)
        self.state.micro_batch = rows
        if rows < loader.per_device:
            self.train_loader = loader.with_micro_batch(rows)

    def keep_average(self) -> None:
        """Training is over: the module has the weights to keep from here on."""
        self.averaging.settle()
        self.averaging = Averaging()

    @property
    def epoch(self) -> float:
        """Passes over the training data so far, with their fraction."""
        epochs, samples = self.train_loader.epochs, self.state.samples
        return self.state.epoch + (
            samples / epochs.end(samples) if epochs and epochs.size and samples else 0.0
        )

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group, for the update to come."""
        return float(self.optimizer.param_groups[0]["lr"])

    def score_name(self, metric: str | None) -> str:
        """The logged name of a metric given by any of its names; None: the one that picks the best model.

        Raises UserError for a metric that no evaluation of this run has.
        """
        return score_name(metric or self.args.metric_for_best_model or "loss", self.scores)

    def greater_is_better(self, name: str) -> bool:
        """Whether more of the score is better: as the metric says of itself, unless the arguments differ.

        They speak of the metric that picks the best model, and of no other.
        """
        return (
            is_greater_better(self.args, self.scores) if name == self.score_name(None) else self.scores[name]
        )

    def remember_best(self, row: Row) -> bool:
        """Whether the row has the best score so far, which is then remembered; NaN never is."""
        if not self.scores:
            return False
        name, state = self.score_name(None), self.state
        score, best = row[name], state.best_metric
        better = best is None or (score > best if self.greater_is_better(name) else score < best)
        if not better or math.isnan(score):
            return False
        state.best_metric, state.best_step = score, state.step
        return True


def is_greater_better(args: Args, scores: Mapping[str, bool]) -> bool:
    """Whether more of the score that picks the best model is better, as the arguments or the metric say."""
    if args.greater_is_better is not None:
        return args.greater_is_better
    return scores[score_name(args.metric_for_best_model or "loss", scores)]


def score_name(metric: str, scores: Mapping[str, bool]) -> str:
    """`accuracy`, `eval_accuracy` or `eval/accuracy` as `eval/accuracy`; of several sets the first has it."""
    bare = metric.removeprefix("eval_").removeprefix("eval/")
    for name in scores:
        if name == f"eval/{bare}" or name.endswith(f"/{bare}"):
            return name
    known = ", ".join(name.removeprefix("eval/") for name in scores)
    raise UserError(f"{metric} is no metric of this run's evaluation", right=f"it has: {known or 'none'}")


def listens(part: Callback, event: str) -> bool:
    """Whether the callback has a method of its own for the event."""
    return getattr(type(part), event) is not getattr(Callback, event)
