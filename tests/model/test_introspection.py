"""What a model takes and how it scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer_cli.model import MLP
from trainer_cli.model.introspection import forward_names, needed_names, predicts_next_token, takes_labels

BERT = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
GPT = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16}
CAUSAL: dict[str, dict[str, Any]] = {
    "bert": {**BERT, "is_decoder": True},
    "bert-generation": {**BERT, "is_decoder": True},
    "ctrl": {**GPT, "dff": 16},
    "gpt2": GPT,
    "openai-gpt": GPT,
    "xlm": {"emb_dim": 8, "n_layers": 1, "n_heads": 2},
    "xlnet": {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 16},
    "llama": BERT,
    "opt": {"hidden_size": 8, "ffn_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    | {"word_embed_proj_dim": 8},
}


def built(kind: str, **shape: Any) -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(kind, vocab_size=30, **shape)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_model_shifts_its_labels_where_the_first_does_not_matter_to_it(kind: str) -> None:
    torch.manual_seed(0)
    model = built(kind, **CAUSAL[kind])
    tokens = torch.randint(5, 30, (2, 8))
    other = tokens.clone()
    other[:, 0] = (other[:, 0] + 1) % 30
    first_is_ignored = bool(model(tokens, labels=tokens).loss == model(tokens, labels=other).loss)
    assert predicts_next_token(model) == first_is_ignored


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "BertForPreTraining", "BertForMaskedLM", "T5"]
)
def test_no_other_model_does(name: str) -> None:
    import transformers

    if name == "T5":
        shape = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 30}
        model: Any = transformers.T5ForConditionalGeneration(transformers.T5Config(**shape))
    else:
        model = getattr(transformers, name)(transformers.BertConfig(vocab_size=30, **BERT))
    assert not predicts_next_token(model)


def test_a_class_of_ones_own_scores_as_the_one_it_is_made_of() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    class Mine(GPT2LMHeadModel):
        """Another name for it."""

    assert predicts_next_token(Mine(GPT2Config(vocab_size=30, **GPT)))
    assert not predicts_next_token(MLP(2, [2], 2, 0.0))


def test_names_are_those_of_the_forward() -> None:
    model = MLP(2, [2], 2, 0.0)
    assert forward_names(model) == {"features", "labels"}
    assert needed_names(model) == ["features"]
    assert not takes_labels(model)
