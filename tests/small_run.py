"""The parts of a run small enough for a test, and a way to build it in this process."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainer_cli import runner
from trainer_cli.config.compose import compose
from trainer_cli.engine import Engine
from trainer_cli.model import MLP

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


class Stream(IterableDataset[dict[str, Tensor]]):
    """The same points, one after the other."""

    def __init__(self, size: int) -> None:
        self.rows = Rows(size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return map(self.rows.__getitem__, itertools.islice(itertools.count(), len(self.rows)))


class DoubleMLP(MLP):
    """A perceptron in float64, for equalities to the last digits."""

    def __init__(
        self, in_features: int, hidden_features: Sequence[int], out_features: int, dropout: float
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.double()


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
