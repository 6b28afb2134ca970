"""Which weights are evaluated and kept: the trained ones, or an average that stands in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer_cli.optim.modal import Modal


class Averaging:
    """The trained weights themselves.

    `trains_apart` says whether the weights that training goes on from are others than those that are kept, so
    that a checkpoint needs both.
    """

    trains_apart = False

    def update(self) -> None:
        """Take in the weights that an update made."""

    def adopt(self) -> None:
        """The module now has the kept weights of a checkpoint: go on from them."""

    def applied(self) -> contextlib.AbstractContextManager[None]:
        """The module has the weights to evaluate and keep inside, and bit for bit the trained ones after."""
        return contextlib.nullcontext()

    def settle(self) -> None:
        """Put the weights to keep into the module for good."""


class ExponentialAverage(Averaging):
    """A moving average of the weights (Polyak and Juditsky, 1992): each update moves it by 1 - `decay`."""

    trains_apart = True

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.weights: list[Tensor] = [p.detach() for p in module.parameters() if p.requires_grad]
        self.average = [weight.clone() for weight in self.weights]
        self.move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(self) -> None:
        self.move(self.average, self.weights, 0)

    def adopt(self) -> None:
        copy(self.weights, self.average)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        trained = [weight.clone() for weight in self.weights]
        copy(self.average, self.weights)
        try:
            yield
        finally:
            copy(trained, self.weights)

    def settle(self) -> None:
        copy(self.average, self.weights)


class OptimizerAveraging(Averaging):
    """An average that the optimizer itself keeps, as schedule-free ones do (Defazio et al., 2024)."""

    trains_apart = True

    def __init__(self, module: nn.Module, optimizer: Modal) -> None:
        self.weights: list[Tensor] = [p.detach() for p in module.parameters() if p.requires_grad]
        self.optimizer = optimizer
        optimizer.train()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        # The optimizer computes its way there and back, which leaves a rounding error each time.
        trained = [weight.clone() for weight in self.weights]
        self.optimizer.eval()
        try:
            yield
        finally:
            self.optimizer.train()
            copy(trained, self.weights)

    def settle(self) -> None:
        self.optimizer.eval()


@torch.no_grad()
def copy(source: list[Tensor], target: list[Tensor]) -> None:
    """Write the values of the one into the other."""
    torch._foreach_copy_(target, source)
