"""Which strategy a process has, from the configuration and from what started it."""

from __future__ import annotations

from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import Args, DataParallel
from trainer_cli.config.schema import Strategy as StrategyConfig
from trainer_cli.strategy.base import SingleProcess, Strategy
from trainer_cli.strategy.ddp import DistributedDataParallel, Rank, join
from trainer_cli.strategy.device import pick_device


def build_strategy(config: StrategyConfig, args: Args) -> Strategy:
    """The strategy asked for, on this process's device; refuses what the launcher did not start."""
    rank = Rank.from_environment()
    if not isinstance(config, DataParallel):
        if rank is not None and rank.world_size > 1:
            raise UserError(
                f"strategy=single, but a launcher started {rank.world_size} processes",
                right="add strategy=ddp",
            )
        return SingleProcess(pick_device(args.use_cpu))
    if rank is None:
        raise UserError("strategy=ddp needs a launcher's variables (RANK, WORLD_SIZE)")
    device = pick_device(args.use_cpu, rank.local_rank)
    return DistributedDataParallel(rank, device, config, join())
