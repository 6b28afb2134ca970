"""Activation checkpointing of any module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import built, run
from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.model import MLP
from trainer_cli.model.recompute import recompute_activations


class Block(nn.Module):
    """A layer with dropout that counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.passes = 0

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        self.passes += 1
        return nn.functional.dropout(self.linear(x).tanh() * scale, 0.3, self.training)


class Tower(nn.Module):
    """Three blocks between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 5)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, scale=0.5)
        return self.head(x)


def gradients(model: Tower) -> list[Tensor]:
    torch.manual_seed(1)
    model(torch.ones(6, 4)).square().sum().backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("pattern", [None, "blocks", r"blocks\.[02]", "linear"])
def test_the_gradients_are_the_same_bits_and_the_names_stay(pattern: str | None) -> None:
    torch.manual_seed(0)
    plain, recomputed = Tower(), Tower()
    recomputed.load_state_dict(plain.state_dict())
    recompute_activations(recomputed, pattern)
    assert list(recomputed.state_dict()) == list(plain.state_dict())
    for left, right in zip(gradients(plain), gradients(recomputed), strict=True):
        assert torch.equal(left, right)


def test_layers_run_again_in_the_backward_pass_and_only_in_training() -> None:
    model = Tower()
    recompute_activations(model, None)
    gradients(model)
    assert [block.passes for block in model.blocks] == [2, 2, 2]
    model.eval()
    model(torch.ones(6, 4)).sum().backward()
    assert [block.passes for block in model.blocks] == [3, 3, 3]


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept(model: Tower) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            model(torch.ones(64, 4))
        return sum(sizes)

    model = Tower()
    before = kept(model)
    recompute_activations(model, None)
    assert kept(model) < 0.6 * before


def test_a_model_without_repeated_layers_is_told_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        recompute_activations(MLP(2, [3], 2, 0.0), None)
    assert "has no repeated layers" in error.value.block() and "it has layers" in error.value.block()
    with pytest.raises(UserError, match="has no module that matches attention"):
        recompute_activations(Tower(), "attention")


def test_a_run_with_it_is_the_run_without(tmp_path: Path) -> None:
    given = ("model.dropout=0.3", "args.num_train_epochs=1")
    plain = run(tmp_path / "plain", *given)
    asked = (*given, "args.gradient_checkpointing=true", "args.gradient_checkpointing_modules=layers")
    recomputed = run(tmp_path / "recomputed", *asked)
    for left, right in zip(plain.parameters, recomputed.parameters, strict=True):
        assert torch.equal(left, right)


def test_transformers_models_do_it_themselves(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=10, **shape))
    recompute_activations(model, None)
    assert model.is_activation_checkpointing


def test_the_argument_alone_is_not_enough_for_a_perceptron(tmp_path: Path) -> None:
    asked = "args.gradient_checkpointing=true"
    with pytest.raises(UserError, match="no repeated layers"), built(tmp_path, asked):
        pass
