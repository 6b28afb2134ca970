"""Parts that the benchmarks name by `_target_`, and the data that both sides read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch.utils.data import Dataset

from trainer_cli.callbacks import Callback
from trainer_cli.data.glue import embedded
from trainer_cli.engine import Engine


class FirstStep(Callback):
    """Writes the moment at which the first update was done, and ends the process."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_step_end(self, engine: Engine) -> None:
        write_moment(self.path)


def write_moment(path: str) -> None:
    """Write the time into a file, and end the process without tidying up."""
    Path(path).write_text(str(time.time()))
    os._exit(0)


class Points(Dataset):
    """Random points of 32 features in two classes."""

    def __init__(self, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(size, 32, generator=generator)
        self.labels = torch.randint(0, 2, (size,), generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"features": self.features[index], "labels": self.labels[index]}


def write_tweets(directory: Path) -> None:
    """The embedded tweets as train.jsonl and eval.jsonl, for scripts that know nothing of trainer-cli."""
    found = embedded("sst2")
    for name, tables in (("train", found.train), ("eval", found.eval[""])):
        columns = tables[0].columns
        rows = zip(columns["sentence"], columns["label"], strict=True)
        lines = [json.dumps({"sentence": sentence, "label": label}) for sentence, label in rows]
        (directory / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
