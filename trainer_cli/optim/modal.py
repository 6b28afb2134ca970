"""Optimizers that keep one set of weights for training and another for use."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Modal(Protocol):
    """Puts either set into the model's parameters; training needs the first, evaluation the second."""

    def train(self) -> None:
        """The weights that gradients are taken at."""

    def eval(self) -> None:
        """The weights to use."""
