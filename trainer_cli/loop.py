"""Training and evaluation, in the order in which things happen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer_cli.checkpoint.contents import TrainingState, gather_generators, write
from trainer_cli.config.errors import UserError
from trainer_cli.data.loader import EvalLoader, MicroBatch
from trainer_cli.engine import Engine, Row
from trainer_cli.model import storage


@dataclass(frozen=True)
class Update:
    """What an update was made with: the gradient norm before clipping, where it was taken, and the rate."""

    grad_norm: Tensor | None
    lr: float


def train(engine: Engine) -> None:
    """Update the model until the last step, or until something asks to stop."""
    args, state = engine.args, engine.state
    engine.notify("on_train_begin")
    if args.eval_on_start and state.step == 0:
        evaluate(engine)
    while not finished(engine):
        engine.notify("on_epoch_begin")
        for samples, micro_batches in updates_of_epoch(engine):
            update = train_step(engine, micro_batches)
            state.samples += samples
            engine.notify("on_step_end")
            if state.step % args.logging_steps == 0 or (args.logging_first_step and state.step == 1):
                log_update(engine, update)
            if args.eval_strategy == "steps" and state.step % (args.eval_steps or args.logging_steps) == 0:
                evaluate(engine)
            if is_save_due(engine) and not at_epoch_end(engine):
                save(engine)
            if finished(engine) and (state.interrupted or not at_epoch_end(engine)):
                break
        else:
            end_epoch(engine)
    if args.save_strategy != "no" or state.interrupted:
        save(engine)
    engine.notify("on_train_end")


def train_step(engine: Engine, micro_batches: list[MicroBatch]) -> Update:
    """One update: the gradient of the mean loss over all items of all micro-batches of all processes."""
    optimizer, scheduler, strategy, state = engine.optimizer, engine.scheduler, engine.strategy, engine.state
    counts = [engine.loss.count(micro.inputs) if micro.real else 0 for micro in micro_batches]
    items, interrupted = strategy.sum([sum(counts), state.signal is not None])
    engine.evaluation = None
    # The processes' gradients come out averaged; their sum over the global count is what is wanted.
    scale = strategy.world_size / max(items, 1)
    if not engine.module.training:  # as after an evaluation; the walk through a model's modules takes time
        engine.model.train()
    for micro, count in zip(micro_batches[:-1], counts[:-1], strict=True):
        with strategy.without_sync(engine.model):
            state.window_losses.append(forward_backward(engine, micro, count, scale))
    state.window_losses.append(forward_backward(engine, micro_batches[-1], counts[-1], scale))
    update = Update(clip_gradients(engine), engine.lr)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad(set_to_none=True)
    state.window_items += int(items)
    state.step += 1
    if interrupted:
        state.interrupted = True
        state.stop = "interrupted"
    return update


def forward_backward(engine: Engine, micro: MicroBatch, count: int, scale: float) -> Tensor:
    """Add a micro-batch's share to the gradients; returns the sum of its losses."""
    with engine.autocast():
        loss_sum, _ = engine.loss(engine.model, engine.place(micro.inputs), count)
    if not micro.real:
        loss_sum = loss_sum * 0
    (loss_sum * scale).backward()  # type: ignore[no-untyped-call]
    return loss_sum.detach()


def clip_gradients(engine: Engine) -> Tensor | None:
    """Scale the gradients down to `max_grad_norm`; the norm before that, None where nothing asks for it."""
    limit = engine.args.max_grad_norm
    if limit > 0:
        return nn.utils.clip_grad_norm_(engine.parameters, limit)
    if (engine.state.step + 1) % engine.args.logging_steps == 0:
        gradients = [parameter.grad for parameter in engine.parameters if parameter.grad is not None]
        return nn.utils.get_total_norm(gradients)
    return None


def updates_of_epoch(engine: Engine) -> Iterator[tuple[int, list[MicroBatch]]]:
    """The updates that are left of the current epoch."""
    state, loader = engine.state, engine.train_loader
    if state.samples == 0:
        state.epoch_batch = loader.global_batch
    return loader.updates(state.epoch, state.samples, state.epoch_batch)


