"""What `plan` shows of the parts that were built: sizes, parameter groups, the learning rate's course."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainer_cli.config.instantiate import instantiate
from trainer_cli.data.build import count_steps
from trainer_cli.data.loader import KnowsLengths
from trainer_cli.engine import Engine
from trainer_cli.model import storage
from trainer_cli.runs.plot import plot
from trainer_cli.scheduler import ReduceLROnPlateau, WatchesScore
from trainer_cli.summary import short_number

MOST_POINTS = 1000


def groups(engine: Engine, config: Mapping[str, Any]) -> Table:
    """The optimizer's parameter groups, with what may differ between them."""
    own = {name for entry in config.get("groups") or [] for name in entry}
    columns = ["lr", "weight_decay", *sorted(own - {"modules", "lr", "weight_decay"})]
    table = Table("group", "tensors", "parameters", *columns, title="parameter groups", title_justify="left")
    for index, group in enumerate(engine.optimizer.param_groups):
        peak = {**group, "lr": group.get("initial_lr", group["lr"])}
        size = short_number(sum(parameter.numel() for parameter in group["params"]))
        values = [as_text(peak.get(name, "")) for name in columns]
        table.add_row(str(group.get("name", index)), str(len(group["params"])), size, *values)
    return table


def as_text(value: Any) -> str:
    """A hyperparameter in few characters."""
    if isinstance(value, tuple):
        return str(list(value))
    return f"{float(value):g}" if isinstance(value, float | Tensor) else str(value)


def learning_rate(engine: Engine, config: Mapping[str, Any], processes: int, width: int) -> str:
    """The first parameter group's learning rate over the run's updates, as a curve or in words.

    Over several processes a run has fewer updates than the engine, which is one process's own.
    """
    scheduler, groups, steps = (
        engine.scheduler,
        engine.optimizer.param_groups,
        update_count(engine, processes),
    )
    if isinstance(scheduler, ReduceLROnPlateau):
        score = engine.score_name(None) if engine.scores else "the score"
        return (
            f"learning rate: {engine.lr:g} at first, times {scheduler.factor:g} each time that"
            f" {score} is no better in {scheduler.patience + 1} evaluations in a row"
        )
    if isinstance(scheduler, WatchesScore):
        return f"learning rate: {engine.lr:g} at first, then as the score has it"
    if steps != engine.total_steps:
        for group in groups:
            group["lr"] = group.pop("initial_lr")
        scheduler = instantiate("scheduler", config, optimizer=engine.optimizer, num_training_steps=steps)
    differ = len({float(group["initial_lr"]) for group in groups}) > 1
    title = "learning rate of each update" + (f", group {groups[0]['name']}" if differ else "")
    return plot(title, *learning_rates(scheduler, steps), width)


def learning_rates(scheduler: LRScheduler, steps: int) -> tuple[list[int], list[float]]:
    """Updates, counted from 1, and the first group's rate in them; the scheduler may be at its end after."""
    shown = sorted({round(index * (steps - 1) / MOST_POINTS) for index in range(MOST_POINTS + 1)})
    if isinstance(scheduler, LambdaLR):
        base, factor = float(scheduler.base_lrs[0]), scheduler.lr_lambdas[0]
        return [step + 1 for step in shown], [base * factor(step) for step in shown]
    rates = []
    with warnings.catch_warnings(action="ignore"):  # no update was made before the step
        for _ in range(steps):
            rates.append(float(scheduler.get_last_lr()[0]))
            scheduler.step()
    return [step + 1 for step in shown], [rates[step] for step in shown]


def update_count(engine: Engine, processes: int) -> int:
    """The updates of the whole run over so many processes."""
    return count_steps(engine.args, dataclasses.replace(engine.train_loader, world_size=processes))


def estimates(engine: Engine, processes: int) -> dict[str, str]:
    """Steps, tokens, memory and disk, from the sizes of what was built."""
    loader = dataclasses.replace(engine.train_loader, world_size=processes)
    steps = update_count(engine, processes)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in engine.module.parameters())
    trained = sum(parameter.numel() * parameter.element_size() for parameter in engine.parameters)
    state = 2 * trained  # what Adam keeps; SGD keeps half of it or nothing
    lines = {
        "parameters": f"{weights / 4e6:.2f}M, {trained / 4e6:.2f}M of them trained",
        "batch": f"{loader.per_device} rows × {loader.accumulation} micro-batches × {processes} processes"
        f" = {loader.global_batch}",
        "steps": f"{steps}" + (f", {loader.updates_per_epoch} an epoch" if loader.updates_per_epoch else ""),
    }
    if isinstance(loader.dataset, KnowsLengths) and loader.size:
        tokens = sum(loader.dataset.lengths)
        epochs = steps * loader.global_batch / loader.size
        lines["tokens"] = f"{tokens:,} an epoch, about {int(tokens * epochs):,} in all"
    lines["memory"] = (
        f"{size(weights + trained + state)} for weights, gradients and Adam's state, and activations"
    )
    kept = engine.args.save_total_limit
    checkpoint = checkpoint_size(engine)
    lines["disk"] = f"{size(checkpoint)} a checkpoint" + (
        f", {size(checkpoint * (kept + 1) + weights)} at most" if kept else ", all of them kept"
    )
    return lines


def checkpoint_size(engine: Engine) -> int:
    """Bytes of a checkpoint: the weights and, unless it is to hold the model alone, Adam's state."""
    weights = storage.size(engine.module)
    trained = sum(parameter.nbytes for parameter in engine.parameters)
    return weights if engine.args.save_only_model else weights + 2 * trained


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
