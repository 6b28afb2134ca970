"""Parameter groups: weight decay for matrices alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def decayed(parameter: Tensor) -> bool:
    """Whether weight decay applies: not to biases, norms and whatever else has fewer than two dimensions."""
    return parameter.ndim >= 2


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """The trainable parameters in two groups, decayed and not, in the module's own order; none is empty."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trainable if decayed(parameter)]},
        {"params": [parameter for parameter in trainable if not decayed(parameter)], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
