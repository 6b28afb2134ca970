"""Activation checkpointing for any module: the backward pass computes a layer's activations again."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainer_cli.config.errors import UserError
from trainer_cli.model.kinds import base_model, is_transformers_model


def recompute_activations(module: nn.Module, pattern: str | None) -> None:
    """Recompute what a regular expression finds in the modules' dotted names; None: the repeated layers.

    Raises UserError where that is nothing (Chen et al., arXiv 1604.06174).
    """
    base = base_model(module)
    if pattern is None and is_transformers_model(base) and base.supports_gradient_checkpointing:
        base.activation_checkpointing_enable()
        return
    layers = list(repeated_layers(module) if pattern is None else outermost(module, pattern))
    if not layers:
        what = "has no repeated layers" if pattern is None else f"has no module that matches {pattern}"
        names = ", ".join(name for name, _ in module.named_children())
        raise UserError(
            f"args.gradient_checkpointing: {type(module).__name__} {what}",
            right=f"args.gradient_checkpointing_modules=REGEX names modules; at the top it has {names}",
        )
    for layer in layers:
        recompute(layer)


def repeated_layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of each list or sequence of two or more layers of one class, outermost first."""
    for child in module.children():
        layers = list(child.children()) if isinstance(child, nn.ModuleList | nn.Sequential) else []
        has_weights = bool(layers) and next(layers[0].parameters(), None) is not None
        if len(layers) > 1 and len({type(layer) for layer in layers}) == 1 and has_weights:
            yield from layers
        else:
            yield from repeated_layers(child)


def outermost(module: nn.Module, pattern: str, prefix: str = "") -> Iterator[nn.Module]:
    """The modules whose dotted name the pattern is found in, none inside another of them."""
    for name, child in module.named_children():
        if re.search(pattern, prefix + name):
            yield child
        else:
            yield from outermost(child, pattern, f"{prefix}{name}.")


def recompute(layer: nn.Module) -> None:
    """Have the layer's forward keep its inputs alone; its name and its parameters' names stay."""
    forward = layer.forward

    @functools.wraps(forward)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if layer.training and torch.is_grad_enabled():
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    layer.forward = recomputed
