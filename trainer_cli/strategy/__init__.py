"""How a model is spread over processes and devices: one process, or data-parallel replicas."""

from trainer_cli.strategy.base import SingleProcess, Strategy
from trainer_cli.strategy.build import build_strategy
from trainer_cli.strategy.ddp import DistributedDataParallel, Rank, join

__all__ = ["DistributedDataParallel", "Rank", "SingleProcess", "Strategy", "build_strategy", "join"]
