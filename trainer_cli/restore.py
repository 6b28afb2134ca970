"""A run put back to where one of its checkpoints has it."""

from __future__ import annotations

from pathlib import Path

from trainer_cli.checkpoint import contents
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.model import storage

TRAINED = "trained.safetensors"
"""The weights that training goes on from, where model.safetensors has an average of them."""


def restore(engine: Engine, checkpoint: Path) -> None:
    """Put model, optimizer, schedule, position, callbacks and generators where the checkpoint has them.

    Raises UserError for a checkpoint that was saved without them.
    """
    state, strategy = engine.state, engine.strategy
    if not (checkpoint / contents.STATE).exists():
        raise UserError(
            f"{checkpoint} holds the model alone (args.save_only_model=true): no run can go on from it",
            right=f"model.pretrained={checkpoint} starts a run with its weights",
        )
    storage.load(engine.module, checkpoint)
    engine.averaging.adopt()
    if engine.averaging.trains_apart and (checkpoint / TRAINED).exists():
        storage.load_weights(engine.module, checkpoint / TRAINED)
    training = contents.read(checkpoint, engine.optimizer, engine.scheduler)
    state.load_state_dict(training.run)
    if strategy.is_main:
        state.window.carried = dict(training.run["window"])
    if engine.scaler.is_enabled() and training.run["scaler"]:
        engine.scaler.load_state_dict(training.run["scaler"])
    if engine.args.auto_find_batch_size and state.micro_batch is not None:
        engine.fit_micro_batch(state.micro_batch)
    for name, part in engine.callbacks.items():
        if name in training.callbacks:
            part.load_state_dict(training.callbacks[name])
    if strategy.rank < len(training.generators):
        contents.restore_generators(training.generators[strategy.rank], strategy.device)
