"""Prediction: predictions.jsonl, a row for each row of the data, in its order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.culprits import tell_rows
from trainer_cli.data.loader import EvalLoader
from trainer_cli.data.reader import Batch
from trainer_cli.engine import Engine
from trainer_cli.loss import CrossEntropy, MeanSquaredError
from trainer_cli.loss.base import IGNORED
from trainer_cli.tracker.jsonl import plain

FILE = "predictions.jsonl"


def predict(engine: Engine) -> None:
    """Write `{"index", "prediction", "logits"}` for every row, of classes with their probabilities.

    Of tokens the predictions alone are written, as lists.
    """
    loader, strategy = engine.predict_loader, engine.strategy
    assert loader is not None, "checked when the engine was built"
    names = [f"{durable.UNFINISHED}{FILE}-{rank}" for rank in range(strategy.world_size)]
    parts = [engine.run_dir / name for name in names]
    durable.remove(parts[strategy.rank])
    with durable.create(parts[strategy.rank]) as file, engine.averaging.applied():
        for row in predictions(engine, loader):
            file.write(json.dumps(row).encode() + b"\n")
    strategy.barrier()
    path = engine.run_dir / FILE
    if strategy.is_main:
        join(parts, path)
    strategy.barrier()
    engine.notify("on_predict", path)


def join(parts: list[Path], path: Path) -> None:
    """Make one file of the processes' parts: row i was predicted by process i modulo their number."""
    with durable.replacing(path) as merged:
        files = [part.open("rb") for part in parts]
        index = 0
        while line := files[index % len(files)].readline():
            merged.write(json.dumps({"index": index, **json.loads(line)}).encode() + b"\n")
            index += 1
        for file in files:
            file.close()
    for part in parts:
        part.unlink()


@torch.inference_mode()
def predictions(engine: Engine, loader: EvalLoader) -> Iterator[dict[str, Any]]:
    """This process's predictions, in the order of its rows."""
    engine.module.eval()
    engine.notify("on_evaluate_begin", loader)
    for number, batch in enumerate(loader):
        try:
            yield from rows_of(engine, batch)
        except Exception as error:
            tell_rows(error, "prediction", loader.rows(number), batch)
        engine.notify("on_evaluate_step")


def rows_of(engine: Engine, batch: Batch) -> Iterator[dict[str, Any]]:
    """The predictions of a batch."""
    inputs = {name: tensor for name, tensor in engine.place(batch).items() if name != "labels"}
    with engine.autocast():
        outputs = engine.module(**inputs)
    logits = logits_of(outputs)
    if logits.ndim == 3:
        yield from token_rows(engine, logits, batch)
    elif logits.ndim in (1, 2):
        yield from score_rows(engine, logits.view(len(logits), -1))
    else:
        raise UserError(
            "args.stages=[predict] writes the scores of a row or of each of its tokens, and this model"
            f" gives {logits.ndim - 1} dimensions a row"
        )


def logits_of(outputs: Any) -> Tensor:
    """The logits that the model returned; raises UserError if there are none."""
    if isinstance(outputs, Mapping) and "logits" in outputs:
        logits: Tensor = outputs["logits"]
        return logits
    raise UserError(
        "args.stages=[predict] needs a dict with logits from the model, which returns"
        f" {', '.join(outputs) if isinstance(outputs, Mapping) else f'a {type(outputs).__name__}'}"
    )


def score_rows(engine: Engine, logits: Tensor) -> Iterator[dict[str, Any]]:
    """Of each row its class and the probabilities, or the numbers of a regression; and the logits."""
    logits = logits.float()
    written = [[plain(score) for score in scores] for scores in logits.tolist()]
    if logits.shape[1] == 1 or is_regression(engine):
        for values in written:
            yield {"prediction": values[0] if len(values) == 1 else values, "logits": values}
        return
    best = logits.argmax(dim=1).tolist()
    shares = logits.softmax(dim=1).tolist()
    for values, index, row in zip(written, best, shares, strict=True):
        found = {"prediction": named(engine, index), "logits": values}
        # Whether a model's classes exclude each other, its labels or its loss says.
        if engine.labels is not None or isinstance(engine.loss, CrossEntropy):
            found["probabilities"] = [plain(share) for share in row]
        yield found


def token_rows(engine: Engine, logits: Tensor, batch: Batch) -> Iterator[dict[str, Any]]:
    """Of each row its tokens' classes: of those with a label where there are any, else without padding."""
    if "labels" in batch:
        logits, labels = engine.loss.scored({"logits": logits}, batch)
        kept = labels != IGNORED
    else:
        mask = batch.get("attention_mask")
        kept = torch.ones(logits.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    for best, of_row in zip(logits.argmax(dim=-1).cpu(), kept.cpu(), strict=True):
        yield {"prediction": [named(engine, index) for index in best[of_row].tolist()]}


def is_regression(engine: Engine) -> bool:
    """Whether the logits are numbers to be predicted: the data knows, or where it does not, the loss."""
    if engine.labels is not None:
        return engine.labels.regression
    return isinstance(engine.loss, MeanSquaredError)


def named(engine: Engine, index: int) -> str | int:
    """The class by name, or by number where the data has no names."""
    return engine.labels.names[index] if engine.labels and engine.labels.names else index
