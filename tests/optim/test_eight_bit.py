"""bitsandbytes' optimizers in 8 bits."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainer_cli.config.errors import UserError
from trainer_cli.optim import adamw_8bit, ademamix_8bit, lion_8bit, rmsprop_8bit

COMMON: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.0, "min_8bit_size": 16}
ADAMW: dict[str, Any] = {**COMMON, "betas": [0.9, 0.999], "eps": 1e-8, "is_paged": False}
CASES = [
    (adamw_8bit, ADAMW),
    (lion_8bit, {**COMMON, "betas": [0.9, 0.99], "is_paged": False}),
    (
        ademamix_8bit,
        {**ADAMW, "betas": [0.9, 0.999, 0.9999], "alpha": 5.0, "t_alpha": None, "t_beta3": None},
    ),
    (rmsprop_8bit, {**COMMON, "alpha": 0.99, "eps": 1e-8}),
]


def types_after_a_step(make: Callable[..., torch.optim.Optimizer], settings: Any) -> list[torch.dtype]:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9), nn.Linear(9, 1))
    optimizer = make([{"params": list(module.parameters())}], module, **settings)
    module(torch.tensor([[1, 2]])).sum().backward()
    optimizer.step()
    return [optimizer.state[parameter]["state1"].dtype for parameter in module.parameters()]


@pytest.mark.parametrize(("make", "settings"), CASES)
def test_large_weights_but_embeddings_are_in_8_bits(make: Any, settings: Any) -> None:
    full, small = torch.float32, torch.uint8
    assert types_after_a_step(make, settings) == [full, small, full, full, full]
    # Nothing of it stays behind for weights that come to lie where the embedding was.
    assert types_after_a_step(make, settings) == [full, small, full, full, full]


def test_without_the_package_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *values: Any, **named: Any) -> Any:
        if name == "bitsandbytes":
            raise ImportError(name)
        return real(name, *values, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError) as error:
        types_after_a_step(adamw_8bit, ADAMW)
    assert "pip install 'trainer-cli[optim]'" in error.value.block()
