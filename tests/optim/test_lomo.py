"""LOMO and AdaLomo against the papers' arithmetic, written out."""

from __future__ import annotations

import torch
from small_network import gradients_of, network, train_in_backward
from torch import Tensor

from trainer_cli.optim import AdaLomo, Lomo


def test_lomo_is_sgd_with_decoupled_decay() -> None:
    module, expected = network(), list(network().parameters())
    train_in_backward(module, Lomo(module.parameters(), lr=0.1, weight_decay=0.01), steps=4)
    for step in range(4):
        for weight, gradient in zip(expected, gradients_of(expected, step), strict=True):
            weight.data = weight.data * (1 - 0.1 * 0.01) - 0.1 * gradient
    for got, wanted in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def adalomo(weight: Tensor, gradient: Tensor, state: dict[str, Tensor | float], step: int) -> Tensor:
    """Algorithm 1 of the paper, with its clipping and its scaling by the weights."""
    decay = 1 - step**-0.8
    square = gradient**2 + 1e-30
    if gradient.ndim == 2:
        state["row"] = decay * state.get("row", 0.0) + (1 - decay) * square.mean(1)
        state["column"] = decay * state.get("column", 0.0) + (1 - decay) * square.mean(0)
        row, column = state["row"], state["column"]
        assert isinstance(row, Tensor) and isinstance(column, Tensor)
        second = torch.outer(row, column) / row.mean()
    else:
        state["square"] = decay * state.get("square", 0.0) + (1 - decay) * square
        assert isinstance(state["square"], Tensor)
        second = state["square"]
    change = gradient / second.sqrt()
    change = change / max(1.0, float(change.square().mean().sqrt()))
    rate = 0.02 * max(1e-3, float(weight.square().mean().sqrt()))
    return weight * (1 - rate * 0.1) - rate * change


def test_adalomo_is_the_papers() -> None:
    module, expected = network(), list(network().parameters())
    optimizer = AdaLomo(
        module.parameters(), lr=0.02, weight_decay=0.1, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8
    )
    train_in_backward(module, optimizer, steps=5)
    states: list[dict[str, Tensor | float]] = [{} for _ in expected]
    for step in range(5):
        found = gradients_of(expected, step)
        for weight, gradient, state in zip(expected, found, states, strict=True):
            weight.data = adalomo(weight.data, gradient, state, step + 1)
    for got, wanted in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def test_adalomo_keeps_a_row_and_a_column_of_a_matrix() -> None:
    module = network()
    optimizer = AdaLomo(module.parameters(), 0.02, 0.0, (1e-30, 1e-3), 1.0, -0.8)
    train_in_backward(module, optimizer, steps=1)
    sizes = [
        sum(value.numel() for value in optimizer.state[weight].values() if isinstance(value, Tensor))
        for weight in module.parameters()
    ]
    assert sizes == [7 + 5, 6 + 5, 6, 4 + 6, 4]


def test_weights_in_bf16_are_updated_in_fp32() -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    Lomo([weight], lr=0.5, weight_decay=0.0)
    (weight.float() * torch.tensor([0.25, 0.5, 1.0])).sum().backward()
    assert weight.dtype == torch.bfloat16
    assert weight.tolist() == [0.875, 0.75, 0.5]
