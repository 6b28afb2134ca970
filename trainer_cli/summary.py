"""What a user should know before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer_cli.data.source import DataSource
from trainer_cli.strategy import Strategy


def summarise(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    data: DataSource,
    module: nn.Module,
    precision: str,
    strategy: Strategy,
    total_steps: int,
) -> dict[str, str]:
    """What a user should know before the first step."""
    labels = data.labels
    parameters = sum(parameter.numel() for parameter in module.parameters())
    pretrained = config["model"].get("pretrained")
    args = config["args"]
    batch = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * strategy.world_size
    processes = f" × {strategy.world_size} processes" if strategy.world_size > 1 else ""
    optim = config["optim"]
    rate = "" if optim.get("lr") is None else f", lr {optim['lr']:g}"
    falling = "" if optim.get("layerwise_lr_decay") is None else f" × {optim['layerwise_lr_decay']:g} a layer"
    optimizer = title(optim, choices.get("optim", ""))
    schedule = title(config["scheduler"], choices.get("scheduler", ""))
    return {
        "data": data.description,
        **({"labels": labels.understood} if labels is not None and labels.understood else {}),
        "model": f"{type(module).__name__}, {short_number(parameters)} parameters"
        + (f", from {pretrained}" if pretrained else ""),
        "optim": f"{optimizer}{rate}{falling}, {schedule} schedule",
        "steps": f"{total_steps} of {batch} samples",
        "device": f"{strategy.device.type}{processes}, {precision}",
    }


def title(node: Mapping[str, Any], choice: str) -> str:
    """A part by the option that it was chosen by, and by its target where that has another name."""
    name = str(node["_target_"]).rpartition(".")[2]
    is_same = choice.replace("_", "").lower() == name.replace("_", "").lower()
    return name if is_same or not choice else f"{choice} ({name})"


def short_number(count: int) -> str:
    """A count in the unit that suits it."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
