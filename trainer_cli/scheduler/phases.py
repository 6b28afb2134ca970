"""The schedules made of phases: warm-up, stable and decay; one cycle; drops at certain updates."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Annotated, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainer_cli.config.errors import UserError
from trainer_cli.config.types import Ge, Gt, Le, Lt
from trainer_cli.counts import in_updates
from trainer_cli.scheduler.base import after_warmup, cosine_wave


def warmup_stable_decay(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    num_stable_steps: Annotated[float, Ge(0)] | None,
    num_decay_steps: Annotated[float, Ge(0)],
    warmup_type: Literal["linear", "cosine", "1-sqrt"],
    decay_type: Literal["linear", "cosine", "1-sqrt"],
    min_lr_ratio: Annotated[float, Ge(0), Lt(1)],
    num_cycles: Annotated[float, Gt(0)],
) -> LambdaLR:
    """Up to `lr`, along it, and down at the end (Hu et al., 2024; 1-sqrt: Hägele et al., 2024).

    Args:
        num_stable_steps: Updates at `lr`; below 1, a share of all; null: all that warm-up and decay leave.
        num_decay_steps: Updates of decay; below 1, a share of all.
        warmup_type: The form of the rise.
        decay_type: The form of the decay.
        min_lr_ratio: Where it begins and ends, as a share of `lr`.
        num_cycles: Waves of a cosine decay; 0.5 falls once.
    """
    warmup = in_updates(num_warmup_steps, num_training_steps)
    decay = in_updates(num_decay_steps, num_training_steps)
    if num_training_steps and warmup + decay > num_training_steps:
        raise UserError(
            f"scheduler: {warmup} updates of warm-up and {decay} of decay are more than the run's"
            f" {num_training_steps}",
            right="fewer, or shares of the run: scheduler.num_decay_steps=0.1",
        )
    stable = num_training_steps - warmup - decay
    if num_stable_steps is not None:
        stable = in_updates(num_stable_steps, num_training_steps)

    def factor(step: int) -> float:
        done = step - warmup - stable
        if step < warmup:
            height = rise(warmup_type, step / warmup)
        elif done < 0:
            return 1.0
        else:
            height = fall(decay_type, num_cycles, done / decay) if done < decay else 0.0
        return max(0.0, height * (1.0 - min_lr_ratio) + min_lr_ratio)

    return LambdaLR(optimizer, factor)


def rise(form: str, share: float) -> float:
    """From 0 to 1."""
    if form == "linear":
        return share
    return 0.5 * (1.0 - math.cos(math.pi * share)) if form == "cosine" else 1.0 - math.sqrt(1.0 - share)


def fall(form: str, cycles: float, share: float) -> float:
    """From 1 to 0, a cosine several times where `cycles` says so."""
    if form == "linear":
        return 1.0 - share
    return cosine_wave(cycles, share) if form == "cosine" else 1.0 - math.sqrt(share)


def one_cycle(
    optimizer: Optimizer,
    num_training_steps: int,
    pct_start: Annotated[float, Ge(0), Le(1)],
    div_factor: Annotated[float, Ge(1)],
    final_div_factor: Annotated[float, Ge(1)],
    anneal_strategy: Literal["cos", "linear"],
) -> LambdaLR:
    """Up to `lr` and far down below where it began (Smith and Topin, 2019); momentum stays as it is.

    Args:
        pct_start: Share of all updates in which the rate rises.
        div_factor: `lr` is this many times the rate of the first update.
        final_div_factor: The rate of the first update is this many times that of the last.
        anneal_strategy: The form of both ways.
    """
    first, last = 1.0 / div_factor, 1.0 / div_factor / final_div_factor
    top, end = pct_start * num_training_steps - 1.0, num_training_steps - 1.0

    def between(start: float, stop: float, share: float) -> float:
        if anneal_strategy == "linear":
            return (stop - start) * share + start
        return stop + (start - stop) * cosine_wave(0.5, share)

    def factor(step: int) -> float:
        if step < top:
            return between(first, 1.0, step / top)
        return between(1.0, last, min(1.0, (step - top) / (end - top))) if top < end else 1.0

    return LambdaLR(optimizer, factor)


def step(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    step_size: Annotated[float, Gt(0)],
    gamma: Annotated[float, Gt(0)],
) -> LambdaLR:
    """Down by a factor every so many updates after the warm-up.

    Args:
        step_size: Updates between two drops; below 1, a share of all.
        gamma: The factor of a drop.
    """
    size = max(1, in_updates(step_size, num_training_steps))
    return after_warmup(
        optimizer,
        num_training_steps,
        num_warmup_steps,
        lambda done, _: float(gamma ** (done // size)),
    )


def multi_step(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    milestones: list[Annotated[float, Gt(0)]],
    gamma: Annotated[float, Gt(0)],
) -> LambdaLR:
    """Down by a factor at certain updates of the run.

    Args:
        milestones: The updates, counted from the run's first; below 1, shares of all.
        gamma: The factor of a drop.
    """
    warmup = in_updates(num_warmup_steps, num_training_steps)
    drops = sorted(in_updates(milestone, num_training_steps) for milestone in milestones)
    return after_warmup(
        optimizer,
        num_training_steps,
        num_warmup_steps,
        lambda done, _: float(gamma ** bisect_right(drops, warmup + done)),
    )
