"""What a loss or gradient that is not finite leads to: an end, a skipped update, or a step back."""

from __future__ import annotations

import json
import logging
import math

from trainer_cli import durable
from trainer_cli.config.errors import Diverged
from trainer_cli.data.build import count_steps
from trainer_cli.data.loader import GlobalBatch
from trainer_cli.engine import Engine, Row
from trainer_cli.optim import InBackward
from trainer_cli.restore import restore
from trainer_cli.saving import finish
from trainer_cli.state import Update

log = logging.getLogger(__name__)


def answer(engine: Engine, batch: GlobalBatch, update: Update) -> bool:
    """After an update that was not made: do as `args.on_nonfinite` says; raises Diverged to stop.

    Returns whether the epoch goes on with the next batch, as it does not after a step back. An overflow of
    fp16's scaled gradients is no such case while their scale can still fall.
    """
    args, state = engine.args, engine.state
    (loss_sum,) = engine.strategy.sum([update.loss_sum()])
    loss = loss_sum / max(update.items, 1)
    if math.isfinite(loss) and engine.scaler.is_enabled() and engine.scaler.get_scale() >= 1:
        return True
    state.nonfinite_steps += 1
    norm: Row = {} if update.grad_norm is None else {"train/grad_norm": update.grad_norm}
    engine.log({"train/loss": loss, **norm}, step=state.step + 1)
    what = f"update {state.step + 1} has loss {loss:g}" + "".join(
        f", gradient norm {n:g}" for n in norm.values()
    )
    file = keep(engine, batch, loss, update)
    if args.on_nonfinite == "stop":
        left = f"it was not made: the weights are those of step {state.step}"
        if isinstance(engine.optimizer, InBackward):
            left = "it was made within the backward pass, so these weights are lost"
        raise Diverged(
            f"{what}\n  {left}; the rows of its batch are in {file}",
            right="a lower optim.lr, or resume=latest args.on_nonfinite=skip, which passes over the batch",
        )
    if state.nonfinite_steps > args.max_nonfinite_steps:
        raise Diverged(
            f"{what}; with it {state.nonfinite_steps} updates are not made,"
            f" and args.max_nonfinite_steps is {args.max_nonfinite_steps}",
            right="a lower optim.lr; the rows of each of these batches are in nonfinite-STEP.jsonl",
        )
    if args.on_nonfinite == "skip":
        log.warning("%s: not made", what)
        return True
    roll_back(engine, what)
    return False


def roll_back(engine: Engine, what: str) -> None:
    """Go back to the newest checkpoint, and from there pass over the batch at hand."""
    state = engine.state
    finish(engine)
    engine.strategy.barrier()
    newest, _ = engine.checkpoints.newest()
    if newest is None:
        raise Diverged(
            f"{what}, and there is no checkpoint to go back to",
            right="args.save_strategy=steps with a small args.save_steps, or args.on_nonfinite=skip",
        )
    nonfinite_steps, rejected = state.nonfinite_steps, [*state.rejected, [state.epoch, state.samples]]
    micro_batch = state.micro_batch
    restore(engine, newest)
    state.nonfinite_steps, state.rejected = nonfinite_steps, rejected
    if micro_batch is not None:  # what did not fit into memory does not fit now
        engine.fit_micro_batch(micro_batch)
    # It may be from before a resume, and its updates of another size.
    engine.total_steps = count_steps(engine.args, engine.train_loader, state.position)
    for tracker in engine.trackers.values():
        tracker.start(engine.run_dir, state.step, state.rows)
    log.warning("%s: back to step %d", what, state.step)


def keep(engine: Engine, batch: GlobalBatch, loss: float, update: Update) -> str:
    """Note which rows of the data the update was to be made of; the file's name.

    A line each: batches in a row that are all skipped are attempts at the same update.
    """
    state = engine.state
    name = f"nonfinite-{state.step + 1}.jsonl"
    found = {
        "step": state.step + 1,
        "epoch": state.epoch,
        "samples": state.samples,
        "rows": batch.rows,
        "loss": str(loss),
        "grad_norm": str(update.grad_norm),
        "lr": update.lr,
    }
    if engine.strategy.is_main:
        with durable.append(engine.run_dir / name) as file:
            file.write(json.dumps(found).encode() + b"\n")
    return name
