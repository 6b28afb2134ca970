"""bitsandbytes' optimizers with their state in 8 bits, except for embeddings, which keep 32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainer_cli.config.errors import missing_extra
from trainer_cli.optim.modules import embeddings


def adamw_8bit(
    params: Iterable[dict[str, Any]],
    module: nn.Module,
    lr: float,
    betas: Sequence[float],
    eps: float,
    weight_decay: float,
    min_8bit_size: int,
    is_paged: bool,
) -> Optimizer:
    """AdamW with its state in 8 bits (Dettmers et al., 2022, https://arxiv.org/abs/2110.02861).

    Args:
        lr: peak learning rate
        betas: decay rates of the running means of the gradient and of its square
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        min_8bit_size: fewest values that a parameter needs for its state to be kept in 8 bits
        is_paged: let the state go to the CPU's memory when a GPU runs short of its own
    """
    optimizer = package().AdamW8bit(
        params,
        lr=lr,
        betas=tuple(betas),
        eps=eps,
        weight_decay=weight_decay,
        min_8bit_size=min_8bit_size,
        is_paged=is_paged,
    )
    return with_precise_embeddings(optimizer, module)


def lion_8bit(
    params: Iterable[dict[str, Any]],
    module: nn.Module,
    lr: float,
    betas: Sequence[float],
    weight_decay: float,
    min_8bit_size: int,
    is_paged: bool,
) -> Optimizer:
    """Lion (Chen et al., 2023, https://arxiv.org/abs/2302.06675) with its state in 8 bits.

    Args:
        lr: peak learning rate, a third to a tenth of AdamW's
        betas: weight of the running mean in an update, and its decay rate
        weight_decay: decoupled weight decay, three to ten times AdamW's
        min_8bit_size: fewest values that a parameter needs for its state to be kept in 8 bits
        is_paged: let the state go to the CPU's memory when a GPU runs short of its own
    """
    optimizer = package().Lion8bit(
        params,
        lr=lr,
        betas=tuple(betas),
        weight_decay=weight_decay,
        min_8bit_size=min_8bit_size,
        is_paged=is_paged,
    )
    return with_precise_embeddings(optimizer, module)


def ademamix_8bit(
    params: Iterable[dict[str, Any]],
    module: nn.Module,
    lr: float,
    betas: Sequence[float],
    alpha: float,
    t_alpha: int | None,
    t_beta3: int | None,
    eps: float,
    weight_decay: float,
    min_8bit_size: int,
    is_paged: bool,
) -> Optimizer:
    """AdEMAMix (Pagliardini et al., 2024, https://arxiv.org/abs/2409.03137) with its state in 8 bits.

    Args:
        lr: peak learning rate
        betas: decay rates of the fast mean of the gradient, of the mean of its square, and of the slow mean
        alpha: weight of the slow mean in an update
        t_alpha: updates in which alpha rises to its value; null: it has it from the start
        t_beta3: updates in which the third beta rises to its value; null: it has it from the start
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        min_8bit_size: fewest values that a parameter needs for its state to be kept in 8 bits
        is_paged: let the state go to the CPU's memory when a GPU runs short of its own
    """
    optimizer = package().AdEMAMix8bit(
        params,
        lr=lr,
        betas=tuple(betas),
        alpha=alpha,
        t_alpha=t_alpha,
        t_beta3=t_beta3,
        eps=eps,
        weight_decay=weight_decay,
        min_8bit_size=min_8bit_size,
        is_paged=is_paged,
    )
    return with_precise_embeddings(optimizer, module)


def rmsprop_8bit(
    params: Iterable[dict[str, Any]],
    module: nn.Module,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    min_8bit_size: int,
) -> Optimizer:
    """RMSprop with its state in 8 bits.

    Args:
        lr: peak learning rate
        alpha: decay rate of the running mean of the gradient's square
        eps: added to the denominator for numerical stability
        weight_decay: weight decay, added to the gradient
        min_8bit_size: fewest values that a parameter needs for its state to be kept in 8 bits
    """
    optimizer = package().RMSprop8bit(
        params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, min_8bit_size=min_8bit_size
    )
    return with_precise_embeddings(optimizer, module)


def package() -> Any:
    """bitsandbytes' optimizers; raises UserError where it is not installed."""
    try:
        import bitsandbytes
    except ImportError:
        raise missing_extra("bitsandbytes", "optim") from None
    return bitsandbytes.optim


def with_precise_embeddings(optimizer: Any, module: nn.Module) -> Optimizer:
    """The optimizer, told to keep the state of embeddings in 32 bits."""
    # bitsandbytes has one manager for the process, which knows parameters by an id that another may get.
    manager: Any = object.__new__(package().GlobalOptimManager)
    manager.initialize()
    manager.override_config(embeddings(module), "optim_bits", 32)
    optimizer.mng = manager
    wrapped: Optimizer = optimizer
    return wrapped
