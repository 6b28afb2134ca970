"""The schedules of one curve after a linear warm-up, by the names that transformers gives them."""

from __future__ import annotations

import math
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainer_cli.config.errors import UserError
from trainer_cli.config.types import Ge, Gt, Le
from trainer_cli.counts import in_updates
from trainer_cli.scheduler.base import after_warmup, cosine_wave, share_of_peak


def constant(optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float) -> LambdaLR:
    """At `lr` throughout."""
    return after_warmup(optimizer, num_training_steps, num_warmup_steps, lambda *_: 1.0)


def linear(optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float) -> LambdaLR:
    """From `lr` to 0 in a straight line."""
    return after_warmup(
        optimizer, num_training_steps, num_warmup_steps, lambda done, left: (left - done) / left
    )


def polynomial(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    lr_end: Annotated[float, Ge(0)],
    power: Annotated[float, Gt(0)],
) -> LambdaLR:
    """From `lr` to `lr_end` along a power of what remains.

    Args:
        lr_end: The learning rate at the end.
        power: 1 is a straight line; above 1 falls faster at first.
    """
    lr = float(optimizer.param_groups[0]["lr"])
    share_of_peak(optimizer, "lr_end", lr_end)

    def curve(done: int, left: int) -> float:
        return float(((lr - lr_end) * (1 - done / left) ** power + lr_end) / lr)

    return after_warmup(optimizer, num_training_steps, num_warmup_steps, curve)


def inverse_sqrt(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    timescale: Annotated[int, Ge(1)] | None,
) -> LambdaLR:
    """From `lr` down with the inverse square root of the updates (Zhai et al., 2022).

    Args:
        timescale: Updates over which it falls to 1/sqrt(2); null: as many as the warm-up has, or 10000.
    """
    scale = timescale or in_updates(num_warmup_steps, num_training_steps) or 10_000
    return after_warmup(
        optimizer,
        num_training_steps,
        num_warmup_steps,
        lambda done, _: 1.0 / math.sqrt((done + scale) / scale),
    )


def cosine(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    num_cycles: Annotated[float, Gt(0)],
) -> LambdaLR:
    """Along a cosine (Loshchilov and Hutter, 2017, without restarts).

    Args:
        num_cycles: Waves of the cosine; 0.5 falls from `lr` to 0 once.
    """
    return after_warmup(
        optimizer,
        num_training_steps,
        num_warmup_steps,
        lambda done, left: max(0.0, cosine_wave(num_cycles, done / left)),
    )


def cosine_with_restarts(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    num_cycles: Annotated[int, Ge(1)],
) -> LambdaLR:
    """From `lr` to 0 along a cosine, several times over (Loshchilov and Hutter, 2017).

    Args:
        num_cycles: Times that it falls.
    """

    def curve(done: int, left: int) -> float:
        share = done / left
        return cosine_wave(0.5, (num_cycles * share) % 1.0) if share < 1 else 0.0

    return after_warmup(optimizer, num_training_steps, num_warmup_steps, curve)


def cosine_with_min_lr(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    num_cycles: Annotated[float, Gt(0)],
    min_lr: Annotated[float, Ge(0)] | None,
    min_lr_rate: Annotated[float, Ge(0), Le(1)] | None,
) -> LambdaLR:
    """Along a cosine that ends above 0; one of `min_lr` and `min_lr_rate` says where.

    Args:
        num_cycles: Waves of the cosine; 0.5 falls from `lr` to the minimum once.
        min_lr: The learning rate at the end.
        min_lr_rate: The learning rate at the end as a share of `lr`.
    """
    floor = lowest_share(optimizer, min_lr, min_lr_rate)
    return after_warmup(
        optimizer,
        num_training_steps,
        num_warmup_steps,
        lambda done, left: max(0.0, cosine_wave(num_cycles, done / left) * (1 - floor) + floor),
    )


def cosine_warmup_with_min_lr(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    num_cycles: Annotated[float, Gt(0)],
    min_lr: Annotated[float, Ge(0)] | None,
    min_lr_rate: Annotated[float, Ge(0), Le(1)] | None,
    warmup_lr_rate: Annotated[float, Ge(0), Le(1)] | None,
) -> LambdaLR:
    """As cosine_with_min_lr, but no update is made at 0, and the last one is made at the minimum.

    Args:
        num_cycles: Waves of the cosine; 0.5 falls from `lr` to the minimum once.
        min_lr: The learning rate of the last update.
        min_lr_rate: The learning rate of the last update as a share of `lr`.
        warmup_lr_rate: The learning rate of the first update as a share of `lr`; null: a step of the warm-up.
    """
    floor = lowest_share(optimizer, min_lr, min_lr_rate)
    warmup = in_updates(num_warmup_steps, num_training_steps)
    left = max(1, num_training_steps - warmup)

    def factor(step: int) -> float:
        if step >= warmup:
            share = min(1.0, (step - warmup + 1) / left)
            return max(0.0, cosine_wave(num_cycles, share) * (1 - floor) + floor)
        if warmup_lr_rate is None:
            return (step + 1) / warmup
        return warmup_lr_rate + (1.0 - warmup_lr_rate) * step / max(1, warmup - 1)

    return LambdaLR(optimizer, factor)


def lowest_share(optimizer: Optimizer, min_lr: float | None, min_lr_rate: float | None) -> float:
    """Where a cosine ends, as a share of the peak; raises UserError unless exactly one of both says it."""
    if min_lr is not None and min_lr_rate is not None:
        raise UserError("scheduler.min_lr and scheduler.min_lr_rate both say where the cosine ends")
    if min_lr is not None:
        return share_of_peak(optimizer, "min_lr", min_lr)
    if min_lr_rate is None:
        raise UserError(
            "neither scheduler.min_lr nor scheduler.min_lr_rate says where the cosine ends",
            right="scheduler.min_lr_rate=0.1 ends at a tenth of optim.lr",
        )
    return min_lr_rate
