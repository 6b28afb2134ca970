"""How fast a run trains: the time that its updates take, without evaluations and saves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from trainer_cli.callbacks.base import Callback

if TYPE_CHECKING:
    from trainer_cli.data.loader import EvalLoader, GlobalBatch
    from trainer_cli.engine import Engine
    from trainer_cli.strategy import Strategy

LEAST = 1e-9
"""Seconds that updates take at least, as far as a coarse clock goes."""


class Clock:
    """Updates and the seconds that went into them, as far as it was running."""

    def __init__(self) -> None:
        self.updates = 0
        self.seconds = 0.0
        self.since: float | None = None

    def run(self) -> None:
        """Count from now on; what has not been taken in since the last call is left out."""
        self.since = monotonic()

    def take(self) -> None:
        """Take in the time up to now."""
        if self.since is not None:
            now = monotonic()
            self.seconds, self.since = self.seconds + now - self.since, now

    def tick(self) -> None:
        """Take in an update."""
        self.take()
        self.updates += 1

    def pause(self, device: torch.device) -> None:
        """Take in the time up to now, with that of the work that the device still has before it, and stop."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.take()
        self.since = None

    def lap(self) -> tuple[int, float]:
        """Updates, and seconds up to now, since the last lap."""
        self.take()
        lap = self.updates, max(self.seconds, LEAST)
        self.updates, self.seconds = 0, 0.0
        return lap


class Throughput(Callback):
    """Adds samples and tokens a second, seconds a step, all since the last row, and the tokens seen in all.

    Those are numbers of all processes together. Tokens are those of `input_ids`, without padding where there
    is an `attention_mask`; data without `input_ids` has none.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.samples = 0
        self.pending = (0, 0)
        self.tokens = 0  # of this process, since they were last summed
        self.tokens_seen = 0
        self.strategy: Strategy | None = None

    def on_train_begin(self, engine: Engine) -> None:
        self.strategy = engine.strategy
        self.clock.run()

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        self.pending = len(batch.rows), count_tokens(batch)

    def on_step_end(self, engine: Engine) -> None:
        samples, tokens = self.pending
        self.samples += samples
        self.tokens += tokens
        self.clock.tick()

    def on_evaluate_begin(self, engine: Engine, loader: EvalLoader) -> None:
        self.clock.pause(engine.strategy.device)

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.clock.run()

    def on_save(self, engine: Engine, checkpoint: Path) -> None:
        self.clock.run()

    def measure(self, engine: Engine) -> Mapping[str, float]:
        updates, seconds = self.clock.lap()
        samples, self.samples = self.samples, 0
        before, self.tokens_seen, self.tokens = self.tokens_seen, self.all_tokens(), 0
        row = {
            "train/samples_per_second": samples / seconds,
            "train/seconds_per_step": seconds / max(updates, 1),
        }
        if self.tokens_seen:
            row["train/tokens_per_second"] = (self.tokens_seen - before) / seconds
            row["train/tokens_seen"] = self.tokens_seen
        return row

    def all_tokens(self) -> int:
        """Tokens that all processes have trained on; each of them has to ask."""
        if self.strategy is None:
            return self.tokens_seen
        (tokens,) = self.strategy.sum([self.tokens])
        return self.tokens_seen + int(tokens)

    def state_dict(self) -> dict[str, Any]:
        return {"tokens_seen": self.all_tokens()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.tokens_seen, self.tokens = state["tokens_seen"], 0


def count_tokens(batch: GlobalBatch) -> int:
    """Tokens of this process's micro-batches, without padding and stand-ins; 0 for data without any."""
    tokens = 0
    for micro in batch.micro_batches:
        if micro.real and "input_ids" in micro.inputs:
            mask = micro.inputs.get("attention_mask")
            tokens += micro.inputs["input_ids"].numel() if mask is None else int(mask.count_nonzero())
    return tokens
