"""The parts of a run small enough for a test, and a way to build it in this process."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from trainer_cli import runner
from trainer_cli.callbacks import Callback
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.data.shuffled import Shuffled
from trainer_cli.engine import Engine
from trainer_cli.model import MLP
from trainer_cli.optim import InBackward

FEATURES, CLASSES = 6, 3


class Rows(Dataset[dict[str, Tensor]]):
    """Points of three classes, each with a length of its own."""

    def __init__(self, size: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(CLASSES, (size,), generator=generator)
        noise = torch.randn(size, FEATURES, generator=generator, dtype=torch.float64)
        self.features = noise + torch.nn.functional.one_hot(self.labels, FEATURES)
        self.lengths: Sequence[int] = torch.randint(1, 50, (size,), generator=generator).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index].float(), "labels": self.labels[index]}


class DoubleRows(Rows):
    """The same points in float64."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index], "labels": self.labels[index]}


class Unlabelled(DoubleRows):
    """The same points; every third, and a run of them, has nothing to score."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        return {**row, "labels": torch.tensor(-100)} if index % 3 == 0 or 10 < index < 20 else row


class RefusesAt(Callback):
    """Finds at the end of this step that the user asked for something that cannot be."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, engine: Engine) -> None:
        if engine.state.step == self.step:
            raise UserError("it cannot be", right="something else")


POISONED = 11


class Poisoned(DoubleRows):
    """The same points, of which one has features that are not finite."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        return {**row, "features": row["features"] * torch.inf} if index == POISONED else row


class Stream(IterableDataset[dict[str, Tensor]]):
    """The same points, one after the other."""

    def __init__(self, size: int) -> None:
        self.rows = Rows(size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return map(self.rows.__getitem__, itertools.islice(itertools.count(), len(self.rows)))


class Augmented(Rows):
    """The same points with noise of all generators, drawn anew each time they are read."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        noise = torch.rand(FEATURES) + random.random() + np.random.rand()
        return {**row, "features": row["features"] + noise}


class AugmentedStream(Stream):
    """Points with noise, one after the other."""

    def __init__(self, size: int) -> None:
        self.rows = Augmented(size)


class ShuffledStream(Shuffled):
    """Points with noise in random order, which know their place in it."""

    def __init__(self, size: int) -> None:
        super().__init__(AugmentedStream(size), buffer_size=9)


def masked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch in which features drawn at random are blotted out."""
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    batch["features"] *= torch.rand(len(rows), FEATURES) > 0.2
    batch["features"][:, random.randrange(FEATURES)] *= np.random.rand()
    return batch


class DoubleMLP(MLP):
    """A perceptron in float64, for equalities to the last digits."""

    def __init__(
        self, in_features: int, hidden_features: Sequence[int], out_features: int, dropout: float
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.double()


class Narrow(MLP):
    """A perceptron that has no memory for more than `room` rows in training, or twice as many without."""

    def __init__(
        self, in_features: int, hidden_features: Sequence[int], out_features: int, dropout: float, room: int
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.room = room

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        if len(features) > (self.room if self.training else 2 * self.room):
            raise torch.OutOfMemoryError("no room")
        return super().forward(features)


class TwoLosses(MLP):
    """A perceptron that returns a loss of its own with two parts."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        outputs = super().forward(features)
        assert labels is not None
        part = nn.functional.cross_entropy(outputs["logits"], labels)
        penalty = outputs["logits"].square().mean()
        return {**outputs, "loss": part + 0.1 * penalty, "class_loss": part, "penalty_loss": penalty}


class InBackwardDescent(InBackward):
    """Gradient descent within the backward pass."""

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * parameter.grad)


OVERRIDES = (
    "plugins=[small_run]",
    "data=python",
    "data.train._target_=small_run.Rows",
    "data.train.size=45",
    "data.eval._target_=small_run.Rows",
    "data.eval.size=17",
    "data.eval.seed=1",
    "model=mlp",
    f"model.in_features={FEATURES}",
    f"model.out_features={CLASSES}",
    "model.hidden_features=[16]",
    "loss=cross_entropy",
    "optim.lr=0.01",
    "metrics.accuracy._target_=trainer_cli.metrics.Accuracy",
    "callbacks.progress=null",
    "args.per_device_train_batch_size=8",
    "args.num_train_epochs=2",
    "args.logging_steps=1",
    "args.precision=fp32",
    "args.use_cpu=true",
)


@contextlib.contextmanager
def built(run_dir: Path, *overrides: str, resume_from: Path | None = None) -> Iterator[Engine]:
    """The engine of a small run, with these overrides on top, in a directory that is made if it has to be."""
    config = compose([*OVERRIDES, *overrides]).config
    run_dir.mkdir(parents=True, exist_ok=True)
    engine = runner.build(config, run_dir, resume_from)
    try:
        yield engine
    finally:
        for tracker in engine.trackers.values():
            tracker.close()


def run(run_dir: Path, *overrides: str, resume_from: Path | None = None) -> Engine:
    """The engine of a small run that is over."""
    with built(run_dir, *overrides, resume_from=resume_from) as engine:
        runner.run(engine)
    return engine
