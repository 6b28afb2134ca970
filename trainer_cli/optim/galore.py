"""GaLore: optimizers whose state for the chosen matrices is of low rank."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer_cli.config.errors import missing_extra
from trainer_cli.optim.eight_bit import adamw_8bit
from trainer_cli.optim.in_backward import Layerwise
from trainer_cli.optim.low_rank import LEFT, RIGHT, LowRank, Make, adamw, project_back, sides
from trainer_cli.optim.modules import targeted

ProjType = Literal["std", "reverse_std", "right", "left", "full"]


class GaLore(LowRank):
    """Gradient low-rank projection onto the gradient's own leading singular vectors (Zhao et al., 2024).

    https://arxiv.org/abs/2403.03507
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        make: Make,
        targets: Collection[Tensor],
        rank: int,
        update_proj_gap: int,
        scale: float,
        proj_type: ProjType,
    ) -> None:
        super().__init__(params, make, targets, rank, update_proj_gap, proj_type)
        self.scale = scale

    def bases(self, matrix: Tensor, gradient: Tensor, updates: int) -> dict[str, Tensor]:
        precise = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        left, _, right = torch.linalg.svd(precise, full_matrices=False)
        found = {LEFT: left[:, : self.rank], RIGHT: right[: self.rank]}
        return {side: found[side].to(gradient.dtype).contiguous() for side in sides(matrix, self.proj_type)}

    def change(self, matrix: Tensor, proxy: Tensor, state: dict[str, Any], lr: float) -> Tensor:
        return project_back(proxy, state).mul_(self.scale)


def galore(
    params: list[dict[str, Any]],
    module: nn.Module,
    make: Make,
    target_modules: str | Sequence[str],
    rank: int,
    update_proj_gap: int,
    scale: float,
    proj_type: ProjType,
    layerwise: bool,
) -> Optimizer:
    """GaLore around what `make` builds: one for all parameters, or one for each in the backward pass."""
    build = functools.partial(
        GaLore,
        make=make,
        targets=targeted(module, target_modules),
        rank=rank,
        update_proj_gap=update_proj_gap,
        scale=scale,
        proj_type=proj_type,
    )
    return Layerwise(params, build) if layerwise else build(params)


def galore_adamw(
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
    proj_type: ProjType,
    layerwise: bool,
) -> Optimizer:
    """PyTorch's AdamW within GaLore.

    Args:
        lr: peak learning rate
        betas: decay rates of the running means of the gradient and of its square
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        target_modules: regular expressions, found anywhere in a module's dotted name; or all-linear
        rank: dimensions that the gradients of these modules' matrices are projected on
        update_proj_gap: updates after which the projection is made anew
        scale: factor of the updates of these matrices
        proj_type: sides that are projected; std: the shorter one of each matrix
        layerwise: update each parameter within the backward pass, and free its gradient
    """

    make = adamw(lr, betas, eps, weight_decay)
    return galore(params, module, make, target_modules, rank, update_proj_gap, scale, proj_type, layerwise)


def galore_adafactor(
    params: list[dict[str, Any]],
    module: nn.Module,
    lr: float,
    eps: Sequence[float],
    clip_threshold: float,
    decay_rate: float,
    beta1: float | None,
    weight_decay: float,
    target_modules: str | list[str],
    rank: int,
    update_proj_gap: int,
    scale: float,
    proj_type: ProjType,
    layerwise: bool,
) -> Optimizer:
    """Adafactor of transformers within GaLore.

    Args:
        lr: peak learning rate
        eps: added to the squared gradient, and unused without scale_parameter
        clip_threshold: largest root mean square of an update before it is scaled
        decay_rate: exponent of the step in the second moment's decay
        beta1: decay rate of a running mean of the updates; null: none
        weight_decay: decoupled weight decay
        target_modules: regular expressions, found anywhere in a module's dotted name; or all-linear
        rank: dimensions that the gradients of these modules' matrices are projected on
        update_proj_gap: updates after which the projection is made anew
        scale: factor of the updates of these matrices
        proj_type: sides that are projected; std: the shorter one of each matrix
        layerwise: update each parameter within the backward pass, and free its gradient
    """
    try:
        from transformers.optimization import Adafactor
    except ImportError:
        raise missing_extra("transformers", "text") from None

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        optimizer: Optimizer = Adafactor(
            groups,
            lr=lr,
            eps=(eps[0], eps[1]),
            clip_threshold=clip_threshold,
            decay_rate=decay_rate,
            beta1=beta1,
            weight_decay=weight_decay,
            scale_parameter=False,
            relative_step=False,
            warmup_init=False,
        )
        return optimizer

    return galore(params, module, make, target_modules, rank, update_proj_gap, scale, proj_type, layerwise)


def galore_adamw_8bit(
    params: list[dict[str, Any]],
    module: nn.Module,
    lr: float,
    betas: Sequence[float],
    eps: float,
    weight_decay: float,
    min_8bit_size: int,
    target_modules: str | list[str],
    rank: int,
    update_proj_gap: int,
    scale: float,
    proj_type: ProjType,
    layerwise: bool,
) -> Optimizer:
    """AdamW of bitsandbytes in 8 bits within GaLore; embeddings keep 32 bits.

    Args:
        lr: peak learning rate
        betas: decay rates of the running means of the gradient and of its square
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        min_8bit_size: fewest values that a parameter's state needs to be kept in 8 bits
        target_modules: regular expressions, found anywhere in a module's dotted name; or all-linear
        rank: dimensions that the gradients of these modules' matrices are projected on
        update_proj_gap: updates after which the projection is made anew
        scale: factor of the updates of these matrices
        proj_type: sides that are projected; std: the shorter one of each matrix
        layerwise: update each parameter within the backward pass, and free its gradient
    """

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        return adamw_8bit(groups, module, lr, betas, eps, weight_decay, min_8bit_size, is_paged=False)

    return galore(params, module, make, target_modules, rank, update_proj_gap, scale, proj_type, layerwise)
