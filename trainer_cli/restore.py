"""A run put back to where one of its checkpoints has it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from torch import Tensor

from trainer_cli.checkpoint import contents
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.model import storage
from trainer_cli.optim.learned import kind

log = logging.getLogger(__name__)

TRAINED = "trained.safetensors"
"""The weights that training goes on from, where model.safetensors has an average of them."""

KINDS = {
    "model": ("another model", "weights that fit are taken, the others begin anew"),
    "optimizer": ("another optimizer", "it begins anew, with what it had learned forgotten"),
    "data": ("other training data", "the place in the epoch is counted in other rows"),
}
"""What a checkpoint may be made with, and what follows where `checkpoint.allow` has it."""


def restore(engine: Engine, checkpoint: Path, allow: Collection[str] = ()) -> None:
    """Put model, optimizer, schedule, position, callbacks and generators where the checkpoint has them.

    Nothing is changed before all is compared: raises UserError for a checkpoint of another model, optimizer
    or data, unless `allow` has their group's name, and what fits is taken.
    """
    module, optimizer, state, strategy = engine.module, engine.optimizer, engine.state, engine.strategy
    stored = contents.read(checkpoint)
    weights = storage.read(module, checkpoint)
    names = contents.parameter_names(module, optimizer)
    differing = differences(engine, stored, weights, names)
    refuse(differing, allow, checkpoint)

    storage.put(module, weights)
    engine.averaging.adopt()
    if engine.averaging.trains_apart and (checkpoint / TRAINED).exists():
        storage.put(module, storage.read_weights(checkpoint / TRAINED))
    if "optimizer" not in differing:
        own = dict(module.named_parameters())
        fitting = {name for name in own if name in weights and weights[name].shape == own[name].shape}
        contents.restore_optimizer(optimizer, stored.optimizer, names, fitting)
    training = stored.training
    state.load_state_dict(training.run)
    contents.restore_schedule(engine.scheduler, optimizer, stored.scheduler, state.step)
    explain_scores(engine, training.eval_data)
    if "train" in engine.args.stages and training.num_training_steps != engine.total_steps:
        explain_end(engine)
        explain_schedule(engine, training.num_training_steps, stored.scheduler["state"].get("_last_lr"))
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


def differences(
    engine: Engine, stored: contents.Stored, weights: Mapping[str, Tensor], names: list[list[str]]
) -> dict[str, list[str]]:
    """What the checkpoint has of another kind than the engine, in words, by the group that makes it."""
    found = {"model": storage.misfits(engine.module, weights), "optimizer": [], "data": []}
    there, here = stored.optimizer["type"], kind(engine.optimizer)
    if there != here:
        found["optimizer"] = [f"{there} there, {here} here"]
    trained, trains = set(chain.from_iterable(stored.optimizer["names"])), set(chain.from_iterable(names))
    found["model"] += [f"{name} was not trained there" for name in sorted(trains - trained)]
    found["model"] += [f"{name} is not trained here" for name in sorted(trained - trains)]
    there, here = stored.training.data, engine.train_fingerprint
    if "train" in engine.args.stages and there != here:
        found["data"] = [f"the training rows have fingerprint {there} there and {here} here"]
    return {group: lines for group, lines in found.items() if lines}


def refuse(differing: Mapping[str, list[str]], allow: Collection[str], checkpoint: Path) -> None:
    """Raise UserError for what is not allowed to differ; say what is."""
    refused = [group for group in differing if group not in allow]
    if refused:
        kinds = " and ".join(KINDS[group][0] for group in refused)
        lines = [f"  {line}" for group in refused for line in shortened(differing[group])]
        follows = "; ".join(KINDS[group][1] for group in refused)
        raise UserError(
            "\n".join([f"{checkpoint} was made with {kinds}", *lines]),
            right=f"checkpoint.allow=[{','.join(refused)}] goes on all the same: {follows}\n"
            f"model.pretrained={checkpoint} starts a fresh run with its weights",
        )
    for group, lines in differing.items():
        kind, follows = KINDS[group]
        log.warning("%s: %s (%s)", kind, follows, "; ".join(shortened(lines)))


def explain_scores(engine: Engine, eval_data: str) -> None:
    """Say that the rows to evaluate on are different now, which leaves scores that cannot be compared."""
    if not engine.eval_loaders or "" in (eval_data, engine.eval_fingerprint):
        return
    if eval_data == engine.eval_fingerprint:
        return
    state = engine.state
    best = (
        "" if state.best_metric is None else f"; the best so far, {state.best_metric:.4g}, is of the old rows"
    )
    log.warning(
        "the evaluation rows have changed: scores before and after step %d cannot be compared%s",
        state.step,
        best,
    )


def explain_end(engine: Engine) -> None:
    """Say where a run ends that is longer, or shorter, than planned."""
    args, total = engine.args, engine.total_steps
    if args.max_steps > 0:
        log.warning("the run ends at step %d, as args.max_steps has it", total)
        return
    log.warning(
        "the run ends at step %d: of %g epochs, %d updates of %d rows are left",
        total,
        args.num_train_epochs,
        total - engine.state.position.updates,
        engine.train_loader.global_batch,
    )


def explain_schedule(engine: Engine, planned: int, rates: Sequence[float] | None) -> None:
    """Say by what rule the schedule of a run that is longer, or shorter, than planned goes on.

    `rates` are those that it had come to.
    """
    if engine.schedule_steps == planned:
        log.warning("the schedule stays that of %d updates (scheduler.on_extend=hold)", planned)
        return
    rate = "" if rates is None else f": the rate at step {engine.state.step} is {engine.lr:.3g}"
    was = "" if rates is None else f" in place of {rates[0]:.3g}"
    log.warning(
        "the schedule is stretched from %d to %d updates (scheduler.on_extend=restretch)%s%s",
        planned,
        engine.schedule_steps,
        rate,
        was,
    )


def shortened(lines: list[str]) -> list[str]:
    """The first few of many lines."""
    return lines if len(lines) <= 4 else [*lines[:3], f"and {len(lines) - 3} more"]
