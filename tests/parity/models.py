"""Small models and their data, which both sides make for themselves from the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel
from transformers.loss.loss_utils import fixed_cross_entropy

WORDS, LENGTH, CLASSES = 48, 12, 4
IGNORED = -100


def bert(double: bool) -> BertForSequenceClassification:
    """BERT with a head for a few classes, without dropout."""
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
        num_labels=CLASSES,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return seeded(BertForSequenceClassification, config, double)


def gpt2(double: bool) -> GPT2LMHeadModel:
    """GPT-2, its word embeddings tied to its head, without dropout."""
    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=LENGTH,
        initializer_range=0.2,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    module = seeded(GPT2LMHeadModel, config, double)
    if double:
        module.loss_function = causal_loss
    return module


def seeded(kind: Any, config: Any, double: bool) -> Any:
    """The same weights at every call, no bias at zero: what has no scale of its own cannot be compared."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind(config)
        for parameter in module.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return module.double() if double else module


def causal_loss(
    logits: Tensor, labels: Tensor, vocab_size: int, num_items_in_batch: Tensor | None = None, **_: Any
) -> Tensor:
    """transformers' loss of causal language models, in the precision of the logits where that takes fp32."""
    labels = nn.functional.pad(labels, (0, 1), value=IGNORED)[..., 1:].flatten()
    return fixed_cross_entropy(logits.view(-1, vocab_size), labels, num_items_in_batch)


class Sentences(Dataset[dict[str, Tensor]]):
    """Sentences of uneven lengths, padded to one, each with a class."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(1, WORDS, (size, LENGTH), generator=generator)
        self.lengths = torch.randint(3, LENGTH + 1, (size,), generator=generator)
        self.labels = self.words[:, 1] % CLASSES

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        real = (torch.arange(LENGTH) < self.lengths[index]).long()
        return {
            "input_ids": self.words[index] * real,
            "attention_mask": real,
            "labels": self.labels[index],
        }


class Texts(Sentences):
    """Sentences whose every word is a label, that of nothing before it too."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        return {**row, "labels": row["input_ids"].masked_fill(row["attention_mask"] == 0, IGNORED)}


class Continuations(Texts):
    """Sentences to be gone on with: the first word is no label, nor are the next two in every other row."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        row["labels"][: 1 + index % 2 * 2] = IGNORED
        return row


class Counter(nn.Module):
    """A weight that SGD with a rate of 1 makes the number of updates; scored by its distance to 6."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": -self.weight if self.training else (self.weight - 6).square()}


class Line(nn.Module):
    """A line through points."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": (features @ self.weight - labels).square().mean()}


class Idle(nn.Module):
    """A normalisation that nothing is learned of: what changes its weights is decay."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3)

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": self.bn(features).sum() * 0}


class Table(nn.Module):
    """A weight for each row, whose gradient says whether the row was seen."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows))

    def forward(self, row: Tensor) -> dict[str, Tensor]:
        return {"loss": self.weight[row].mean()}


class Watching(torch.optim.AdamW):
    """AdamW that notes which entries of the only weight have a gradient at each step."""

    seen: list[list[int]]

    def step(self, closure: Any = None) -> Any:
        gradient = self.param_groups[0]["params"][0].grad
        self.seen = [*vars(self).get("seen", []), gradient.nonzero().flatten().tolist()]
        return super().step(closure)


class Points(Dataset[dict[str, Tensor]]):
    """Points with a value each; one may have no value at all."""

    def __init__(self, size: int, spoilt: int | None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(size, 3, generator=generator)
        self.labels = self.features.sum(1)
        if spoilt is not None:
            self.labels[spoilt] = torch.nan

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index], "labels": self.labels[index]}


class Numbers(IterableDataset[dict[str, Tensor]]):
    """The numbers of rows, one after the other; nothing says how many there are."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return ({"row": torch.tensor(number)} for number in range(self.size))
