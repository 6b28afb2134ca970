"""GrokAdamW against its arithmetic, written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from small_network import gradients_of, network, train
from torch import Tensor

from trainer_cli.optim import GrokAdamW

LR, BETA1, BETA2, EPS, DECAY, ALPHA, LAMB, CLIP = 0.01, 0.9, 0.99, 1e-8, 0.1, 0.98, 2.0, 0.5


def expected_after(steps: int, gamma: float) -> Sequence[Tensor]:
    weights = list(network().parameters())
    slow, mean, square = ([torch.zeros_like(weight) for weight in weights] for _ in range(3))
    for step in range(steps):
        found = gradients_of(weights, step)
        for i, weight in enumerate(weights):
            gradient = found[i] * min(1.0, CLIP / (float(found[i].norm()) + 1e-6))
            slow[i] = ALPHA * slow[i] + (1 - ALPHA) * gradient
            gradient = gradient + LAMB * slow[i]
            beta1 = BETA1 * (1 - gamma) ** i
            mean[i] = beta1 * mean[i] + (1 - beta1) * gradient
            square[i] = BETA2 * square[i] + (1 - BETA2) * gradient**2
            rate = LR * math.sqrt(1 - BETA2 ** (step + 1)) / (1 - BETA1 ** (step + 1))
            weight.data = weight.data * (1 - LR * DECAY) - rate * mean[i] / (square[i].sqrt() + EPS)
    return weights


@pytest.mark.parametrize("gamma", [0.1, 0.0])
def test_it_is_the_packages_arithmetic(gamma: float) -> None:
    module = network()
    parameters = module.parameters()
    optimizer = GrokAdamW(parameters, LR, (BETA1, BETA2), EPS, DECAY, ALPHA, LAMB, gamma, CLIP)
    train(module, optimizer, steps=5)
    for got, wanted in zip(module.parameters(), expected_after(5, gamma), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
