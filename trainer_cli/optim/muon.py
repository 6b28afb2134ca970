"""Muon for the hidden weight matrices, AdamW for all the rest, as one optimizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from trainer_cli.optim.learned import Wrapper
from trainer_cli.optim.modules import hidden_matrices


class Muon(Wrapper):
    """Momentum made orthogonal by Newton-Schulz iterations, for matrices; AdamW for what is none.

    https://kellerjordan.github.io/posts/muon and https://arxiv.org/abs/2502.16982, whose match_rms_adamw lets
    both go by one learning rate. AdamW has embeddings, biases, norms and the weights of `adamw_modules`.

    Args:
        lr: learning rate of both
        weight_decay: decoupled weight decay of both
        momentum: momentum factor of Muon
        nesterov: use Nesterov momentum
        ns_steps: Newton-Schulz iterations of an update
        adjust_lr_fn: how Muon's rate follows a matrix's shape; match_rms_adamw: updates as large as AdamW's
        adamw_modules: regular expressions of modules whose weights AdamW has, such as an output head
        betas: decay rates of AdamW's running means of the gradient and of its square
        eps: added to AdamW's denominator for numerical stability
        fused: AdamW updates all parameters in one fused kernel
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        module: nn.Module,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        adjust_lr_fn: Literal["original", "match_rms_adamw"],
        adamw_modules: Sequence[str],
        betas: Sequence[float],
        eps: float,
        fused: bool | None,
    ) -> None:
        matrices = {
            weight
            for name, weight in hidden_matrices(module)
            if not any(re.search(pattern, name) for pattern in adamw_modules)
        }
        of_muon, of_adamw = split(params, matrices)
        shared: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        inner: list[Optimizer] = []
        if of_muon:
            muon: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
            inner.append(torch.optim.Muon(of_muon, **shared, **muon, adjust_lr_fn=adjust_lr_fn))
        if of_adamw:
            inner.append(AdamW(of_adamw, **shared, betas=(betas[0], betas[1]), eps=eps, fused=fused))
        self.inner = tuple(inner)
        super().__init__([group for part in inner for group in part.param_groups], shared)
        self.connect()

    def connect(self) -> None:
        groups = iter(self.param_groups)
        for part in self.inner:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the matrices by Muon, then the rest by AdamW."""
        for part in self.inner:
            part.step()


def split(
    params: Iterable[dict[str, Any]], matrices: Collection[Tensor]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each group as two, of its matrices and of the rest; none is empty."""
    groups = [dict(group, params=list(group["params"])) for group in params]
    halves: list[list[dict[str, Any]]] = []
    for wanted in (True, False):
        halves.append([])
        for group in groups:
            chosen = [parameter for parameter in group["params"] if (parameter in matrices) == wanted]
            if chosen:
                halves[-1].append({**group, "params": chosen})
    for group in halves[0]:
        if "name" in group:
            group["name"] = f"{group['name']} by muon"
    return halves[0], halves[1]
