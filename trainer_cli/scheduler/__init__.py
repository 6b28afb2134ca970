"""How the learning rate moves over the updates; every schedule but one is a pure function of the step."""

from trainer_cli.scheduler.phases import multi_step, one_cycle, step, warmup_stable_decay
from trainer_cli.scheduler.plateau import ReduceLROnPlateau, WatchesScore
from trainer_cli.scheduler.schedules import (
    constant,
    cosine,
    cosine_warmup_with_min_lr,
    cosine_with_min_lr,
    cosine_with_restarts,
    inverse_sqrt,
    linear,
    polynomial,
)

__all__ = [
    "ReduceLROnPlateau",
    "WatchesScore",
    "constant",
    "cosine",
    "cosine_warmup_with_min_lr",
    "cosine_with_min_lr",
    "cosine_with_restarts",
    "inverse_sqrt",
    "linear",
    "multi_step",
    "one_cycle",
    "polynomial",
    "step",
    "warmup_stable_decay",
]
