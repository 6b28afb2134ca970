"""A module compiled by torch.compile."""

from __future__ import annotations

import torch
from torch import nn

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean


def compile_module(module: nn.Module, backend: str | None, mode: str | None) -> None:
    """Compile the forward at its first call; raises UserError for a backend that there is not."""
    known = torch.compiler.list_backends(exclude_tags=())
    if backend is not None and backend not in known:
        raise UserError(
            f"args.torch_compile_backend={backend} is no backend of torch.compile",
            right=did_you_mean(backend, known) or f"one of {', '.join(known)}",
        )
    module.compile(backend=backend or "inductor", mode=mode)
