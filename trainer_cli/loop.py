"""Training and evaluation, in the order in which things happen."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainer_cli import nonfinite
from trainer_cli.checkpoint.contents import generator_state, restore_generators
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.culprits import tell_rows
from trainer_cli.data.loader import EvalLoader, GlobalBatch, MicroBatch
from trainer_cli.data.reader import Batch
from trainer_cli.engine import Engine, Row
from trainer_cli.loss import named_losses
from trainer_cli.optim import InBackward
from trainer_cli.saving import deliver, finish, save
from trainer_cli.scheduler import WatchesScore
from trainer_cli.state import LossWindow, Update
from trainer_cli.strategy.device import empty_cache, ran_out_of_memory

log = logging.getLogger(__name__)


class BrokenOff(Exception):
    """An evaluation was not brought to its end, in all processes."""


def train(engine: Engine) -> None:
    """Update the model until the last step, or until something asks to stop."""
    args, state = engine.args, engine.state
    engine.notify("on_train_begin")
    if state.evaluation_due or (args.eval_on_start and state.step == 0):
        evaluate_in_training(engine)
    # A resumed run may stand at the end of its last epoch, and has to do what is due there.
    while not finished(engine) or (at_epoch_end(engine) and not state.interrupted):
        engine.notify("on_epoch_begin")
        if train_epoch(engine):
            end_epoch(engine)
    if is_over(engine):
        log_rest(engine)
    if args.save_strategy in ("steps", "epoch") or state.interrupted:
        save(engine)
    finish(engine)
    # A signal may have come after the last update, when nothing asked for it any more.
    (signals,) = engine.strategy.sum([is_signalled(engine)])
    if signals and not state.interrupted:
        interrupt(engine)
        save(engine)
        finish(engine)
    engine.notify("on_train_end")


def train_epoch(engine: Engine) -> bool:
    """The updates that are left of the current epoch; whether they came to its end."""
    args, state = engine.args, engine.state
    batches = batches_of_epoch(engine)
    while (batch := next(batches, None)) is not None:
        deliver(engine)
        engine.notify("on_step_begin", batch)
        while True:
            try:
                gradients = accumulate(engine, batch.micro_batches)
                break
            except (RuntimeError, MemoryError) as error:
                shrink_micro_batch(engine, error)
            # The same rows again, in smaller pieces; no weight has changed.
            batches = batches_of_epoch(engine)
            if (batch := next(batches, None)) is None:
                return True  # a stream that can be read once
        update = make_update(engine, gradients)
        if not update.made and not nonfinite.answer(engine, batch, update):
            return False
        state.samples += len(batch.rows)
        state.stream = batch.after
        if update.made:
            engine.notify("on_step_end")
            if is_log_due(engine):
                log_window(engine)
            if is_evaluation_due(engine):
                evaluate_in_training(engine)
                if is_over(engine):
                    log_rest(engine)
            if is_save_due(engine) and not at_epoch_end(engine):
                save(engine)
            if args.torch_empty_cache_steps and state.step % args.torch_empty_cache_steps == 0:
                empty_cache(engine.strategy.device)
        if finished(engine) and (state.interrupted or not at_epoch_end(engine)):
            return False
    return True


def train_step(engine: Engine, micro_batches: list[MicroBatch]) -> Update:
    """One update: the gradient of the mean loss over all items of all micro-batches of all processes.

    It is not made, and `step` not counted, where the gradient is not finite.
    """
    return make_update(engine, accumulate(engine, micro_batches))


@dataclasses.dataclass(frozen=True)
class Gradients:
    """What an update is to be made of, with the gradients in place: as `Update` has it.

    `interrupted` says whether a signal came to a process.
    """

    losses: list[dict[str, Tensor]]
    items: int
    interrupted: bool


def accumulate(engine: Engine, micro_batches: list[MicroBatch]) -> Gradients:
    """Forward and backward of all micro-batches: this part of an update may be repeated."""
    strategy = engine.strategy
    counts = [count_items(engine, micro) for micro in micro_batches]
    items, interrupted = strategy.sum([sum(counts), is_signalled(engine)])
    engine.evaluation = None
    # The processes' gradients come out averaged; their sum over the global count is what is wanted.
    scale = strategy.world_size / max(items, 1)
    if not engine.module.training:  # as after an evaluation; the walk through a model's modules takes time
        engine.model.train()
    losses = []
    for micro, count in zip(micro_batches[:-1], counts[:-1], strict=True):
        with strategy.without_sync(engine.model):
            losses.append(forward_backward(engine, micro, count, scale))
    losses.append(forward_backward(engine, micro_batches[-1], counts[-1], scale))
    return Gradients(losses, int(items), bool(interrupted))


def make_update(engine: Engine, gradients: Gradients) -> Update:
    """Clip the gradients and step; raises RunFailed where memory runs out, as weights may have changed."""
    try:
        update = step(engine, gradients)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise RunFailed(
            f"memory ran out in the optimizer's step {engine.state.step + 1}, which may have changed some"
            f" weights: it is not repeated, and nothing is saved\n  {str(error).partition(chr(10))[0]}",
            right="an optimizer that keeps less, as optim=adafactor, or a smaller model;"
            " resume=latest goes back to the newest checkpoint",
        ) from error
    if gradients.interrupted:
        interrupt(engine)
    return update


def step(engine: Engine, gradients: Gradients) -> Update:
    """Make the update, where the gradients are finite."""
    optimizer, scaler, state = engine.optimizer, engine.scaler, engine.state
    update = finish_gradients(engine, gradients.losses, gradients.items)
    if update.made:
        engine.notify("on_optimizer_step_begin")
        scaler.step(optimizer)
        engine.notify("on_optimizer_step_end")
        engine.scheduler.step()
        engine.averaging.update()
        state.window.take(update)
        state.step += 1
    else:
        state.skipped_steps += 1
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return update


def count_items(engine: Engine, micro: MicroBatch) -> int:
    """Items of a micro-batch; none of one that is a stand-in."""
    try:
        return engine.loss.count(micro.inputs) if micro.real else 0
    except Exception as error:
        tell_rows(error, "training", micro.rows, micro.inputs)


def forward_backward(engine: Engine, micro: MicroBatch, count: int, scale: float) -> dict[str, Tensor]:
    """Add a micro-batch's share to the gradients; returns the sums of its losses by name."""
    try:
        with engine.autocast():
            loss_sum, outputs = engine.loss(engine.model, engine.place(micro.inputs), count)
    except Exception as error:
        tell_rows(error, "training", micro.rows, micro.inputs)
    if not loss_sum.requires_grad:
        raise UserError(
            "the loss has no gradient: the model detaches it or computes it under torch.no_grad, or nothing"
            " that it is made of has weights to train",
            right="a loss that is made of the model's outputs as they are",
        )
    if not micro.real:
        loss_sum = loss_sum * 0
    engine.notify("on_backward_begin", loss_sum)
    detached = loss_sum.detach()
    # A loss that is not finite makes every gradient so, in all processes: no other sign of it is needed.
    loss_sum.backward(engine.scaler.scale(detached * 0 + scale))  # type: ignore[no-untyped-call]
    engine.notify("on_backward_end")
    return {"loss": detached, **{name: loss.detach() * count for name, loss in named_losses(outputs).items()}}


