"""What only the ready parts can tell, before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import built

from trainer_cli.config.errors import UserError

OWN = (
    "optim=sgd",
    "optim._target_=small_run.InBackwardDescent",
    "~optim.momentum",
    "~optim.nesterov",
    "~optim.fused",
)


@pytest.mark.parametrize(
    "asked",
    ["args.max_grad_norm=1.0", "args.gradient_accumulation_steps=2", "args.on_nonfinite=skip"],
)
def test_an_own_optimizer_of_the_backward_pass_is_told_its_limits(tmp_path: Path, asked: str) -> None:
    with built(tmp_path, *OWN, "args.max_grad_norm=0"):
        pass
    given = (*OWN, "args.max_grad_norm=0", asked)
    with pytest.raises(UserError, match="within the backward pass"), built(tmp_path, *given):
        pass
