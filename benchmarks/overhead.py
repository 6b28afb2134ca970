"""What the loop costs where the model costs nothing: an MLP of 32-64-2, batch 8, a row every 500 updates."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from benchmarks.parts import Points
from benchmarks.side_by_side import Figure, ratios
from trainer_cli import loop, runner
from trainer_cli.config.compose import compose
from trainer_cli.model import MLP

STEPS = 3000
SIZE = 16_000


def figures() -> Iterator[Figure]:
    """Time of a step over that of a hand-written loop with the same clipping and schedule."""
    torch.set_num_threads(1)
    ours(), hand_written()
    yield Figure("a step of an MLP / hand-written loop", "<= 1.3", ratios(ours, hand_written, pairs=7))


def ours() -> float:
    """Seconds of the loop."""
    words = [
        "plugins=[benchmarks]",
        "data=python",
        f"data.train={{_target_: benchmarks.parts.Points, size: {SIZE}}}",
        "model=mlp",
        "model.in_features=32",
        "model.out_features=2",
        "loss=cross_entropy",
        "args.per_device_train_batch_size=8",
        f"args.max_steps={STEPS}",
        "args.logging_steps=500",
        "args.precision=fp32",
        "args.eval_strategy=no",
        "args.save_strategy=no",
        "args.stages=[train]",
        "~callbacks.progress",
    ]
    with tempfile.TemporaryDirectory() as folder:
        engine = runner.build(compose(words).config, Path(folder))
        start = time.perf_counter()
        loop.train(engine)
        return time.perf_counter() - start


def hand_written() -> float:
    """Seconds of a loop over a DataLoader."""
    model = MLP(32, [64], 2, 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    scheduler = LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    loader = DataLoader(Points(SIZE), batch_size=8, shuffle=True)
    model.train()
    step, window = 0, torch.zeros(())
    start = time.perf_counter()
    while step < STEPS:
        for batch in loader:
            loss = functional.cross_entropy(model(batch["features"])["logits"], batch["labels"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            window += loss.detach()
            step += 1
            if step % 500 == 0:
                window.item()
                window.zero_()
            if step == STEPS:
                break
    return time.perf_counter() - start
