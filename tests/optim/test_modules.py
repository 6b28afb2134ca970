"""Weights by the kind and the name of their module."""

from __future__ import annotations

import pytest
from torch import nn

from trainer_cli.optim.modules import embeddings, hidden_matrices, targeted


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"q_proj": nn.Linear(4, 4), "norm": nn.LayerNorm(4), "mlp": nn.Linear(4, 8)})
            for _ in range(2)
        )
        self.conv = nn.Conv1d(4, 4, 1)
        self.head = nn.Linear(4, 9)


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in hidden_matrices(module)]


def test_matrices_are_those_of_no_embedding() -> None:
    model = Model()
    assert names(model) == [
        "layers.0.q_proj",
        "layers.0.mlp",
        "layers.1.q_proj",
        "layers.1.mlp",
        "head",
    ]
    assert embeddings(model) == [model.embed.weight]


def test_a_head_that_shares_the_embeddings_weight_is_one_too() -> None:
    model = Model()
    model.head.weight = model.embed.weight
    assert "head" not in names(model)


def test_frozen_weights_are_left_out() -> None:
    model = Model()
    model.head.weight.requires_grad_(False)
    assert "head" not in names(model)


@pytest.mark.parametrize(
    ("target_modules", "count"),
    [("all-linear", 5), ("q_proj", 2), (["q_proj", "mlp"], 4), (r"layers\.1\..*", 2), ([r"^head$"], 1)],
)
def test_targets_are_found_by_name_or_expression(target_modules: str | list[str], count: int) -> None:
    assert len(targeted(Model(), target_modules)) == count
