"""Noise on the embeddings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from trainer_cli.config.errors import UserError
from trainer_cli.model import MLP
from trainer_cli.model.neftune import embedding_noise


class Tagger(nn.Module):
    """An embedding and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(input_ids))


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def test_it_is_uniform_within_its_bound_in_training_alone() -> None:
    model = Tagger()
    clean = model.embed(IDS)
    with embedding_noise(model, 5.0):
        noise = torch.stack([model.embed(IDS) - clean for _ in range(200)])
        bound = 5.0 / math.sqrt(3 * 4)
        assert noise.abs().max() <= bound and noise.abs().max() > 0.99 * bound
        assert abs(noise.mean()) < 0.02 * bound
        with torch.no_grad():
            assert torch.equal(model.embed(IDS), clean)
        model.eval()
        assert torch.equal(model.embed(IDS), clean)
        model.train()
    assert torch.equal(model.embed(IDS), clean)
    assert not model.embed._forward_hooks


def test_it_is_the_trainers() -> None:
    from transformers.integrations.neftune import neftune_post_forward_hook

    theirs: Any = Tagger()
    theirs.embed.neftune_noise_alpha = 5.0
    clean = theirs.embed(IDS)
    torch.manual_seed(3)
    expected = neftune_post_forward_hook(theirs.embed, (), clean)
    torch.manual_seed(3)
    with embedding_noise(theirs, 5.0):
        torch.testing.assert_close(theirs.embed(IDS), expected, rtol=1e-6, atol=1e-6)


def test_a_transformers_model_names_its_embedding() -> None:
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=10, **shape))
    with embedding_noise(model, 5.0):
        assert model.get_input_embeddings()._forward_hooks


def test_a_model_without_an_embedding_is_refused() -> None:
    with pytest.raises(UserError, match="needs a token embedding"), embedding_noise(MLP(2, [2], 2, 0.0), 5.0):
        pass
