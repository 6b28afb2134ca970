"""Data-parallel replicas: one process a device, gradients averaged by torch's DistributedDataParallel."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import DataParallel
from trainer_cli.strategy.base import Strategy


@dataclass(frozen=True)
class Rank:
    """This process among those that a launcher (this program's own, torchrun, accelerate) started."""

    rank: int
    local_rank: int
    world_size: int

    @classmethod
    def from_environment(cls) -> Rank | None:
        """The place that the launcher's variables give, or None when there was no launcher."""
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return None
        rank = int(os.environ["RANK"])
        return cls(rank, int(os.environ.get("LOCAL_RANK", rank)), int(os.environ["WORLD_SIZE"]))


@functools.cache
def join() -> Store:
    """The key-value store that the launcher's processes share; waits until it is up."""
    shared: Store
    shared, _, _ = next(rendezvous("env://"))
    return shared


class DistributedDataParallel(Strategy):
    """Every process holds the whole model and takes its share of each global batch."""

    def __init__(self, rank: Rank, device: torch.device, config: DataParallel, store: Store) -> None:
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        dist.init_process_group(
            backends(config.backend, device),
            store=PrefixStore(f"trainer-cli/{restart}", store),
            rank=rank.rank,
            world_size=rank.world_size,
            timeout=timedelta(seconds=config.timeout),
        )
        self.config = config
        self.knows_graph = not config.static_graph
        self.device = device
        self.rank = rank.rank
        self.world_size = dist.get_world_size()
        if config.num_processes not in (None, self.world_size):
            raise UserError(
                f"strategy.num_processes={config.num_processes}, but the launcher started {self.world_size}",
                right=f"strategy.num_processes={self.world_size}, or leave it out under a launcher",
            )

    def wrap(self, module: nn.Module) -> nn.Module:
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        device_ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=device_ids,
            gradient_as_bucket_view=True,
            bucket_cap_mb=self.config.bucket_cap_mb,
            find_unused_parameters=self.config.find_unused_parameters,
            static_graph=self.config.static_graph,
            forward_sync_buffers=self.config.broadcast_buffers,
        )

    def without_sync(self, model: nn.Module) -> contextlib.AbstractContextManager[None]:
        # torch learns a static graph in the first backward pass, which must therefore be one that it syncs.
        if not isinstance(model, nn.parallel.DistributedDataParallel) or not self.knows_graph:
            self.knows_graph = True
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[None] = model.no_sync()
        return context

    def sum(self, values: Sequence[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        tensor = tensor.cpu().contiguous()
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([tensor.shape[0]]))
        longest = int(max(size.item() for size in sizes))
        padded = torch.zeros((longest, *tensor.shape[1:]), dtype=tensor.dtype)
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(parts, padded)
        return [part[: int(size.item())] for part, size in zip(parts, sizes, strict=True)]

    def barrier(self) -> None:
        # A sum on the CPU, as NCCL's barrier would need a device of its own choosing.
        self.sum([0.0])

    def close(self) -> None:
        dist.destroy_process_group()


def backends(name: str | None, device: torch.device) -> str:
    """What carries tensors, by device: counts and losses are summed on the CPU, over gloo, in any case."""
    if name == "nccl" and device.type != "cuda":
        raise UserError(
            f"strategy.backend=nccl, but the run is on the {device.type}", right="strategy.backend=gloo"
        )
    return f"cpu:gloo,cuda:{name or 'nccl'}" if device.type == "cuda" else "gloo"
