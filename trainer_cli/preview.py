"""What `plan` shows of the parts that were built: sizes, parameter groups, the learning rate's course."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainer_cli.config.instantiate import instantiate
from trainer_cli.data.build import count_steps
from trainer_cli.data.loader import KnowsLengths
from trainer_cli.engine import Engine
from trainer_cli.optim import InBackward
from trainer_cli.optim.averaging import ExponentialAverage
from trainer_cli.optim.footprint import state_bytes
from trainer_cli.runs.plot import plot
from trainer_cli.scheduler import ReduceLROnPlateau, WatchesScore
from trainer_cli.summary import short_number

log = logging.getLogger(__name__)

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
    loader = dataclasses.replace(engine.train_loader, world_size=processes)
    return count_steps(engine.args, loader, engine.state.position)


def estimates(engine: Engine, processes: int) -> dict[str, str]:
    """Steps, tokens, memory and disk, from the sizes of what was built."""
    loader = dataclasses.replace(engine.train_loader, world_size=processes)
    steps = update_count(engine, processes)
    lines = {
        "parameters": parameters(engine),
        "batch": f"{loader.per_device} rows × {loader.accumulation} micro-batches × {processes} processes"
        f" = {loader.global_batch}",
        "steps": f"{steps}"
        + (f", {loader.updates_per_epoch} an epoch" if loader.updates_per_epoch else "")
        + (f"; {max(0, steps - done)} remain after step {done}" if (done := engine.state.step) else ""),
    }
    if isinstance(loader.dataset, KnowsLengths) and loader.size:
        tokens = sum(loader.dataset.lengths)
        epochs = steps * loader.global_batch / loader.size
        lines["tokens"] = f"{tokens:,} an epoch, about {int(tokens * epochs):,} in all"
    need = Need.of(engine)
    lines["memory"] = need.text() + ", and activations"
    kept = engine.args.save_total_limit
    lines["disk"] = f"{size(need.checkpoint)} a checkpoint" + (
        f", {size(need.checkpoint * (kept + 1) + need.weights)} at most" if kept else ", all of them kept"
    )
    return lines


def parameters(engine: Engine) -> str:
    """How many parameters the model has, and how many of them are trained."""
    count = sum(parameter.numel() for parameter in engine.module.parameters())
    trained = sum(parameter.numel() for parameter in engine.parameters)
    return f"{short_number(count)}, {'all' if trained == count else short_number(trained)} of them trained"


@dataclass(frozen=True)
class Need:
    """Bytes that training takes beside activations; `state` is None where the optimizer could not be tried.

    `average` is a second set of weights, of which the model is evaluated; `checkpoint` is what is saved.
    """

    weights: int
    gradients: int
    state: int | None
    average: int
    only_model: bool

    @classmethod
    def of(cls, engine: Engine) -> Need:
        """What the engine's parts take; the optimizer is not to be used for training after that."""
        trained = [parameter.nbytes for parameter in engine.parameters]
        # One gradient at a time, where each is used up within the backward pass.
        gradients = max(trained, default=0) if isinstance(engine.optimizer, InBackward) else sum(trained)
        try:
            state = state_bytes(engine.module, engine.optimizer) if engine.total_steps else 0
        except Exception as error:  # whatever the step of an optimizer of the user's own raises
            log.debug("the optimizer's state is not known", exc_info=error)
            state = None
        return cls(
            sum(parameter.nbytes for parameter in engine.module.parameters()),
            gradients if engine.total_steps else 0,
            state,
            sum(trained) if isinstance(engine.averaging, ExponentialAverage) else 0,
            engine.args.save_only_model,
        )

    @property
    def checkpoint(self) -> int:
        """The bytes of a checkpoint."""
        return self.weights if self.only_model else self.weights + (self.state or 0) + self.average

    def text(self) -> str:
        """The parts and their sum."""
        known = {"weights": self.weights, "gradients": self.gradients, "optimizer state": self.state or 0}
        known |= {"averaged weights": self.average} if self.average else {}
        parts = " + ".join(f"{size(count)} {name}" for name, count in known.items())
        unknown = (
            "" if self.state is not None else ", without the optimizer's state, which could not be measured"
        )
        return f"{size(sum(known.values()))}: {parts}{unknown}"


def checkpoint_size(engine: Engine) -> int:
    """Bytes of a checkpoint; the optimizer is not to be used for training after that."""
    return Need.of(engine).checkpoint


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return (
                f"{count / unit:.1f} {name}"
                if count < 10 * unit or unit == 1e9
                else f"{count / unit:.0f} {name}"
            )
    return f"{count:.0f} B"
