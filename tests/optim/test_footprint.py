"""What plan says of an optimizer's state is what the optimizer comes to hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import built
from test_optimizers import NAMES, overrides
from torch import nn

from trainer_cli.optim import footprint
from trainer_cli.optim.footprint import kinds, nbytes, state_bytes, tensors

# torchao compiles a kernel for each shape of a weight.
COMPILED = {"adamw_torchao_4bit", "adamw_torchao_8bit"}
CASES = [pytest.param(name, marks=[pytest.mark.slow] * (name in COMPILED)) for name in NAMES]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def held(optimizer: torch.optim.Optimizer) -> int:
    """The bytes of all that the optimizer's state holds."""
    found = {id(tensor): tensor for state in optimizer.state.values() for tensor in tensors(state)}
    return sum(nbytes(tensor) for tensor in found.values())


def trained(module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """What the optimizer holds after an update of all parameters."""
    if isinstance(optimizer, footprint.Modal):
        optimizer.train()
    sum(parameter.square().sum() for parameter in module.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    return held(optimizer)


@pytest.mark.parametrize("name", CASES)
def test_the_state_of_every_optimizer_is_counted(tmp_path: Path, name: str) -> None:
    words = [*overrides(name), "model.hidden_features=[128,128,128]"]
    with built(tmp_path / "a", *words) as engine:
        before = [parameter.clone() for parameter in engine.parameters]
        counted = state_bytes(engine.module, engine.optimizer)
        assert all(map(torch.equal, before, engine.parameters))
        assert all(parameter.grad is None for parameter in engine.parameters)
    with built(tmp_path / "b", *words) as engine:
        assert counted == trained(engine.module, engine.optimizer)


NUMBERS = 6 * 128 + 128 * 128 * 2 + 128 * 3
VECTORS = 3 * 128 + 3


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["optim=adamw"], 2 * 4 * (NUMBERS + VECTORS) + 8 * 4),  # and the step of each of 8 tensors
        (["optim=sgd", "optim.momentum=0.9"], 4 * (NUMBERS + VECTORS)),
        (["optim=sgd", "optim.momentum=0"], 0),
        (["optim=lomo", "args.max_grad_norm=0"], 0),
        (["optim=lion"], 4 * (NUMBERS + VECTORS)),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_is_counted_is_what_the_optimizer_is_known_for(
    tmp_path: Path, words: list[str], count: int
) -> None:
    with built(tmp_path, *words, "model.hidden_features=[128,128,128]") as engine:
        assert state_bytes(engine.module, engine.optimizer) == count


@pytest.mark.parametrize(
    "name",
    ["adamw", "adamw_8bit", "adafactor", "adalomo", "came", "galore_adamw", "apollo_adamw", "muon", "soap"],
)
def test_a_large_tensor_is_measured_by_a_part_of_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*overrides(name), "model.hidden_features=[384,512]"]
    with built(tmp_path / "a", *words) as engine:
        whole = state_bytes(engine.module, engine.optimizer)
    monkeypatch.setattr(footprint, "LARGE", 128 * 128)
    monkeypatch.setattr(footprint, "PART", (320, 128))
    with built(tmp_path / "b", *words) as engine:
        shapes = [parameter.shape for parameter in engine.parameters]
        assert state_bytes(engine.module, engine.optimizer) == whole
        assert [parameter.shape for parameter in engine.parameters] == shapes


def test_layers_that_are_alike_are_one_kind(tmp_path: Path) -> None:
    with built(tmp_path, "model.hidden_features=[16,16,16,16]") as engine:
        found = [kind for kind, _ in kinds(engine.module, engine.optimizer)]
    assert len(found) == 10 and len(set(found)) == 5
