"""Modules as files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn

from trainer_cli.hub.pretrained import byte_tokenizer
from trainer_cli.model import MLP
from trainer_cli.model.storage import WEIGHTS, is_transformers_model, load, save

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


def test_only_transformers_own_models_are_taken_for_such() -> None:
    assert is_transformers_model(classifier(0))
    assert not is_transformers_model(Tied(0))
