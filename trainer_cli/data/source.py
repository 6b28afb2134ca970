"""The contract between data and a run: what is known before a model is built, and what is loaded after."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset

Collate = Callable[[list[Any]], dict[str, Tensor]]

UNSCORED = "args.eval_strategy=no args.stages=[train] trains without evaluation"
"""What to do about evaluation data that there is not."""


@dataclass(frozen=True)
class Labels:
    """What a model's head must fit: class names in the order of their ids, or none for a regression.

    `understood` says in a line how they were read, and from what.
    """

    names: tuple[str, ...]
    understood: str = field(default="", compare=False)

    @property
    def regression(self) -> bool:
        """Whether a label is a number to be predicted, and no class."""
        return not self.names


@dataclass(frozen=True)
class Head:
    """The head that a model brings along: its labels, and whether training may still change it.

    `model` is the model as the user named it. Without `named` the classes are only counted: LABEL_0, LABEL_1.
    """

    model: str
    labels: Labels
    named: bool
    trains: bool


@dataclass
class Splits:
    """Data as a run reads it: rows are dicts, which `collate_fn` makes a batch, a dict of tensors.

    `eval` has one unnamed set ("") or several named ones. Labels stand under "labels": int64 classes, float32
    for a regression, -100 where there is nothing to score. A dataset whose rows have lengths has `lengths`;
    `metrics` names what the task is scored by, `fingerprint` is 16 hex digits of the data's SHA-256, and
    `train_fingerprint` those of what decides the training rows, by which a checkpoint knows them again.
    `eval_fingerprint` is of the rows that scores are of, empty where there are none.
    """

    train: Dataset[Any] | None
    eval: dict[str, Dataset[Any]]
    predict: Dataset[Any] | None
    collate_fn: Collate
    metrics: tuple[str, ...]
    fingerprint: str
    train_fingerprint: str
    eval_fingerprint: str = ""


class DataSource(Protocol):
    """Data that is checked when it is made, before there is a model, and loaded when it is needed.

    One that has a parameter `head` is given the pretrained model's, or None where the model has none.
    """

    @property
    def description(self) -> str:
        """What the data is, in one line."""

    @property
    def labels(self) -> Labels | None:
        """What a head must fit; None leaves it to the model."""

    @property
    def tokenizer(self) -> Any | None:
        """The transformers tokenizer that is saved beside the model; None for data without text."""

    def load(self, splits: Collection[str]) -> Splits:
        """Those of "train", "eval" and "predict" that are asked for; any other name means nothing here."""
