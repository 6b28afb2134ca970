"""What a model demands of its tokens, against what it really takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from trainer_cli.hub.pretrained import byte_tokenizer
from trainer_cli.model import MLP
from trainer_cli.model.tokens import embedded_tokens, fit, made_for_length, position_limit

ROOM = 12
END, PAD = 2, 1
LAYER = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
ROWS = {"max_position_embeddings": ROOM}
ENCODER: dict[str, Any] = {**LAYER, **ROWS}
GPT: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": ROOM}
BART: dict[str, Any] = {"d_model": 16, **ROWS} | {
    f"{part}_{name}": size
    for part in ("encoder", "decoder")
    for name, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 16}.items()
}
XLM = {"emb_dim": 16, "n_layers": 1, "n_heads": 2}
LLAMA: dict[str, Any] = {**ENCODER, "num_key_value_heads": 2}

MODELS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    # how it is made, its shape, the most tokens of a row as its tables have it
    "bert": ("sequence", ENCODER, ROOM),
    "albert": ("sequence", {**ENCODER, "embedding_size": 16}, ROOM),
    "distilbert": ("sequence", {"dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2, **ROWS}, ROOM),
    "deberta-v2": ("sequence", {**ENCODER, "relative_attention": True}, ROOM),
    "electra": ("sequence", {**ENCODER, "embedding_size": 16}, ROOM),
    "roberta": ("sequence", ENCODER, ROOM - 2),
    "xlm-roberta": ("sequence", ENCODER, ROOM - 2),
    "camembert": ("sequence", ENCODER, ROOM - 2),
    "ibert": ("sequence", ENCODER, ROOM - 2),
    "mpnet": ("sequence", ENCODER, ROOM - 2),
    "esm": ("sequence", {**ENCODER, "position_embedding_type": "absolute"}, ROOM - 2),
    "longformer": ("sequence", {**ENCODER, "attention_window": 4}, ROOM - 2),
    "nystromformer": ("sequence", ENCODER, ROOM),
    "roformer": ("sequence", {**ENCODER, "embedding_size": 16}, ROOM),
    "xlm": ("sequence", {**XLM, **ROWS}, ROOM),
    "bart": ("sequence", BART, ROOM),
    "mbart": ("sequence", BART, ROOM),
    "opt": ("sequence", {**LAYER, **ROWS, "ffn_dim": 16, "word_embed_proj_dim": 16}, ROOM),
    "biogpt": ("sequence", ENCODER, ROOM),
    "gpt2": ("sequence", GPT, ROOM),
    "gpt_bigcode": ("causal", GPT, ROOM),
    "openai-gpt": ("sequence", GPT, ROOM),
    "marian": ("causal", BART, ROOM),
    "bigbird_pegasus": ("causal", BART, ROOM),
    # no table, but a limit all the same
    "ctrl": ("sequence", {**GPT, "dff": 16}, None),
    "gptj": ("sequence", {**GPT, "rotary_dim": 4}, None),
    # no limit: rotations, biases by distance, or a state
    "llama": ("sequence", LLAMA, None),
    "qwen2": ("sequence", LLAMA, None),
    "gpt_neox": ("sequence", ENCODER, None),
    "modernbert": ("sequence", ENCODER, None),
    "bloom": ("sequence", {"hidden_size": 16, "n_layer": 1, "n_head": 2}, None),
    "falcon": ("sequence", {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}, None),
    "xlnet": ("sequence", {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}, None),
    "mamba": ("causal", {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}, None),
}
LIMITED = {kind for kind, (_, _, limit) in MODELS.items() if limit is not None} | {"ctrl", "gptj"}


def built(kind: str, **fields: Any) -> Any:
    """A small model of the kind with large random weights, so that every difference shows."""
    how, shape, _ = MODELS[kind]
    autos = {
        "sequence": transformers.AutoModelForSequenceClassification,
        "causal": transformers.AutoModelForCausalLM,
    }
    special = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": 0, "num_labels": 3}
    if kind in ("bart", "mbart", "marian", "bigbird_pegasus"):
        special |= {"decoder_start_token_id": END, "forced_eos_token_id": END}
    config = transformers.AutoConfig.for_model(kind, vocab_size=60, **{**special, **shape, **fields})
    torch.manual_seed(0)
    model = autos[how].from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


@torch.no_grad()
def takes(model: Any, length: int) -> bool:
    tokens = torch.full((2, length), 5)
    tokens[:, -1] = END
    try:
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("kind", MODELS)
def test_the_limit_is_where_the_model_breaks(kind: str) -> None:
    model, limit = built(kind), MODELS[kind][2]
    assert position_limit(model) == limit
    assert embedded_tokens(model) == 60
    if kind in LIMITED:
        most = limit or made_for_length(model)
        assert most is not None and takes(model, most) and not takes(model, most + 1)
    else:
        assert takes(model, 4 * ROOM)


def batch(rows: list[list[int]], side: str, pad: int) -> dict[str, Tensor]:
    width = max(map(len, rows))
    tokens, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.int64)
    for index, row in enumerate(rows):
        part = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        tokens[index, part], mask[index, part] = torch.tensor(row), 1
    return {"input_ids": tokens, "attention_mask": mask}


class Tokens:
    """As much of a tokenizer as the fit looks at."""

    def __init__(self, pad: int, side: str) -> None:
        self.pad_token_id, self.padding_side, self.model_max_length = pad, side, 512


@pytest.mark.parametrize("stored_pad", [None, 7])
@pytest.mark.parametrize(
    "kind", ["gpt2", "llama", "qwen2", "opt", "gpt_neox", "ctrl", "bert", "xlnet", "modernbert"]
)
@torch.no_grad()
def test_a_text_scores_the_same_whatever_is_beside_it(kind: str, stored_pad: int | None) -> None:
    """Also where padding is the token that ends a text, and a text has that inside, at its end or alone."""
    model = built(kind)
    model.config.pad_token_id = stored_pad
    tokenizer = Tokens(pad=END, side="right" if kind == "xlnet" else "left")
    fit(model, tokenizer)
    assert model.config.pad_token_id == END
    rows = [[5, 6, 7, END], [8, 9], [END, 5, END], [END, END], [5, 6, 7, 8, 9, 10, END, END], [3]]
    together = model(**batch(rows, tokenizer.padding_side, END)).logits
    alone = torch.cat([model(**batch([row], tokenizer.padding_side, END)).logits for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_a_tokenizer_cuts_at_the_models_limit_and_not_beyond_its_own() -> None:
    tokenizer = byte_tokenizer()
    fit(built("roberta"), tokenizer)
    assert tokenizer.model_max_length == ROOM - 2
    fit(built("bert", max_position_embeddings=40), tokenizer)
    assert tokenizer.model_max_length == ROOM - 2
    unlimited = byte_tokenizer()
    fit(built("llama"), unlimited)
    assert unlimited.model_max_length == byte_tokenizer().model_max_length


def test_a_causal_model_keeps_its_padding_and_a_model_of_ones_own_is_left_alone() -> None:
    model = built("gpt_bigcode")
    model.config.pad_token_id = None
    fit(model, byte_tokenizer())
    assert model.config.pad_token_id is None
    fit(MLP(2, [2], 2, 0.0), byte_tokenizer())
    fit(model, None)


def test_a_model_that_lets_padding_into_its_texts_is_named(caplog) -> None:
    fit(built("nystromformer"), byte_tokenizer())
    assert "NystromformerForSequenceClassification lets padding into its texts" in caplog.text
