"""What a checkpoint costs training: its stall against a copy of the same tensors, and the pace meanwhile."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.side_by_side import Figure
from trainer_cli import loop, runner
from trainer_cli.config.compose import compose
from trainer_cli.engine import Engine
from trainer_cli.saving import save

# A 22M-parameter encoder with AdamW's state: 270 MB.
WORDS = ["+recipe=glue", "args.save_strategy=no", "args.eval_strategy=no", "callbacks.progress=null"]
SAVES = 8


def figures() -> Iterator[Figure]:
    """Measured in one process of its own for each way of saving."""
    for way in ("true",):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.saving", way], check=True, capture_output=True, text=True
        )
        stalls, paces = ([float(word) for word in line.split()] for line in done.stdout.splitlines()[-2:])
        yield Figure("stall of a save / a copy of its 270 MB in memory", "<= 2", stalls)
        yield Figure("updates a second while it is written / undisturbed", ">= 0.9", paces)


def measure(way: str) -> None:
    """Print the ratios of the stalls, and of the paces."""
    with tempfile.TemporaryDirectory() as folder:
        config = compose([*WORDS, f"checkpoint.async_save={way}"]).config
        engine = runner.build(config, Path(folder))
        updates = batches(engine)
        for _ in range(5):
            loop.train_step(engine, next(updates))
        save_now(engine)
        loop.finish(engine)
        stalls, paces = [], []
        for _ in range(SAVES):
            before = pace(engine, updates, 1.0)
            copied = copy_in_memory(engine)
            stalls.append(save_now(engine) / copied)
            written = pace(engine, updates, 0.0)
            after = pace(engine, updates, 1.0)
            loop.finish(engine)
            paces.append(written / statistics.mean([before, after]))
        print(*stalls)
        print(*paces)


def batches(engine: Engine) -> Iterator[list[loop.MicroBatch]]:
    """Micro-batches of update after update, over and over."""
    for epoch in itertools.count():
        for batch in engine.train_loader.updates(epoch, 0, engine.train_loader.global_batch):
            yield batch.micro_batches


def save_now(engine: Engine) -> float:
    """Seconds for which training stands still."""
    began = time.perf_counter()
    save(engine)
    return time.perf_counter() - began


def pace(engine: Engine, updates: Iterator[list[loop.MicroBatch]], seconds: float) -> float:
    """Updates a second for so long, and as long as a checkpoint is being written."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or engine.saver.writing:
        loop.train_step(engine, next(updates))
        count += 1
    return count / (time.perf_counter() - began)


COPIES: dict[int, torch.Tensor] = {}


def copy_in_memory(engine: Engine) -> float:
    """Seconds to copy all that a checkpoint holds into memory that is there already; the third of three."""
    tensors = [*engine.module.state_dict().values()]
    for state in engine.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    copies = [COPIES.setdefault(index, tensor.clone()) for index, tensor in enumerate(tensors)]
    for _ in range(3):
        began = time.perf_counter()
        torch._foreach_copy_(copies, tensors)
        seconds = time.perf_counter() - began
    return seconds


if __name__ == "__main__":
    measure(sys.argv[1])
