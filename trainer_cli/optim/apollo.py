"""APOLLO: gradients scaled as AdamW would have scaled their random projection."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer_cli.optim.in_backward import Layerwise
from trainer_cli.optim.low_rank import LEFT, RIGHT, LowRank, Make, adamw, sides
from trainer_cli.optim.modules import targeted

GROWTH = 1.01
"""How much larger a scaled gradient may be than the one before (section 4 of the paper)."""

TINY = 1e-8


class Apollo(LowRank):
    """Approximated gradient scaling for memory-efficient optimization (Zhu et al., 2024).

    https://arxiv.org/abs/2412.05270. The random projections are drawn by the matrix's place and the update
    alone, the same in every process and after every resume.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        make: Make,
        targets: dict[Tensor, int],
        rank: int,
        update_proj_gap: int,
        scale: float,
        scale_type: Literal["channel", "tensor"],
        proj_type: str,
    ) -> None:
        super().__init__(params, make, targets, rank, update_proj_gap, proj_type)
        self.places, self.scale, self.scale_type = targets, scale, scale_type

    def bases(self, matrix: Tensor, gradient: Tensor, updates: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.places[matrix] + len(self.places) * updates)
        small = self.proxy(matrix).shape
        shapes = {LEFT: (matrix.shape[0], small[0]), RIGHT: (small[1], matrix.shape[1])}
        return {
            side: (torch.randn(shapes[side], generator=generator) / math.sqrt(min(shapes[side]))).to(gradient)
            for side in sides(matrix, self.proj_type)
        }

    def change(self, matrix: Tensor, proxy: Tensor, state: dict[str, Any], lr: float) -> Tensor:
        gradient, small = matrix.grad, proxy.grad
        assert gradient is not None and small is not None
        if lr == 0:
            return torch.zeros_like(gradient)
        scaled = gradient * (self._size(proxy) / lr / (self._size(small) + TINY)).to(gradient)
        norm = torch.linalg.vector_norm(scaled)
        if "scaled_norm" in state:
            shrink = (norm / (state["scaled_norm"] + TINY)).clamp_(min=GROWTH) / GROWTH
            scaled, norm = scaled / shrink, norm / shrink
        state["scaled_norm"] = norm
        return scaled.mul_(-lr * math.sqrt(self.scale))

    def _size(self, small: Tensor) -> Tensor:
        """The norm of each channel, which is an index of the longer dimension, or of the whole."""
        rows, columns = small.shape
        over = (0, 1) if self.scale_type == "tensor" else (0,) if rows < columns else (1,)
        norm: Tensor = torch.linalg.vector_norm(small, dim=over, keepdim=True)
        return norm


def apollo_adamw(
    params: list[dict[str, Any]],
    module: nn.Module,
    lr: float,
    betas: Sequence[float],
    eps: float,
    weight_decay: float,
    target_modules: str | list[str],
    rank: int,
    update_proj_gap: int,
    scale: float,
    scale_type: Literal["channel", "tensor"],
    proj_type: Literal["std", "reverse_std", "right", "left"],
    layerwise: bool,
) -> Optimizer:
    """PyTorch's AdamW within APOLLO.

    Args:
        lr: peak learning rate
        betas: decay rates of the running means of the gradient and of its square
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        target_modules: regular expressions, found anywhere in a module's dotted name; or all-linear
        rank: dimensions that the gradients of these modules' matrices are projected on
        update_proj_gap: updates after which the projection is drawn anew
        scale: the square of the factor of the updates of these matrices
        scale_type: a factor for each channel of a matrix, or one for the whole of it
        proj_type: side that is projected; std: the shorter one of each matrix
        layerwise: update each parameter within the backward pass, and free its gradient
    """

    found = targeted(module, target_modules)
    matrices: Iterable[Tensor] = (weight for weight in module.parameters() if weight in found)
    places = {weight: place for place, weight in enumerate(matrices)}
    build = functools.partial(
        Apollo,
        make=adamw(lr, betas, eps, weight_decay),
        targets=places,
        rank=rank,
        update_proj_gap=update_proj_gap,
        scale=scale,
        scale_type=scale_type,
        proj_type=proj_type,
    )
    return Layerwise(params, build) if layerwise else build(params)
