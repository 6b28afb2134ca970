"""What a user should know before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer_cli.data.source import DataSource
from trainer_cli.strategy import Strategy


def summarise(
    config: Mapping[str, Any],
    data: DataSource,
    module: nn.Module,
    precision: str,
    strategy: Strategy,
    total_steps: int,
) -> dict[str, str]:
    """What a user should know before the first step."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    pretrained = config["model"].get("pretrained")
    args = config["args"]
    batch = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * strategy.world_size
    processes = f" × {strategy.world_size} processes" if strategy.world_size > 1 else ""
    optimizer = config["optim"]["_target_"].rpartition(".")[2]
    schedule = config["scheduler"]["_target_"].rpartition(".")[2]
    return {
        "data": data.description,
        "model": f"{type(module).__name__}, {short_number(parameters)} parameters"
        + (f", from {pretrained}" if pretrained else ""),
        "optim": f"{optimizer}, lr {config['optim'].get('lr')}, {schedule} schedule",
        "steps": f"{total_steps} of {batch} samples",
        "device": f"{strategy.device.type}{processes}, {precision}",
    }


def short_number(count: int) -> str:
    """A count in the unit that suits it."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
