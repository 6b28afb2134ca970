"""The model's own loss, made a sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.loss import ModelLoss
from trainer_cli.loss.base import IGNORED

SMALL = {
    "vocab_size": 30,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def classifier(**fields: Any) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL, **fields)
    return transformers.BertForSequenceClassification(config).double().eval()


def language_model() -> nn.Module:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, use_cache=False)).eval()


def tokens(rows: int, length: int = 6) -> Tensor:
    return torch.randint(30, (rows, length), generator=torch.Generator().manual_seed(2))


def mean_and_gradients(loss: ModelLoss, model: nn.Module, *parts: dict[str, Tensor]) -> tuple[float, Tensor]:
    model.zero_grad()
    count = max(1, sum(loss.count(part) for part in parts))
    total = 0.0
    for part in parts:
        loss_sum, _ = loss(model, part, loss.count(part))
        (loss_sum / count).backward()
        total += float(loss_sum.detach())
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return total / count, torch.cat(gradients)


def halves(batch: dict[str, Tensor], at: int) -> list[dict[str, Tensor]]:
    return [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(at), slice(at, None))]


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"num_labels": 3}, torch.tensor([0, 2, IGNORED, 1, IGNORED, IGNORED, 0])),
        ({"num_labels": 1, "problem_type": "regression"}, torch.linspace(-1, 1, 7, dtype=torch.float64)),
    ],
    ids=["classes", "regression"],
)
def test_any_split_of_a_batch_has_the_models_own_mean(fields: dict[str, Any], labels: Tensor) -> None:
    loss, model = ModelLoss(shift_labels=False), classifier(**fields)
    batch = {"input_ids": tokens(7), "labels": labels}
    mean, gradients = mean_and_gradients(loss, model, batch)
    assert mean == pytest.approx(float(model(**batch)["loss"].detach()), rel=1e-12)
    for at in (1, 3, 5):
        of_parts, gradients_of_parts = mean_and_gradients(loss, model, *halves(batch, at))
        assert of_parts == pytest.approx(mean, rel=1e-12)
        torch.testing.assert_close(gradients_of_parts, gradients, rtol=1e-10, atol=1e-12)


def test_a_causal_models_mean_is_over_the_labels_that_are_predicted() -> None:
    loss, model = ModelLoss(shift_labels=True), language_model()
    labels = tokens(5)
    labels[0, 3:] = IGNORED
    labels[3] = IGNORED
    batch = {"input_ids": tokens(5), "labels": labels}
    assert loss.count(batch) == 3 * 5 + 2
    mean, gradients = mean_and_gradients(loss, model, batch)
    assert mean == pytest.approx(float(model(**batch)["loss"].detach()), rel=1e-6)
    for at in (1, 3, 4):
        of_parts, gradients_of_parts = mean_and_gradients(loss, model, *halves(batch, at))
        # The library computes a causal loss in float32.
        assert of_parts == pytest.approx(mean, rel=1e-6)
        torch.testing.assert_close(gradients_of_parts, gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_a_batch_of_ignored_labels_gives_nothing_and_finite_gradients(causal: bool) -> None:
    model = language_model() if causal else classifier(num_labels=3)
    labels = torch.full((4, 6) if causal else (4,), IGNORED)
    batch = {"input_ids": tokens(4), "labels": labels}
    mean, gradients = mean_and_gradients(ModelLoss(shift_labels=causal), model, batch)
    assert mean == 0.0
    assert torch.equal(gradients, torch.zeros_like(gradients))


def test_a_model_that_returns_a_dict_serves_without_labels_too() -> None:
    class Reconstruction(nn.Module):
        def forward(self, features: Tensor) -> dict[str, Tensor]:
            return {"loss": (features - 1).square().mean()}

    loss, batch = ModelLoss(shift_labels=False), {"features": torch.zeros(3, 2)}
    assert loss.count(batch) == 3
    loss_sum, outputs = loss(Reconstruction(), batch, loss.count(batch))
    assert float(loss_sum) == 3.0
    assert outputs.keys() == {"loss"}


class Halves(nn.Module):
    """A model all in bf16, its loss too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.bfloat16))

    def forward(self, values: Tensor) -> dict[str, Tensor]:
        return {"loss": (values.to(torch.bfloat16) * self.scale).mean()}


def test_a_loss_in_half_precision_is_summed_in_single() -> None:
    model = Halves()
    batch = {"values": torch.full((257,), 0.7)}
    total, _ = ModelLoss(shift_labels=False)(model, batch, 257)
    assert total.dtype is torch.float32
    assert total == model(**batch)["loss"].float() * 257  # for which bf16 has no number
    total.backward()
    assert model.scale.grad is not None and model.scale.grad.dtype is torch.bfloat16


class Gives(nn.Module):
    """A classifier whose loss is made by a function of its logits and the labels."""

    def __init__(self, make: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3).double()
        self.make = make

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Any]:
        logits = self.linear(features)
        return {"loss": self.make(logits, labels), "logits": logits}


def each(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return (logits[:, 0] - labels).square()
    return nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none") + 1


def points(labels: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "features": torch.randn(*labels.shape, 4, generator=generator, dtype=torch.float64),
        "labels": labels,
    }


@pytest.mark.parametrize("at", [1, 3, 5])
@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 2, 1, 1, IGNORED, 0, 2]),
        torch.tensor([[0, 2], [1, IGNORED], [IGNORED, IGNORED], [2, 0], [1, 1], [0, 0], [2, 2]]),
        torch.linspace(-1, 1, 7, dtype=torch.float64),
    ],
    ids=["classes", "tokens", "numbers"],
)
def test_a_loss_of_each_item_has_the_mean_of_the_items(labels: Tensor, at: int) -> None:
    batch, model = points(labels), Gives(each)
    losses = each(model.linear(batch["features"]), labels).detach()
    kept = torch.ones_like(losses).bool() if labels.is_floating_point() else labels.flatten() != IGNORED
    mean, _ = mean_and_gradients(ModelLoss(shift_labels=False), model, *halves(batch, at))
    assert mean == pytest.approx(float(losses[kept].mean()), rel=1e-12)


def test_a_mean_in_a_vector_of_one_is_a_mean() -> None:
    batch, scalar = points(torch.tensor([0, 2, 1, 1])), Gives(nn.functional.cross_entropy)
    vector = Gives(lambda logits, labels: nn.functional.cross_entropy(logits, labels)[None])
    expected, _ = mean_and_gradients(ModelLoss(shift_labels=False), scalar, batch)
    mean, _ = mean_and_gradients(ModelLoss(shift_labels=False), vector, *halves(batch, 1))
    assert mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda logits, labels: logits.square(), r"loss has shape \(4, 3\).*one for each item, \(4,\)"),
        (lambda logits, labels: logits.sum(dim=0), r"loss has shape \(3,\)"),
        (lambda logits, labels: 0.5, "which returns a float as loss"),
    ],
)
def test_a_loss_that_is_neither_is_refused(make: Callable[[Tensor, Tensor], Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        ModelLoss(shift_labels=False)(Gives(make), points(torch.tensor([0, 2, 1, 1])), 4)
