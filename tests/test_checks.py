"""What only the ready parts can tell, before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import Rows, built, run
from torch import Tensor, nn

from trainer_cli import runner
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.model import MLP
from trainer_cli.nonfinite import Diverged
from trainer_cli.saving import check_finite
from trainer_cli.tracker.jsonl import FILE

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


class Wide(Rows):
    """Points with columns that no model takes."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": "a", **super().__getitem__(index), "none": None, "tokens": ["a"] * (1 + index % 3)}


class Detached(MLP):
    """A perceptron whose loss has no gradient."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        outputs = super().forward(features)
        assert labels is not None
        return {**outputs, "loss": nn.functional.cross_entropy(outputs["logits"], labels).detach()}


OWN_PARTS = "plugins=[small_run,test_checks]"


def test_columns_that_the_model_does_not_take_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path / "narrow", "args.max_steps=3")
    with caplog.at_level("INFO", logger="trainer_cli.checks"):
        wide = ("data.train._target_=test_checks.Wide", "data.eval._target_=test_checks.Wide")
        run(tmp_path / "wide", OWN_PARTS, *wide, "args.max_steps=3")
    assert (tmp_path / "wide" / FILE).read_text() == (tmp_path / "narrow" / FILE).read_text()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["columns that MLP.forward does not take are left out: text, none, tokens"]


def test_a_loss_without_gradient_is_refused_before_the_first_step(tmp_path: Path) -> None:
    given = (OWN_PARTS, "model._target_=test_checks.Detached", "loss=model")
    with (
        built(tmp_path, *given) as engine,
        pytest.raises(UserError, match="the loss has no gradient") as caught,
    ):
        runner.run(engine)
    assert engine.state.step == 0 and not isinstance(caught.value, RunFailed)


class Lazy(MLP):
    """A perceptron with a layer that waits for its first batch."""

    def __init__(self, in_features: int, hidden_features: Any, out_features: int, dropout: float) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.late = nn.LazyLinear(out_features)


class Frozen(MLP):
    """A perceptron with nothing to train."""

    def __init__(self, in_features: int, hidden_features: Any, out_features: int, dropout: float) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.requires_grad_(False)


class Complex(MLP):
    """A perceptron with a parameter of complex numbers."""

    def __init__(self, in_features: int, hidden_features: Any, out_features: int, dropout: float) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(features)["logits"] + self.phase.abs().sum()}


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("Lazy", "the shape of late.weight, late.bias in Lazy is not known before its first batch"),
        ("Frozen", "Frozen has nothing to train: no parameter of it has requires_grad"),
        ("Complex", "optim.fused=true updates real numbers, and phase is complex"),
    ],
)
def test_a_module_that_cannot_be_trained_as_it_is_is_refused(tmp_path: Path, model: str, says: str) -> None:
    with (
        pytest.raises(UserError, match=says),
        built(tmp_path, OWN_PARTS, f"model._target_=test_checks.{model}"),
    ):
        pass


def test_the_ways_on_from_there_lead_on(tmp_path: Path) -> None:
    given = (OWN_PARTS, "model._target_=test_checks.Frozen", "args.stages=[eval]", "args.eval_strategy=no")
    with built(tmp_path / "frozen", *given) as engine:
        assert 0 < runner.run(engine)["eval/loss"] < 3
    given = (OWN_PARTS, "model._target_=test_checks.Complex", "optim.fused=false", "args.max_steps=2")
    assert run(tmp_path / "complex", *given).state.step == 2


def test_an_imaginary_part_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    given = (OWN_PARTS, "model._target_=test_checks.Complex", "optim.fused=false")
    with built(tmp_path, *given) as engine:
        check_finite(engine)
        with torch.no_grad():
            engine.module.get_parameter("phase")[1] = complex(1.0, torch.inf)
        with pytest.raises(Diverged, match="not all finite"):
            check_finite(engine)
