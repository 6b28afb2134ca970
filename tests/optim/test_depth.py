"""How deep parameters lie, in models of the usual forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import transformers
from torch import nn

from trainer_cli.optim.depth import layer_depths

TOKENS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
SEQUENCES = {
    "d_model": 8,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "decoder_start_token_id": 1,
}


def bert() -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, **TOKENS))


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=3, n_head=2, **TOKENS))


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **TOKENS))


def t5() -> nn.Module:
    config = transformers.T5Config(
        d_model=8, d_kv=4, d_ff=8, num_layers=3, num_decoder_layers=2, num_heads=2, **TOKENS
    )
    return transformers.T5ForConditionalGeneration(config)


def bart() -> nn.Module:
    return transformers.BartForConditionalGeneration(transformers.BartConfig(**SEQUENCES, **TOKENS))


def whisper() -> nn.Module:
    return transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**SEQUENCES, **TOKENS))


def vit() -> nn.Module:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**SIZES, image_size=8, patch_size=4, num_labels=2)
    )


def encoder() -> nn.Module:
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 3, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(4, 8), layers, nn.Linear(8, 2))


@pytest.mark.parametrize(
    ("make", "places"),
    [
        (
            bert,
            {
                "bert.embeddings.LayerNorm.bias": 0,
                "bert.encoder.layer.0.output.dense.weight": 1,
                "bert.encoder.layer.2.output.dense.bias": 3,
                "bert.pooler.dense.weight": 4,
                "classifier.bias": 4,
            },
        ),
        (
            gpt2,
            {"transformer.wpe.weight": 0, "lm_head.weight": 0, "transformer.ln_f.bias": 4},
        ),
        (llama, {"model.embed_tokens.weight": 0, "model.norm.weight": 4, "lm_head.weight": 4}),
        (
            t5,
            {
                "shared.weight": 0,
                "lm_head.weight": 0,
                "encoder.block.2.layer.0.SelfAttention.q.weight": 3,
                "decoder.block.0.layer.0.SelfAttention.q.weight": 1,
                "encoder.final_layer_norm.weight": 4,
                "decoder.final_layer_norm.weight": 4,
            },
        ),
        (
            bart,
            {"model.encoder.layernorm_embedding.weight": 0, "model.decoder.embed_positions.weight": 0},
        ),
        (
            whisper,
            {
                "model.encoder.conv1.weight": 0,
                "model.decoder.embed_positions.weight": 0,
                "model.decoder.layers.1.fc1.weight": 2,
                "model.decoder.layer_norm.weight": 4,
            },
        ),
        (vit, {"vit.embeddings.cls_token": 0, "vit.layernorm.weight": 4, "classifier.weight": 4}),
        (encoder, {"0.weight": 0, "1.layers.0.norm1.weight": 1, "1.layers.2.norm1.weight": 3, "2.bias": 4}),
    ],
)
def test_places(make: Callable[[], nn.Module], places: dict[str, int]) -> None:
    module = make()
    depths = layer_depths(module)
    assert depths is not None
    assert depths.top == 4
    assert depths.depth.keys() == dict(module.named_parameters(remove_duplicate=False)).keys()
    assert {name: depths.depth[name] for name in places} == places


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 1)


def test_stages_of_one_module_stand_on_each_other() -> None:
    module = nn.Module()
    module.stem = nn.Conv2d(1, 2, 1)
    module.first = nn.Sequential(Residual(), Residual())
    module.second = nn.Sequential(Residual(), Residual(), Residual())
    module.heads = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    depths = layer_depths(module)
    assert depths is not None
    found = {name.removesuffix(".convolution.weight"): depths.depth[name] for name in depths.depth}
    assert [found[name] for name in ("stem.weight", "first.0", "first.1", "second.0", "second.2")] == [
        0,
        1,
        2,
        3,
        5,
    ]
    assert found["heads.0.weight"] == found["heads.1.weight"] == depths.top == 6


def test_plain_layers_count_where_there_are_no_others() -> None:
    module = nn.Module()
    module.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    depths = layer_depths(module)
    assert depths is not None
    assert [depths.depth[f"layers.{index}.weight"] for index in range(3)] == [1, 2, 3]
    assert [depths.title(depth) for depth in range(5)] == [
        "embeddings",
        "layer_0",
        "layer_1",
        "layer_2",
        "head",
    ]
    assert layer_depths(nn.Linear(2, 2)) is None
