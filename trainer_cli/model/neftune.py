"""NEFTune: uniform noise on the token embeddings while training (Jain et al., arXiv 2310.05914)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.model.kinds import base_model, is_transformers_model


@contextlib.contextmanager
def embedding_noise(module: nn.Module, alpha: float) -> Iterator[None]:
    """Noise inside: uniform in ± alpha / sqrt(length · width) on embeddings (rows, length, width).

    It is off in evaluation, and nothing of it is left on the module after.
    """

    def add_noise(embedding: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not (embedding.training and torch.is_grad_enabled()):
            return output
        bound = alpha / math.sqrt(output.shape[-2] * output.shape[-1])
        return output + torch.zeros_like(output).uniform_(-bound, bound)

    handle = token_embedding(module).register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()


def token_embedding(module: Any) -> nn.Module:
    """The model's input embedding: as transformers names it, else the first; raises UserError without one."""
    module = base_model(module)
    if is_transformers_model(module):
        embedding: nn.Module = module.get_input_embeddings()
        return embedding
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            return part
    raise UserError(
        f"args.neftune_noise_alpha needs a token embedding, and {type(module).__name__} has none",
        right="args.neftune_noise_alpha=null",
    )
