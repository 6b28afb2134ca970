"""What each update was made of, as digests: by them two runs can be told apart at their first difference."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from trainer_cli import durable
from trainer_cli.callbacks.base import Callback
from trainer_cli.checkpoint.compare import as_bytes
from trainer_cli.checkpoint.contents import generator_state

if TYPE_CHECKING:
    from trainer_cli.data.loader import GlobalBatch
    from trainer_cli.engine import Engine

FACTS = ("rows", "batch", "weights", "generators", "lr", "gradients")
"""What a row has beside its step, each by name, in the order in which one leads to the next."""


class Witness(Callback):
    """Writes a row for each update to witness-RANK.jsonl, and ends training after `updates` of them.

    Args:
        updates: The step after which training ends.
    """

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.row: dict[str, Any] = {}

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        module = engine.module
        self.row = {
            "step": engine.state.step + 1,
            "rows": {"": digest_of(json.dumps(batch.rows).encode())},
            "batch": digests_of_fields(batch),
            # Buffers that a state_dict leaves out are here too.
            "weights": {
                name: digest(tensor) for name, tensor in (*module.named_parameters(), *module.named_buffers())
            },
            "generators": {
                name: digest_of(json.dumps(state).encode())
                for name, state in generator_state(engine.strategy.device).items()
            },
            "lr": {"": engine.lr},
        }

    def on_optimizer_step_begin(self, engine: Engine) -> None:
        self.row["gradients"] = {
            name: digest(parameter.grad)
            for name, parameter in engine.module.named_parameters()
            if parameter.grad is not None
        }

    def on_step_end(self, engine: Engine) -> None:
        with durable.append(engine.run_dir / file_name(engine.strategy.rank)) as file:
            file.write(json.dumps(self.row).encode() + b"\n")
        if engine.state.step >= self.updates and engine.state.stop is None:
            engine.state.stop = f"{self.updates} updates are done"


def file_name(rank: int) -> str:
    """Where a process writes its rows."""
    return f"witness-{rank}.jsonl"


def read(run_dir: Path) -> list[dict[int, dict[str, Any]]]:
    """The rows of each process, in rank order, by their steps."""
    found: list[dict[int, dict[str, Any]]] = []
    while (path := run_dir / file_name(len(found))).is_file():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found.append({row["step"]: row for row in rows})
    return found


def digests_of_fields(batch: GlobalBatch) -> dict[str, str]:
    """Each field of this process's micro-batches, all of them as one."""
    fields: dict[str, list[str]] = {}
    for micro in batch.micro_batches:
        for name, value in micro.inputs.items():
            if isinstance(value, Tensor):
                fields.setdefault(name, []).append(digest(value))
    return {name: digest_of("".join(parts).encode()) for name, parts in fields.items()}


def digest(tensor: Tensor) -> str:
    """Of a tensor's type, shape and bits."""
    return digest_of(f"{tensor.dtype} {list(tensor.shape)}".encode(), as_bytes(tensor).numpy().tobytes())


def digest_of(*parts: bytes) -> str:
    """16 hex digits."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(part)
    return state.hexdigest()
