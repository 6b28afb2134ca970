"""GrokAdamW: AdamW on gradients whose slow component is amplified."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class GrokAdamW(Optimizer):
    """AdamW on gradients to which their own running mean is added `lamb` times (Grokfast, Lee et al., 2024).

    https://arxiv.org/abs/2405.20233. As in the package of this name, beta1 falls with a parameter's place in
    its group, and the bias correction does not know of it: late parameters begin with large steps. It needs a
    learning rate a tenth of AdamW's or gamma=0, which takes the fall away.

    Args:
        lr: learning rate, a tenth of AdamW's unless gamma is 0
        betas: decay rates of the running means of the gradient and of its square
        eps: added to the denominator for numerical stability
        weight_decay: decoupled weight decay
        alpha_init: decay rate of the slow component's running mean
        lamb: how many times the slow component is added to the gradient
        gamma: share by which beta1 is lower for each further parameter of a group
        gradient_clipping: norm that each parameter's own gradient is clipped to; 0: no clipping
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: Sequence[float],
        eps: float,
        weight_decay: float,
        alpha_init: float,
        lamb: float,
        gamma: float,
        gradient_clipping: float,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "alpha_init": alpha_init,
            "lamb": lamb,
            "gamma": gamma,
            "gradient_clipping": gradient_clipping,
        }
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            place = 0
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, place)
                    place += 1

    def _update(self, parameter: Tensor, group: dict[str, Any], place: int) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_sq", "grok_ema"):
                state[name] = torch.zeros_like(parameter)
        state["step"] += 1
        if group["gradient_clipping"] > 0:
            nn.utils.clip_grad_norm_(parameter, group["gradient_clipping"])
        gradient = parameter.grad
        assert gradient is not None
        beta1, beta2 = group["betas"]
        own_beta1 = beta1 * (1 - group["gamma"]) ** place
        slow = state["grok_ema"].mul_(group["alpha_init"]).add_(gradient, alpha=1 - group["alpha_init"])
        gradient = gradient + group["lamb"] * slow
        mean = state["exp_avg"].mul_(own_beta1).add_(gradient, alpha=1 - own_beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        correction = math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"] * correction)