def finish_gradients(engine: Engine, losses: list[dict[str, Tensor]], items: int) -> Update:
    """Clip the gradients; the update to be made of them, if they are finite. Waits for the device once."""
    args = engine.args
    if isinstance(engine.optimizer, InBackward):
        update = Update(losses, items, None, engine.lr, made=True)
        return dataclasses.replace(update, made=math.isfinite(update.loss_sum()))
    engine.scaler.unscale_(engine.optimizer)
    if args.max_grad_norm > 0:
        norm = nn.utils.clip_grad_norm_(engine.parameters, args.max_grad_norm)
    else:
        norm = nn.utils.get_total_norm([p.grad for p in engine.parameters if p.grad is not None])
    if args.max_grad_value is not None:
        nn.utils.clip_grad_value_(engine.parameters, args.max_grad_value)
    grad_norm = float(norm)
    return Update(losses, items, grad_norm, engine.lr, made=math.isfinite(grad_norm))


def batches_of_epoch(engine: Engine) -> Iterator[GlobalBatch]:
    """The batches that are left of the current epoch, less those that a rollback passes over."""
    state, loader = engine.state, engine.train_loader
    if state.samples == 0:
        state.epoch_batch = loader.global_batch
    for batch in loader.updates(state.epoch, state.samples, state.epoch_batch, state.stream):
        if [state.epoch, state.samples] in state.rejected:
            state.samples += len(batch.rows)
            state.stream = batch.after
            state.skipped_steps += 1
        else:
            yield batch


