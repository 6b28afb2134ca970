"""GaLore against the paper's arithmetic, written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_network import Network, gradients_of, network, train, train_in_backward, weights_of
from torch import Tensor

from trainer_cli.config.errors import UserError
from trainer_cli.optim import InBackward, galore_adafactor, galore_adamw, galore_adamw_8bit
from trainer_cli.optim.galore import ProjType

LR, BETA1, BETA2, EPS, DECAY, RANK, GAP, SCALE = 0.02, 0.9, 0.99, 1e-8, 0.1, 2, 3, 0.25

LOW_RANK: dict[str, Any] = {
    "target_modules": "all-linear",
    "rank": RANK,
    "update_proj_gap": GAP,
    "scale": SCALE,
    "proj_type": "std",
    "layerwise": False,
}
ADAMW: dict[str, Any] = {"lr": LR, "betas": [BETA1, BETA2], "eps": EPS, "weight_decay": DECAY}
ADAFACTOR: dict[str, Any] = {
    "lr": LR,
    "eps": [1e-30, 1e-3],
    "clip_threshold": 1.0,
    "decay_rate": -0.8,
    "beta1": None,
    "weight_decay": DECAY,
}


def groups(module: Network) -> list[dict[str, Any]]:
    return [{"params": list(module.parameters())}]


class Reference:
    """One weight under Algorithm 2 of the paper with PyTorch's AdamW; plain AdamW where proj_type is None."""

    def __init__(self, weight: Tensor, proj_type: str | None) -> None:
        self.weight, self.proj_type, self.step = weight, proj_type, 0
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def update(self, gradient: Tensor) -> None:
        if self.proj_type is not None and self.step % GAP == 0:
            left, _, right = torch.linalg.svd(gradient, full_matrices=False)
            self.left, self.right = self.chosen(left[:, :RANK], right[:RANK])
        if self.proj_type is not None:
            gradient = self.left.T @ gradient @ self.right.T
        self.step += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * gradient
        self.square = BETA2 * self.square + (1 - BETA2) * gradient**2
        root = (self.square / (1 - BETA2**self.step)).sqrt() + EPS
        change = LR * self.mean / (1 - BETA1**self.step) / root
        if self.proj_type is not None:
            change = SCALE * self.left @ change @ self.right
        self.weight.data = self.weight.data * (1 - LR * DECAY) - change

    def chosen(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """The bases, with the identity on a side that is not projected."""
        rows, columns = self.weight.shape
        tall = rows >= columns
        on_left = {"std": not tall, "reverse_std": tall, "left": True, "right": False, "full": True}
        on_right = {"std": tall, "reverse_std": not tall, "left": False, "right": True, "full": True}
        assert self.proj_type is not None
        return (
            left if on_left[self.proj_type] else torch.eye(rows, dtype=torch.float64),
            right if on_right[self.proj_type] else torch.eye(columns, dtype=torch.float64),
        )


@pytest.mark.parametrize("proj_type", ["std", "reverse_std", "left", "right", "full"])
def test_galore_adamw_is_the_papers(proj_type: ProjType) -> None:
    module, expected = network(), network()
    optimizer = galore_adamw(groups(module), module, **ADAMW, **{**LOW_RANK, "proj_type": proj_type})
    train(module, optimizer, steps=7)
    projected = {expected.hidden.weight, expected.head.weight}
    parts = [
        Reference(weight, proj_type if weight in projected else None) for weight in expected.parameters()
    ]
    for step in range(7):
        found = gradients_of(list(expected.parameters()), step)
        for part, gradient in zip(parts, found, strict=True):
            part.update(gradient)
    for got, wanted in zip(weights_of(module), weights_of(expected), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


def test_galore_adafactor_is_adafactor_where_nothing_is_projected() -> None:
    from transformers.optimization import Adafactor

    module, other = network(), network()
    optimizer = galore_adafactor(
        groups(module), module, **ADAFACTOR, **{**LOW_RANK, "target_modules": "^head$"}
    )
    train(module, optimizer, steps=1)
    train(
        other,
        Adafactor(other.parameters(), lr=LR, weight_decay=DECAY, scale_parameter=False, relative_step=False),
        steps=1,
    )
    assert torch.equal(module.hidden.weight, other.hidden.weight)
    assert not torch.equal(module.head.weight, other.head.weight)
    assert optimizer.state[module.head.weight]["inner"]["exp_avg_sq_row"].shape == (RANK,)
    assert optimizer.state[module.head.weight]["inner"]["exp_avg_sq_col"].shape == (6,)


@pytest.mark.parametrize("name", ["adamw", "adafactor", "adamw_8bit"])
def test_layerwise_gives_the_same_bits(name: str) -> None:
    make: Any = {"adamw": galore_adamw, "adafactor": galore_adafactor, "adamw_8bit": galore_adamw_8bit}[name]
    settings = ADAFACTOR if name == "adafactor" else ADAMW
    if name == "adamw_8bit":
        settings = {**settings, "min_8bit_size": 8}
    module, other = network(torch.float32), network(torch.float32)
    train(module, make(groups(module), module, **settings, **LOW_RANK), steps=7)
    layerwise = make(groups(other), other, **settings, **{**LOW_RANK, "layerwise": True})
    assert isinstance(layerwise, InBackward)
    train_in_backward(other, layerwise, steps=7)
    assert all(torch.equal(*pair) for pair in zip(weights_of(module), weights_of(other), strict=True))


def test_the_8bit_state_is_in_8_bits() -> None:
    module = network(torch.float32)
    optimizer = galore_adamw_8bit(groups(module), module, **ADAMW, min_8bit_size=8, **LOW_RANK)
    train(module, optimizer, steps=1)
    assert optimizer.state[module.hidden.weight]["inner"]["state1"].dtype == torch.uint8
    assert optimizer.state[module.embed.weight]["state1"].dtype == torch.float32


def test_modules_that_are_not_there_are_an_error() -> None:
    module = network()
    with pytest.raises(UserError, match="q_proj") as error:
        galore_adamw(groups(module), module, **ADAMW, **{**LOW_RANK, "target_modules": ["q_proj"]})
    assert "there are: head, hidden" in error.value.block()
