"""The multilayer perceptron."""

from __future__ import annotations

import torch
from torch import nn

from trainer_cli.model import MLP


def test_features_become_logits() -> None:
    outputs = MLP(in_features=5, hidden_features=[8, 7], out_features=3, dropout=0.0)(torch.zeros(4, 5))
    assert outputs.keys() == {"logits"}
    assert outputs["logits"].shape == (4, 3)


def test_layers_have_the_widths_asked_for() -> None:
    model = MLP(in_features=5, hidden_features=[8, 7], out_features=3, dropout=0.0)
    linear = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(5, 8), (8, 7), (7, 3)]


def test_without_hidden_layers_it_is_linear() -> None:
    assert len(MLP(in_features=5, hidden_features=[], out_features=3, dropout=0.5).layers) == 1


def test_dropout_follows_each_hidden_layer() -> None:
    model = MLP(in_features=5, hidden_features=[8, 7], out_features=3, dropout=0.3)
    assert [layer.p for layer in model.layers if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
    assert isinstance(model.layers[-1], nn.Linear)
