"""Optimizers that update each parameter within the backward pass, so that no two gradients live at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer_cli.optim.learned import Wrapper


class InBackward(Optimizer):
    """Updates a parameter as soon as its gradient is there, and frees that; `step` has nothing left to do.

    A parameter's gradient is final once per backward pass, so an update is one micro-batch on one process,
    and no norm over all gradients is ever known.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._group_of: dict[Tensor, int] = {}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            self._group_of[parameter] = len(self.param_groups) - 1
            parameter.register_post_accumulate_grad_hook(self._on_gradient)

    @torch.no_grad()
    def _on_gradient(self, parameter: Tensor) -> None:
        self.update(parameter, self.param_groups[self._group_of[parameter]])
        parameter.grad = None

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """Change the parameter by its gradient, under the settings of its group."""
        raise NotImplementedError

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """The updates were made in the backward pass."""


class Layerwise(InBackward, Wrapper):
    """An optimizer for each parameter, as `make` builds it from a list of groups, run in the backward pass.

    Only for those that treat each parameter on its own.
    """

    def __init__(
        self, params: Iterable[dict[str, Any]], make: Callable[[list[dict[str, Any]]], Optimizer]
    ) -> None:
        groups = [dict(group, params=list(group["params"])) for group in params]
        self._optimizers = {
            parameter: make([{**group, "params": [parameter]}])
            for group in groups
            for parameter in group["params"]
        }
        self.inner = tuple(self._optimizers.values())
        super().__init__(groups, self.inner[0].defaults if self.inner else {})
        self.connect()

    def connect(self) -> None:
        for parameter, optimizer in self._optimizers.items():
            optimizer.state = self.state
            optimizer.param_groups = [{**self._group(parameter), "params": [parameter]}]
            if isinstance(optimizer, Wrapper):
                optimizer.connect()

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        optimizer = self._optimizers[parameter]
        optimizer.param_groups[0].update({**group, "params": [parameter]})
        optimizer.step()

    def of(self, parameter: Tensor) -> Optimizer:
        """The optimizer of this parameter alone."""
        return self._optimizers[parameter]

    def _group(self, parameter: Tensor) -> dict[str, Any]:
        return self.param_groups[self._group_of[parameter]]
