"""Scores of language models."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from trainer_cli.metrics.base import Metric


class Perplexity(Metric):
    """The exponential of the mean loss of a token, in nats."""

    greater_is_better: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.losses: list[Tensor] = []
        self.items = 0

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        self.losses.append(loss_sum.detach())
        self.items += items

    def state(self) -> Tensor:
        total = torch.stack(self.losses).cpu().double().sum() if self.losses else torch.tensor(0.0).double()
        return torch.stack([total, torch.tensor(float(self.items), dtype=torch.float64)])[None]

    def compute(self, states: list[Tensor]) -> float:
        total, items = torch.cat(states).sum(dim=0).tolist()
        # torch's exp, as that of math raises where a run that diverged has an infinity.
        return float(torch.tensor(total / items, dtype=torch.float64).exp()) if items else math.nan