def shrink_micro_batch(engine: Engine, error: Exception) -> None:
    """Go on with smaller micro-batches and as many more of them; raises the error if that is no way out."""
    rows = engine.train_loader.per_device
    engine.optimizer.zero_grad(set_to_none=True)
    make_room(engine, error, rows)
    engine.fit_micro_batch(rows // 2)
    loader = engine.train_loader
    log.warning(
        "memory ran out with micro-batches of %d rows: from here on an update is made of %d × %d",
        rows,
        loader.accumulation,
        loader.per_device,
    )


def make_room(engine: Engine, error: Exception, rows: int) -> None:
    """Raises the error unless it is one of memory that fewer than so many rows may spare."""
    if not engine.args.auto_find_batch_size or not ran_out_of_memory(error) or rows == 1:
        raise error
    empty_cache(engine.strategy.device)


def is_signalled(engine: Engine) -> bool:
    """Whether a signal asks this process to end training."""
    return engine.training and engine.state.signal is not None


def interrupt(engine: Engine) -> None:
    """End training here, as all processes have agreed: a signal came to one of them."""
    engine.state.interrupted = True
    engine.state.stop = "interrupted"


def finished(engine: Engine) -> bool:
    """Whether training is over."""
    state = engine.state
    return state.position.updates >= engine.total_steps or state.stop is not None


def is_over(engine: Engine) -> bool:
    """Whether training has come to its end, and is not broken off by a signal before it."""
    state = engine.state
    return finished(engine) and (not state.interrupted or state.position.updates >= engine.total_steps)


def is_log_due(engine: Engine) -> bool:
    """Whether the step is one of those whose row is logged; the rows of epochs are, at their end."""
    args, step = engine.args, engine.state.step
    if args.logging_first_step and step == 1:
        return True
    if args.logging_strategy == "epoch":
        return is_over(engine) and not at_epoch_end(engine)
    return args.logging_strategy == "steps" and (step % args.logging_steps == 0 or is_over(engine))


def is_evaluation_due(engine: Engine) -> bool:
    """Whether the step is one of those after which the model is scored."""
    args, step = engine.args, engine.state.step
    return args.eval_strategy == "steps" and step % (args.eval_steps or 1) == 0 and step >= args.eval_delay


def is_save_due(engine: Engine) -> bool:
    """Whether the step is one of those after which a checkpoint is written."""
    args = engine.args
    return args.save_strategy == "steps" and engine.state.step % args.save_steps == 0


def at_epoch_end(engine: Engine) -> bool:
    """Whether the current epoch's last update is done."""
    epochs = engine.train_loader.epochs
    samples = engine.state.samples
    return epochs is not None and samples > 0 and epochs.updates_from(samples) == 0


def end_epoch(engine: Engine) -> None:
    """What is due after a whole pass over the data."""
    args, state = engine.args, engine.state
    if state.samples == 0:
        raise UserError("the training data gave no rows")
    state.epoch += 1
    state.samples, state.stream = 0, None
    if args.logging_strategy == "epoch":
        log_rest(engine)
    engine.notify("on_epoch_end")
    if args.eval_strategy == "epoch" and state.epoch >= args.eval_delay:
        evaluate_in_training(engine)
    if args.save_strategy == "epoch" or is_save_due(engine):
        save(engine)


def log_rest(engine: Engine) -> None:
    """Write the training row of the updates since the last one, if there are any."""
    if engine.args.logging_strategy != "no" and engine.state.window.lr is not None:
        log_window(engine)


def log_window(engine: Engine) -> None:
    """Write a training row: the mean losses over the items since the last one; waits for the device."""
    window = engine.state.window
    totals = engine.strategy.sum_by_name(window.totals())
    row: Row = {f"train/{name}": mean(total, window.items) for name, total in totals.items()}
    if window.lr is not None:
        row["train/lr"] = window.lr
    if window.grad_norm is not None:
        row["train/grad_norm"] = window.grad_norm
    if engine.state.skipped_steps:
        row["train/skipped_steps"] = engine.state.skipped_steps
    window.clear()
    engine.log(row | engine.measure())


def evaluate_in_training(engine: Engine) -> None:
    """Evaluate; a schedule that watches the score is told it, and the best model so far is saved at once.

    A signal breaks it off: it is due when the run goes on.
    """
    args, state = engine.args, engine.state
    if engine.saver.on_full == "continue":
        finish(engine)  # a score counts as the best so far only where its model was kept
    state.evaluation_due = True
    generators = generator_state(engine.strategy.device)
    try:
        row = evaluate(engine)
    except BrokenOff:
        restore_generators(generators, engine.strategy.device)
        interrupt(engine)
        return
    state.evaluation_due = False
    if isinstance(engine.scheduler, WatchesScore):
        engine.scheduler.evaluated(row[engine.score_name(None)])
    if state.best_step == state.step and (args.load_best_model_at_end or args.save_strategy == "best"):
        save(engine)


def evaluate(engine: Engine) -> Row:
    """Score the weights to keep on every evaluation set, write the row, and remember it if it is the best."""
    row = Row()
    with engine.averaging.applied():
        for name in engine.eval_loaders:
            prefix = f"eval/{name}/" if name else "eval/"
            row |= {prefix + metric: value for metric, value in evaluate_in_memory(engine, name).items()}
    engine.evaluation = row
    engine.log(row)
    engine.notify("on_evaluate", row)
    engine.remember_best(row)
    return row


def evaluate_in_memory(engine: Engine, name: str) -> Row:
    """The scores of a set, begun again in smaller batches where memory runs out: they change nothing."""
    while True:
        loader = engine.eval_loaders[name]
        try:
            return evaluate_set(engine, loader)
        except (RuntimeError, MemoryError) as error:
            make_room(engine, error, loader.per_device)
        rows = loader.per_device // 2
        log.warning("memory ran out with %d rows: evaluations take %d from here on", loader.per_device, rows)
        engine.eval_loaders[name] = dataclasses.replace(loader, per_device=rows)


@torch.inference_mode()
def evaluate_set(engine: Engine, loader: EvalLoader) -> Row:
    """Mean losses and metrics over every sample once; holds sums, not predictions."""
    engine.module.eval()
    window = LossWindow()
    for metric in engine.metrics.values():
        metric.reset()
    engine.notify("on_evaluate_begin", loader)
    for number, batch in enumerate(loader):
        if is_signalled(engine):
            break
        try:
            score_batch(engine, batch, window)
        except Exception as error:
            tell_rows(error, "evaluation", loader.rows(number), batch)
        engine.notify("on_evaluate_step")
    own = {"items": window.items, "signals": is_signalled(engine)}
    totals = engine.strategy.sum_by_name({"loss": 0.0, **window.totals(), **own})
    items, signals = totals.pop("items"), totals.pop("signals")
    if signals:
        raise BrokenOff
    if not items and engine.strategy.is_main:
        log.warning("nothing was scored: no row of the evaluation has an item that its loss counts")
    losses = {name: mean(total, items) for name, total in totals.items()}
    scores = {
        name: metric.compute(engine.strategy.gather(metric.state()))
        for name, metric in engine.metrics.items()
    }
    return losses | scores


def mean(total: float, items: float) -> float:
    """The mean over the items; of none it is no number."""
    return total / items if items else math.nan


def score_batch(engine: Engine, batch: Batch, window: LossWindow) -> None:
    """Add a batch's losses to the window, and what it gives to the metrics."""
    count = engine.loss.count(batch)
    batch = engine.place(batch)
    with engine.autocast():
        loss_sum, outputs = engine.loss(engine.module, batch, count)
    for metric in engine.metrics.values():
        metric.update(*engine.loss.scored(outputs, batch), loss_sum, count)
    named = {name: loss * count for name, loss in named_losses(outputs).items()}
    window.add([{"loss": loss_sum, **named}], count)
