"""A user's own parts: a dataset, a model, an optimizer, a callback and a metric."""

import math

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainer_cli.callbacks import Callback
from trainer_cli.metrics import Metric


class Spirals(Dataset):
    """Points on two interleaved spirals, each with the spiral it belongs to."""

    def __init__(self, size: int, noise: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        turn = torch.rand(size, generator=generator) * 3 * math.pi
        self.labels = torch.arange(size) % 2
        angle = turn + self.labels * math.pi
        points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 10
        self.features = points + noise * torch.randn(size, 2, generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index], "labels": self.labels[index]}


class SineNet(nn.Module):
    """Returns its own loss, so that the default `loss=model` serves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2, width)
        self.middle = nn.Linear(width, width)
        self.outer = nn.Linear(width, 2)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        hidden = torch.sin(3 * self.inner(features))
        logits = self.outer(torch.sin(self.middle(hidden)))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class SignDescent(torch.optim.Optimizer):
    """Moves each weight by `lr` against the sign of a running mean of its gradient."""

    def __init__(self, params, lr: float, beta: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["beta"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(mean.sign(), alpha=-group["lr"])


class CountEvaluations(Callback):
    """Counts evaluations, over a resume too."""

    def __init__(self) -> None:
        self.count = 0

    def on_evaluate(self, engine, row) -> None:
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state) -> None:
        self.count = state["count"]


class Margin(Metric):
    """How far the label's logit is above the largest of the others, in the mean."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.reset()

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        own = logits.gather(1, labels[:, None])
        others = logits.scatter(1, labels[:, None], -math.inf)
        gaps = own[:, 0] - others.max(dim=1).values
        self.sums += torch.stack([gaps.double().sum(), torch.tensor(float(len(gaps)))]).cpu()

    def state(self) -> Tensor:
        return self.sums[None]

    def compute(self, states: list[Tensor]) -> float:
        gaps, count = torch.cat(states).sum(dim=0).tolist()
        return self.scale * gaps / count if count else math.nan

    def reset(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64)
