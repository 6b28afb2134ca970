"""Which weights an optimizer treats by the kind of their module: hidden matrices, embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from trainer_cli.config.errors import UserError

ALL_LINEAR = "all-linear"
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def embeddings(module: nn.Module) -> list[Tensor]:
    """The weights of all embeddings."""
    return [part.weight for part in module.modules() if isinstance(part, EMBEDDINGS)]


def hidden_matrices(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The trainable weights of two dimensions that no embedding has, with the dotted name of their module."""
    seen = set(embeddings(module))
    for name, part in module.named_modules():
        for weight in part.parameters(recurse=False):
            if weight.ndim == 2 and weight.requires_grad and weight not in seen:
                seen.add(weight)
                yield name, weight


def targeted(module: nn.Module, target_modules: str | Sequence[str]) -> set[Tensor]:
    """Those hidden matrices in whose module's name one of the regular expressions is found.

    `all-linear` stands for all of them. Raises UserError where there is none.
    """
    patterns = [target_modules] if isinstance(target_modules, str) else target_modules
    matrices = list(hidden_matrices(module))
    found = {
        weight
        for name, weight in matrices
        if any(pattern == ALL_LINEAR or re.search(pattern, name) for pattern in patterns)
    }
    if not found:
        last = sorted({name.rpartition(".")[2] for name, _ in matrices})
        raise UserError(
            f"optim.target_modules={target_modules} is found in no name of a module that has a matrix",
            right=f"optim.target_modules={ALL_LINEAR}; there are: {', '.join(last) or 'none'}",
        )
    return found
