"""Another optimizer run on low-rank projections of gradients, for the weight matrices that were chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from trainer_cli.optim.learned import Wrapper

Make = Callable[[list[dict[str, Any]]], Optimizer]

LEFT, RIGHT = "left", "right"


class LowRank(Wrapper):
    """Hands an inner optimizer a small parameter in place of each matrix in `targets`.

    The gradient of that proxy is the matrix's own, projected on `rank` dimensions; what the inner optimizer
    then adds to the proxy, which is zero before, is turned into a change of the matrix by `change`. `bases`
    are made anew every `update_proj_gap` updates. Weight decay is decoupled, as the inner optimizer never
    sees the matrix. `make` builds the inner optimizer from a list of groups.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        make: Make,
        targets: Collection[Tensor],
        rank: int,
        update_proj_gap: int,
        proj_type: str,
    ) -> None:
        groups = [dict(group, params=list(group["params"])) for group in params]
        self.rank, self.update_proj_gap, self.proj_type = rank, update_proj_gap, proj_type
        self._proxies = {
            parameter: self.proxy(parameter)
            for group in groups
            for parameter in group["params"]
            if parameter in targets
        }
        self._sources: list[
            tuple[int, bool]
        ] = []  # of the inner groups: the own group, and whether of proxies
        inner = make(self._inner_groups(groups))
        self.inner = (inner,)
        super().__init__(groups, inner.defaults)

    def bases(self, matrix: Tensor, gradient: Tensor, updates: int) -> dict[str, Tensor]:
        """New bases for the matrix: `left` and `right`, or one of them, as `sides` has them."""
        raise NotImplementedError

    def change(self, matrix: Tensor, proxy: Tensor, state: dict[str, Any], lr: float) -> Tensor:
        """What to add to the matrix; its gradient and the proxy's are there still."""
        raise NotImplementedError

    def connect(self) -> None:
        (inner,) = self.inner
        inner.state.clear()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._proxies and self.state.get(parameter):
                    inner.state[self._proxies[parameter]] = self.state[parameter]["inner"]
                elif parameter in self.state:
                    inner.state[parameter] = self.state[parameter]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        (inner,) = self.inner
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._prepare(parameter, inner)
        for inner_group, (index, of_proxies) in zip(inner.param_groups, self._sources, strict=True):
            kept = {name: inner_group[name] for name in OWN[of_proxies]}
            inner_group.update({**self.param_groups[index], **kept})
        inner.step()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in self._proxies:
                    self._finish(parameter, group)

    def _prepare(self, parameter: Tensor, inner: Optimizer) -> None:
        proxy = self._proxies.get(parameter)
        if proxy is None:
            self.state[parameter] = inner.state[parameter]
            return
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state.update(updates=0, inner=inner.state[proxy])
        if state["updates"] % self.update_proj_gap == 0:
            state.update(self.bases(parameter, gradient, state["updates"]))
        state["updates"] += 1
        proxy.zero_()
        proxy.grad = project(gradient, state)

    def _finish(self, parameter: Tensor, group: dict[str, Any]) -> None:
        proxy = self._proxies[parameter]
        change = self.change(parameter, proxy, self.state[parameter], group["lr"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(change)
        proxy.grad = None

    def projects(self, parameter: Tensor) -> bool:
        """Whether the inner optimizer has a small parameter in the place of this one."""
        return parameter in self._proxies

    def begin(self, parameter: Tensor) -> None:
        """Begin a matrix's state with bases that are zero: as large as others, and made at no cost."""
        if not self.projects(parameter):
            return
        proxy = self._proxies[parameter]
        bases = {
            LEFT: parameter.new_zeros(parameter.shape[0], proxy.shape[0]),
            RIGHT: parameter.new_zeros(proxy.shape[1], parameter.shape[1]),
        }
        own = {side: bases[side] for side in sides(parameter, self.proj_type)}
        self.state[parameter].update(updates=1, inner=self.inner[0].state[proxy], **own)

    def proxy(self, matrix: Tensor) -> nn.Parameter:
        """The parameter that stands for the matrix."""
        rows, columns = matrix.shape
        on = sides(matrix, self.proj_type)
        rank = min(self.rank, rows, columns)
        shape = (rank if LEFT in on else rows, rank if RIGHT in on else columns)
        return nn.Parameter(matrix.new_zeros(shape))

    def _inner_groups(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        inner = []
        for index, group in enumerate(groups):
            plain = [parameter for parameter in group["params"] if parameter not in self._proxies]
            proxies = [
                self._proxies[parameter] for parameter in group["params"] if parameter in self._proxies
            ]
            if plain:
                inner.append({**group, "params": plain})
                self._sources.append((index, False))
            if proxies:
                inner.append({**group, "params": proxies, "weight_decay": 0.0})
                self._sources.append((index, True))
        return inner


def adamw(lr: float, betas: Sequence[float], eps: float, weight_decay: float) -> Make:
    """What makes PyTorch's AdamW of a list of groups, for the inner optimizer."""

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        return AdamW(
            groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay, fused=True
        )

    return make


OWN = {False: ("params",), True: ("params", "weight_decay")}
"""What an inner group, by whether it is of proxies, does not take over from the group that it stands for."""


def sides(matrix: Tensor, proj_type: str) -> tuple[str, ...]:
    """The sides that a gradient of this shape is projected on: std on the shorter dimension."""
    rows, columns = matrix.shape
    match proj_type:
        case "std":
            return (RIGHT,) if rows >= columns else (LEFT,)
        case "reverse_std":
            return (LEFT,) if rows >= columns else (RIGHT,)
        case "full":
            return (LEFT, RIGHT)
    return (proj_type,)


def project(gradient: Tensor, bases: dict[str, Any]) -> Tensor:
    """The gradient in the space of the bases: `left` has orthogonal columns, `right` orthogonal rows."""
    if LEFT in bases:
        gradient = bases[LEFT].t() @ gradient
    if RIGHT in bases:
        gradient = gradient @ bases[RIGHT].t()
    return gradient


def project_back(small: Tensor, bases: dict[str, Any]) -> Tensor:
    """The matrix of full size that a small one stands for."""
    if LEFT in bases:
        small = bases[LEFT] @ small
    if RIGHT in bases:
        small = small @ bases[RIGHT]
    return small
