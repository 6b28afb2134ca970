"""Modules as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import adapted
import pytest
import torch
import transformers
from torch import Tensor, nn

from trainer_cli import runner
from trainer_cli.checkpoint.store import STATE
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.hub.pretrained import byte_tokenizer
from trainer_cli.model import MLP
from trainer_cli.model.introspection import forward_names, needed_names, predicts_next_token
from trainer_cli.model.neftune import token_embedding
from trainer_cli.model.storage import ADAPTER, SHARDS, WEIGHTS, check_savable, load, publish, save, size

# PEFT asks transformers what it is about to ask by another name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SMALL = {
    "vocab_size": 258,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


class Tied(nn.Module):
    """An embedding whose weights are the head's too, and a buffer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.norm(self.embedding(tokens)))}


def same_state(left: nn.Module, right: nn.Module) -> bool:
    first, second = left.state_dict(), right.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def classifier(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, num_labels=3))


def language_model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=258, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    )


def test_a_plain_module_with_tied_weights_comes_back(tmp_path: Path) -> None:
    module, other = Tied(0), Tied(1)
    module(torch.arange(7))  # moves the running statistics
    save(module, None, tmp_path)
    load(other, tmp_path)
    assert same_state(module, other)
    assert other.head.weight is other.embedding.weight
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]


@pytest.mark.parametrize("make", [classifier, language_model])
def test_a_transformers_model_comes_back(tmp_path: Path, make) -> None:
    module, other = make(0), make(1)
    assert not same_state(module, other)
    save(module, None, tmp_path)
    load(other, tmp_path)
    assert same_state(module, other)


def test_loading_puts_weights_into_the_parameters_that_an_optimizer_holds(tmp_path: Path) -> None:
    for module, other in ((Tied(0), Tied(1)), (classifier(0), classifier(1))):
        save(module, None, tmp_path)
        parameters = list(other.parameters())
        load(other, tmp_path)
        assert all(before is after for before, after in zip(parameters, other.parameters(), strict=True))


def test_loading_keeps_the_modules_precision(tmp_path: Path) -> None:
    module = classifier(0).bfloat16()
    save(module, None, tmp_path)
    other = classifier(1)
    load(other, tmp_path)
    assert {parameter.dtype for parameter in other.parameters()} == {torch.float32}


def test_the_directory_is_one_that_from_pretrained_loads(tmp_path: Path) -> None:
    module, tokenizer = classifier(0), byte_tokenizer()
    save(module, tokenizer, tmp_path)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert same_state(module, loaded)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again("some text")["input_ids"] == tokenizer("some text")["input_ids"]


def test_nothing_that_is_saved_needs_unpickling(tmp_path: Path) -> None:
    save(classifier(0), byte_tokenizer(), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt", ".jinja"}


def test_weights_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    save(MLP(4, [3], 2, 0.0), None, tmp_path)
    with pytest.raises(RuntimeError):
        load(MLP(4, [5], 2, 0.0), tmp_path)


def mixture(seed: int) -> nn.Module:
    """A model whose published weights have another layout than its own."""
    torch.manual_seed(seed)
    return transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1, bos_token_id=None)
    )


def with_constants(seed: int) -> nn.Module:
    """A model whose table of sinusoids the library does not write."""
    torch.manual_seed(seed)
    shape = {
        f"{part}_{name}": size
        for part in ("encoder", "decoder")
        for name, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 8}.items()
    }
    special = {"pad_token_id": 1, "eos_token_id": 0, "decoder_start_token_id": 1}
    config = transformers.MarianConfig(
        vocab_size=30, d_model=8, max_position_embeddings=12, **special, **shape
    )
    model = transformers.MarianMTModel(config)
    assert model._keys_to_ignore_on_save
    return model


@pytest.mark.parametrize("make", [mixture, with_constants])
def test_a_model_that_is_published_under_other_names_comes_back_bit_for_bit(tmp_path: Path, make) -> None:
    module, other = make(0), make(1)
    save(module, None, tmp_path)
    load(other, tmp_path)
    assert same_state(module, other)
    assert same_state(module, type(module).from_pretrained(tmp_path))


def test_what_others_load_has_the_names_of_its_publishers(tmp_path: Path) -> None:
    module = mixture(0)
    publish(module, None, tmp_path / "model")
    save(module, None, tmp_path / "checkpoint")
    names = {place.name: set(weights_in(place)) for place in tmp_path.iterdir()}
    assert names["checkpoint"] == set(module.state_dict())
    assert any("experts.1.w1" in name for name in names["model"])
    assert same_state(module, type(module).from_pretrained(tmp_path / "model"))


def weights_in(directory: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / WEIGHTS)


def mixed(seed: int) -> nn.Module:
    """A model in bf16 but for its norms."""
    module = classifier(seed).bfloat16()
    for name, part in module.named_modules():
        if "LayerNorm" in name:
            part.float()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def test_a_model_of_mixed_types_comes_back_unrounded(tmp_path: Path) -> None:
    module, other = mixed(0), mixed(1)
    save(module, None, tmp_path)
    load(other, tmp_path)
    assert same_state(module, other)
    assert {weight.dtype for weight in other.state_dict().values()} == {torch.bfloat16, torch.float32}


