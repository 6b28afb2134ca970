"""LOMO and AdaLomo: updates fused into the backward pass, with no state, or little of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer_cli.optim.in_backward import InBackward


class Lomo(InBackward):
    """Low-memory optimization: SGD within the backward pass, without any state (Lv et al., 2023).

    https://arxiv.org/abs/2306.09782; its clipping by the global norm, which takes a second backward pass, is
    left out.

    Args:
        lr: learning rate
        weight_decay: decoupled weight decay
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        weight, gradient = precise(parameter), precise(parameter.grad)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(gradient, alpha=-group["lr"])
        parameter.copy_(weight)


class AdaLomo(InBackward):
    """LOMO with the factored second moment of Adafactor and updates scaled by the weights (Lv et al., 2023).

    https://arxiv.org/abs/2310.10195

    Args:
        lr: learning rate, relative to the root mean square of each weight matrix
        weight_decay: decoupled weight decay, relative likewise
        eps: added to the squared gradient, and the least root mean square that a matrix counts with
        clip_threshold: largest root mean square of an update before it is scaled
        decay_rate: exponent of the step in the second moment's decay
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float,
        eps: Sequence[float],
        clip_threshold: float,
        decay_rate: float,
    ) -> None:
        settings = {
            "lr": lr,
            "weight_decay": weight_decay,
            "eps": eps,
            "clip_threshold": clip_threshold,
            "decay_rate": decay_rate,
        }
        super().__init__(params, settings)

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        weight, gradient = precise(parameter), precise(parameter.grad)
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        decay = 1.0 - math.pow(state["step"], group["decay_rate"])
        square = gradient.square().add_(group["eps"][0])
        change = inverse_root(state, square, decay).mul_(gradient)
        change.div_((root_mean_square(change) / group["clip_threshold"]).clamp_(min=1.0))
        rate = group["lr"] * root_mean_square(weight).clamp_(min=group["eps"][1])
        weight.mul_(1 - rate * group["weight_decay"])
        weight.sub_(change.mul_(rate))
        parameter.copy_(weight)


def inverse_root(state: dict[str, Any], square: Tensor, decay: float) -> Tensor:
    """One over the root of the running mean of the squares, of rank one where there are two dimensions."""
    if square.ndim < 2:
        return averaged(state, "exp_avg_sq", square, decay).rsqrt()
    row = averaged(state, "exp_avg_sq_row", square.mean(dim=-1), decay)
    column = averaged(state, "exp_avg_sq_col", square.mean(dim=-2), decay)
    row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    return row_factor.mul(column.unsqueeze(-2).rsqrt())


def averaged(state: dict[str, Any], name: str, value: Tensor, decay: float) -> Tensor:
    """The running mean of this name, with the value taken in."""
    mean: Tensor = state.setdefault(name, torch.zeros_like(value))
    return mean.mul_(decay).add_(value, alpha=1.0 - decay)


def root_mean_square(tensor: Tensor) -> Tensor:
    """The root of the mean square of all elements, still on the device."""
    norm: Tensor = torch.linalg.vector_norm(tensor)
    return norm / math.sqrt(tensor.numel())


def precise(tensor: Tensor) -> Tensor:
    """The tensor in at least fp32: itself where it is so already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
