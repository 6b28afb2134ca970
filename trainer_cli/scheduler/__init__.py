"""How the learning rate moves over the run's updates; every schedule is a pure function of the step."""

from trainer_cli.scheduler.schedules import constant, cosine, linear, polynomial, warmup_steps

__all__ = ["constant", "cosine", "linear", "polynomial", "warmup_steps"]
