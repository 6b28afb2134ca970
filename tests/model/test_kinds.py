"""Which library a module is of."""

from __future__ import annotations

import transformers
from torch import nn

from trainer_cli.model import MLP
from trainer_cli.model.kinds import base_model, is_peft_model, is_transformers_model


def classifier() -> nn.Module:
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
        )
    )


def test_only_transformers_own_models_are_taken_for_such() -> None:
    assert is_transformers_model(classifier())
    assert not is_transformers_model(MLP(2, [2], 2, 0.0))


def test_a_model_that_nothing_wraps_is_its_own_base() -> None:
    module = classifier()
    assert not is_peft_model(module) and base_model(module) is module
