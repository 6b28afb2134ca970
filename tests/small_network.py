"""A small network in float64 with an embedding, matrices and biases, and its gradients step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer


class Network(nn.Module):
    """Mean of embeddings, a hidden layer, an output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 5)
        self.hidden = nn.Linear(5, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.head(torch.tanh(self.hidden(self.embed(tokens).mean(1))))
        return output


def network(dtype: torch.dtype = torch.float64) -> Network:
    """The same weights each time."""
    torch.manual_seed(0)
    return Network().to(dtype)


def loss_of(logits: Tensor, step: int) -> Tensor:
    """A loss that differs by the step."""
    generator = torch.Generator().manual_seed(1000 + step)
    wanted = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    return (logits.double() - wanted).square().sum()


def tokens_of(step: int) -> Tensor:
    """The tokens of a step: each of the vocabulary is among them."""
    generator = torch.Generator().manual_seed(step)
    return torch.stack([torch.randperm(7, generator=generator) for _ in range(6)])[:, :5]


def gradients_of(weights: Sequence[Tensor], step: int) -> Sequence[Tensor]:
    """The gradients at these weights, in the order of `Network.parameters()`."""
    module = network(weights[0].dtype)
    named = dict(zip(dict(module.named_parameters()), weights, strict=True))
    logits = functional_call(module, named, (tokens_of(step),))
    return torch.autograd.grad(loss_of(logits, step), list(weights))


def train(module: Network, optimizer: Optimizer, steps: int, first: int = 0) -> None:
    """So many updates."""
    for step in range(first, first + steps):
        loss_of(module(tokens_of(step)), step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def train_in_backward(module: Network, optimizer: Optimizer, steps: int, first: int = 0) -> None:
    """So many updates, none of whose gradients is left after the backward pass."""
    for step in range(first, first + steps):
        loss_of(module(tokens_of(step)), step).backward()  # type: ignore[no-untyped-call]
        assert all(weight.grad is None for weight in module.parameters())
        optimizer.step()


def weights_of(module: nn.Module) -> list[Tensor]:
    """A copy of all weights."""
    return [weight.detach().clone() for weight in module.parameters()]