def finished(engine: Engine) -> bool:
    """Whether training is over."""
    return engine.state.step >= engine.total_steps or engine.state.stop is not None


def is_save_due(engine: Engine) -> bool:
    """Whether the step is one of those after which a checkpoint is written."""
    args = engine.args
    return args.save_strategy == "steps" and engine.state.step % args.save_steps == 0


def at_epoch_end(engine: Engine) -> bool:
    """Whether the current epoch's last update is done."""
    left = engine.train_loader.samples_per_epoch
    return left is not None and engine.state.samples >= left


def end_epoch(engine: Engine) -> None:
    """What is due after a whole pass over the data."""
    if engine.state.samples == 0:
        raise UserError("the training data gave no rows")
    engine.state.epoch += 1
    engine.state.samples = 0
    engine.notify("on_epoch_end")
    if engine.args.eval_strategy == "epoch":
        evaluate(engine)
    if engine.args.save_strategy == "epoch" or is_save_due(engine):
        save(engine)


def log_update(engine: Engine, update: Update) -> None:
    """Write a training row: the mean loss over the items since the last one; waits for the device."""
    state = engine.state
    (loss_sum,) = engine.strategy.sum([state.window_loss_sum()])
    row: Row = {"train/loss": loss_sum / max(state.window_items, 1), "train/lr": update.lr}
    if update.grad_norm is not None:
        row["train/grad_norm"] = float(update.grad_norm)
    state.clear_window()
    engine.log(row)


def evaluate(engine: Engine) -> Row:
    """Score the model on every evaluation set, write the row, and remember it if it is the best."""
    row: Row = {}
    for name, loader in engine.eval_loaders.items():
        prefix = f"eval/{name}/" if name else "eval/"
        row |= {prefix + metric: value for metric, value in evaluate_set(engine, loader).items()}
    engine.evaluation = row
    engine.log(row)
    engine.notify("on_evaluate", row)
    if engine.remember_best(row) and engine.args.load_best_model_at_end:
        save(engine)
    return row


@torch.inference_mode()
def evaluate_set(engine: Engine, loader: EvalLoader) -> Row:
    """Mean loss and metrics over every sample once; holds sums, not predictions."""
    engine.module.eval()
    losses: list[Tensor] = []
    items = 0
    for metric in engine.metrics.values():
        metric.reset()
    engine.notify("on_evaluate_begin", loader)
    for batch in loader:
        count = engine.loss.count(batch)
        batch = engine.place(batch)
        with engine.autocast():
            loss_sum, outputs = engine.loss(engine.module, batch, count)
        for metric in engine.metrics.values():
            metric.update(*engine.loss.scored(outputs, batch), loss_sum, count)
        losses.append(loss_sum)
        items += count
        engine.notify("on_evaluate_step")
    local = float(torch.stack(losses).cpu().double().sum()) if losses else 0.0
    loss_sum_all, items_all = engine.strategy.sum([local, items])
    scores = {
        name: metric.compute(engine.strategy.gather(metric.state()))
        for name, metric in engine.metrics.items()
    }
    return {"loss": loss_sum_all / items_all if items_all else math.nan, **scores}


def save(engine: Engine) -> None:
    """Commit a checkpoint of this step; last in a step, as all that it stores must be final."""
    state = engine.state
    if state.saved_step == state.step:
        return
    state.saved_step = state.step
    window = engine.strategy.gather(torch.tensor([state.window_loss_sum()], dtype=torch.float64))
    training = TrainingState(
        run={**state.state_dict(), "window_loss": float(torch.cat(window).sum())},
        callbacks={name: part.state_dict() for name, part in engine.callbacks.items()},
        generators=gather_generators(engine.strategy),
    )

    def fill(directory: Path) -> None:
        storage.save(engine.module, engine.tokenizer, directory)
        write(directory, training, engine.optimizer, engine.scheduler)

    if engine.strategy.is_main:
        path = engine.checkpoints.save(state.step, fill)
        engine.checkpoints.rotate(protected=state.best_step if engine.args.load_best_model_at_end else None)
        engine.notify("on_save", path)
    engine.strategy.barrier()
