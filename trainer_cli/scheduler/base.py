"""What the schedules share: numbers of updates given as shares, the warm-up, and the rate that they scale."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainer_cli.config.errors import UserError
from trainer_cli.counts import in_updates

Curve = Callable[[int, int], float]
"""The factor on the learning rate after so many of so many updates."""


def after_warmup(
    optimizer: Optimizer, num_training_steps: int, num_warmup_steps: float, curve: Curve
) -> LambdaLR:
    """A rise from 0 to 1 over the warm-up, then the curve over the updates that are left.

    Beyond the last update the rate stays where the curve ended.
    """
    warmup = in_updates(num_warmup_steps, num_training_steps)
    left = max(1, num_training_steps - warmup)

    def factor(step: int) -> float:
        return step / warmup if step < warmup else curve(min(step - warmup, left), left)

    return LambdaLR(optimizer, factor)


def cosine_wave(cycles: float, share: float) -> float:
    """A cosine from 1 down to 0 and up again, `cycles` times, at a share of the way."""
    return 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * share))


def share_of_peak(optimizer: Optimizer, key: str, lr: float) -> float:
    """A learning rate as a share of the first group's; raises UserError where it is not below that."""
    peak = float(optimizer.param_groups[0]["lr"])
    if lr >= peak:
        raise UserError(f"scheduler.{key}={lr:g} is not below optim.lr={peak:g}", right=f"a smaller {key}")
    return lr / peak
