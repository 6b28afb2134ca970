"""Checkpoints of a run: what is in one, copied at the step's end and written while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer_cli.checkpoint import contents
from trainer_cli.checkpoint.store import sync
from trainer_cli.config.errors import Diverged
from trainer_cli.engine import Engine
from trainer_cli.model import storage
from trainer_cli.restore import TRAINED
from trainer_cli.tracker.jsonl import FILE as METRICS

SMALL_FILES, OF_A_TOKEN = 64 << 10, 64
"""Bytes of what a checkpoint has beside its tensors: of text, and of a tokenizer for each of its tokens."""


def save(engine: Engine) -> None:
    """Have a checkpoint of this step written; last in a step, as all that it stores must be final.

    Raises Diverged rather than store weights that are not finite, and what went wrong with the one before.
    """
    state, strategy, saver = engine.state, engine.strategy, engine.saver
    if state.saved_step == state.step:
        return
    check_finite(engine)
    finish(engine)
    state.saved_step = state.step
    state.best_saving = (state.best_metric, state.best_step)
    training = contents.TrainingState(
        run={
            **state.state_dict(),
            "window": strategy.sum_by_name(state.window.totals()),
            "scaler": engine.scaler.state_dict(),
        },
        callbacks={name: part.state_dict() for name, part in engine.callbacks.items()},
        generators=contents.gather_generators(strategy),
        data=engine.train_fingerprint,
        eval_data=engine.eval_fingerprint,
        num_training_steps=engine.schedule_steps,
    )
    if strategy.is_main:
        write, size = contents_of(engine, training)
        saver.start(state.step, size, write, protected=state.best_step)
        deliver(engine)


def contents_of(engine: Engine, training: contents.TrainingState) -> tuple[Callable[[Path], None], int]:
    """What fills a checkpoint's directory with the run as it is now, and about how many bytes that is.

    All tensors are copied here; training may then change them.
    """
    module, averaging, snapshots = engine.module, engine.averaging, engine.snapshots
    with averaging.applied():
        kept = snapshots["kept"].take(storage.kept(module))
    packed, trained = None, None
    if not engine.args.save_only_model:
        names = contents.parameter_names(module, engine.optimizer)
        packed = contents.pack(training, engine.optimizer, engine.scheduler, names)
        packed = replace(packed, tensors=snapshots["state"].take(packed.tensors))
        if averaging.trains_apart:
            trained = snapshots["trained"].take(storage.kept(module))

    def write(directory: Path) -> None:
        storage.save(module, engine.tokenizer, directory, kept)
        if trained is not None:
            storage.save_weights(trained, directory / TRAINED)
        if packed is not None:
            contents.write(directory, packed)
        # A checkpoint says how many rows there are: they must outlive what it outlives.
        sync(engine.run_dir / METRICS)

    parts = (kept, trained or {}, packed.tensors if packed else {})
    tensors = {id(tensor): tensor.nbytes for part in parts for tensor in part.values()}
    text = len(packed.text) if packed else 0
    return write, sum(tensors.values()) + text + small_files(engine)


def small_files(engine: Engine) -> int:
    """About how many bytes a model's directory has beside its weights."""
    return SMALL_FILES + (0 if engine.tokenizer is None else OF_A_TOKEN * len(engine.tokenizer))


def deliver(engine: Engine) -> None:
    """Tell the callbacks of a checkpoint that has been written meanwhile; raises what went wrong with it."""
    if (path := engine.saver.collect()) is not None:
        engine.notify("on_save", path)


def finish(engine: Engine) -> None:
    """Wait until what is being written is committed, in all processes, which then agree on what is kept."""
    state, saver = engine.state, engine.saver
    if (path := saver.collect(wait=True)) is not None:
        engine.notify("on_save", path)
    if saver.on_full == "stop":
        return
    (lost,) = engine.strategy.sum([0 if saver.lost is None else saver.lost + 1])
    saver.lost = None
    if lost:
        state.was_lost(int(lost) - 1)
    else:
        state.was_saved()


def norm_of(weights: list[Tensor]) -> Tensor:
    """The largest magnitude of all; not finite where one is not."""
    return nn.utils.get_total_norm(weights, math.inf)


def check_finite(engine: Engine) -> None:
    """Raise Diverged if a weight is not finite, in words that say since when that may be so."""
    weights = [parameter.detach() for parameter in engine.parameters]
    weights = [torch.view_as_real(each) if each.is_complex() else each for each in weights]
    # A sum is quick, and finite only where all its terms are; where it is not, they may also be large.
    sums = [weight.sum(dtype=torch.float32) for weight in weights]
    if sums and not torch.stack(sums).isfinite().all() and not torch.isfinite(norm_of(weights)):
        raise Diverged(
            f"the weights of step {engine.state.step} are not all finite, and are not saved",
            right="a lower optim.lr; resume=latest goes back to the newest checkpoint",
        )
