"""The schedules: linear, cosine, polynomial and constant, each after a linear warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainer_cli.config.errors import UserError


def warmup_steps(num_warmup_steps: float, num_training_steps: int) -> int:
    """Updates of warm-up: a number below 1 is a share of all updates, rounded up."""
    if num_warmup_steps < 1:
        return math.ceil(num_warmup_steps * num_training_steps)
    return int(num_warmup_steps)


def linear(optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float) -> LambdaLR:
    """From `lr` to 0 in a straight line.

    Args:
        num_warmup_steps: Updates over which the rate rises from 0; below 1, a share of all.
    """
    return after_warmup(optimizer, num_training_steps, num_warmup_steps, lambda progress: 1.0 - progress)


def cosine(
    optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float, num_cycles: float
) -> LambdaLR:
    """Along a cosine (Loshchilov and Hutter, 2017, without restarts).

    Args:
        num_warmup_steps: Updates over which the rate rises from 0; below 1, a share of all.
        num_cycles: Waves of the cosine; 0.5 falls from `lr` to 0 once.
    """

    def factor(progress: float) -> float:
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress)))

    return after_warmup(optimizer, num_training_steps, num_warmup_steps, factor)


def polynomial(
    optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float, lr_end: float, power: float
) -> LambdaLR:
    """From `lr` to `lr_end` along a power of what remains.

    Args:
        num_warmup_steps: Updates over which the rate rises from 0; below 1, a share of all.
        lr_end: The learning rate at the end.
        power: 1 is a straight line; above 1 falls faster at first.
    """
    lr = float(optimizer.param_groups[0]["lr"])
    if lr_end >= lr:
        raise UserError(f"scheduler.lr_end={lr_end:g} is not below optim.lr={lr:g}", right="a smaller lr_end")

    def factor(progress: float) -> float:
        return float(((lr - lr_end) * (1.0 - progress) ** power + lr_end) / lr)

    return after_warmup(optimizer, num_training_steps, num_warmup_steps, factor)


def constant(optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float) -> LambdaLR:
    """At `lr` throughout.

    Args:
        num_warmup_steps: Updates over which the rate rises from 0; below 1, a share of all.
    """
    return after_warmup(optimizer, num_training_steps, num_warmup_steps, lambda _: 1.0)


def after_warmup(
    optimizer: Optimizer,
    num_training_steps: int,
    num_warmup_steps: float,
    factor: Callable[[float], float],
) -> LambdaLR:
    """A rise from 0 to 1 over the warm-up, then `factor` of the progress, in [0, 1], through the rest."""
    warmup = warmup_steps(num_warmup_steps, num_training_steps)
    decay = max(1, num_training_steps - warmup)

    def scale(step: int) -> float:
        if step < warmup:
            return step / warmup
        return factor(min(1.0, (step - warmup) / decay))

    return LambdaLR(optimizer, scale)
