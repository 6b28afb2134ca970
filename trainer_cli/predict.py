"""Prediction: predictions.jsonl, a row for each row of the data, in its order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.data.loader import EvalLoader
from trainer_cli.engine import Engine

FILE = "predictions.jsonl"


def predict(engine: Engine) -> None:
    """Write `{"index", "prediction", "logits"}` for every row; the main process joins all parts."""
    loader, strategy = engine.predict_loader, engine.strategy
    assert loader is not None, "checked when the engine was built"
    parts = [engine.run_dir / f".{FILE}-{rank}" for rank in range(strategy.world_size)]
    with parts[strategy.rank].open("w", encoding="utf-8") as file:
        for row in predictions(engine, loader):
            file.write(json.dumps(row) + "\n")
    strategy.barrier()
    if not strategy.is_main:
        return
    # Row i was predicted by process i modulo their number.
    unfinished = engine.run_dir / f".{FILE}"
    with unfinished.open("w", encoding="utf-8") as merged:
        files = [part.open(encoding="utf-8") for part in parts]
        index = 0
        while line := files[index % len(files)].readline():
            merged.write(json.dumps({"index": index, **json.loads(line)}) + "\n")
            index += 1
        for file in files:
            file.close()
    os.replace(unfinished, engine.run_dir / FILE)
    for part in parts:
        part.unlink()


@torch.inference_mode()
def predictions(engine: Engine, loader: EvalLoader) -> Iterator[dict[str, Any]]:
    """This process's predictions, in the order of its rows."""
    engine.module.eval()
    engine.notify("on_evaluate_begin", loader)
    for batch in loader:
        inputs = {name: tensor for name, tensor in engine.place(batch).items() if name != "labels"}
        with engine.autocast():
            logits: Tensor = engine.module(**inputs)["logits"]
        if logits.ndim != 2:
            raise UserError(
                "args.stages=[predict] writes one score vector a row, and this model gives"
                f" {logits.ndim - 1} dimensions a row"
            )
        for scores in logits.float().cpu():
            yield {"prediction": decide(engine, scores), "logits": scores.tolist()}
        engine.notify("on_evaluate_step")


def decide(engine: Engine, scores: Tensor) -> Any:
    """The predicted class by name (by number where the data has no names), or the value of a regression."""
    if len(scores) == 1:
        return scores.item()
    best = int(scores.argmax())
    return engine.labels.names[best] if engine.labels else best