def test_weights_in_several_files_come_back(tmp_path: Path) -> None:
    module, other = classifier(0), classifier(1)
    module.save_pretrained(tmp_path, max_shard_size="3KB")
    names = set(json.loads((tmp_path / SHARDS).read_text())["weight_map"].values())
    assert len(names) > 2 and not (tmp_path / WEIGHTS).exists()
    load(other, tmp_path)
    assert same_state(module, other)


def test_a_bar_of_the_library_does_not_reach_the_terminal(tmp_path: Path, capfd) -> None:
    transformers.logging.enable_progress_bar()
    save(classifier(0), None, tmp_path)
    publish(classifier(0), None, tmp_path)
    assert capfd.readouterr().err == ""


def test_what_shares_its_memory_counts_once() -> None:
    assert size(Tied(0)) == 4 * (7 * 4 + 4 * 4) + 8  # embedding, norm, and its count of batches


class TiedByHand(transformers.BertForSequenceClassification):
    """A model that shares weights and does not say so."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert.encoder.layer[0].output.dense.bias = self.bert.embeddings.LayerNorm.bias


def test_a_model_that_the_library_cannot_save_is_refused_before_it_trains() -> None:
    with pytest.raises(UserError, match=r"transformers cannot save TiedByHand.*shared tensors"):
        check_savable(TiedByHand(transformers.BertConfig(**SMALL)))
    check_savable(classifier(0))
    check_savable(language_model(0))
    check_savable(Tied(0))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    pytest.importorskip("peft")
    return adapted.base(tmp_path_factory.mktemp("base"))


def drawn(module: nn.Module) -> nn.Module:
    """The module with all that is trained drawn at random."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    return module


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens", "q_proj"], "bias": "lora_only"},
        {"trainable_token_indices": [1, 2]},
    ],
    ids=str,
)
def test_an_adapter_comes_back_and_is_what_peft_loads(tmp_path: Path, base: Path, fields) -> None:
    import peft

    module, other = drawn(adapted.lora(str(base), fields)), adapted.lora(str(base), fields)
    check_savable(module)
    save(module, None, tmp_path)
    load(other, tmp_path)
    assert same_state(module, other)
    assert (tmp_path / ADAPTER).exists() and not (tmp_path / WEIGHTS).exists()
    assert same_state(module, peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path))


def test_a_wrapped_model_is_read_as_the_one_inside(base: Path) -> None:
    module = adapted.lora(str(base))
    assert predicts_next_token(module)
    assert forward_names(module) == forward_names(module.get_base_model())
    assert needed_names(module) == []
    assert token_embedding(module) is module.get_base_model().model.embed_tokens


def test_adapters_that_no_file_would_hold_are_refused(base: Path) -> None:
    import peft

    fresh = transformers.LlamaForCausalLM(transformers.LlamaConfig(**adapted.LLAMA))
    lora = peft.LoraConfig(r=2, target_modules=["q_proj"])
    with pytest.raises(UserError, match="was not loaded from anywhere"):
        check_savable(adapted.wrapped(fresh, lora))
    module = adapted.lora(str(base))
    module.get_base_model().model.norm.weight.requires_grad_(True)
    with pytest.raises(UserError, match=r"norm.weight: trained, and an adapter's file does not hold"):
        check_savable(module)
    module = adapted.lora(str(base))
    module.add_adapter("second", lora)
    with pytest.raises(UserError, match="the adapters default, second"):
        check_savable(module)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(260)
    with pytest.raises(UserError, match="260 tokens, its base 258"):
        check_savable(adapted.wrapped(model, lora))
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(260)
    both = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    check_savable(adapted.wrapped(model, both))
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.add_adapter(lora)
    with pytest.raises(UserError, match="has an adapter inside"):
        check_savable(model)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(UserError, match="a learned prompt"):
        check_savable(
            adapted.wrapped(model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
        )


def test_a_run_of_an_adapter_resumes_bit_for_bit_and_is_counted_shifted(tmp_path: Path, base: Path) -> None:
    import peft

    (tmp_path / "a.txt").write_text("To be, or not to be. " * 20)
    overrides = [
        "plugins=[adapted]",
        "model._target_=adapted.lora",
        f"+model.pretrained={base}",
        "~model.config",
        "~model.trust_remote_code",
        "data=language_modeling",
        f"data.train_file={tmp_path / 'a.txt'}",
        "data.max_length=16",
        "args.max_steps=6",
        "args.save_strategy=steps",
        "args.save_steps=3",
        "args.logging_steps=1",
        "args.eval_strategy=no",
        "args.stages=[train]",
        "args.per_device_train_batch_size=4",
        "args.gradient_checkpointing=true",
        "args.ema_decay=0.5",
        "args.use_cpu=true",
        "callbacks.progress=null",
    ]
    config = compose(overrides).config
    (tmp_path / "whole").mkdir()
    (tmp_path / "part").mkdir()
    engine = runner.build(config, tmp_path / "whole")
    assert engine.loss.shift_labels
    runner.run(engine)
    trained = [weight for name, weight in engine.module.named_parameters() if "lora_B" in name]
    assert trained and all(weight.any() for weight in trained)
    checkpoint = tmp_path / "whole/checkpoint-3"
    assert {ADAPTER, "adapter_config.json", STATE} <= {file.name for file in checkpoint.iterdir()}
    again = runner.build(config, tmp_path / "part", resume_from=checkpoint)
    runner.run(again)
    assert same_state(engine.module, again.module)
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "part/model")
    assert same_state(engine.module, loaded)
