"""What all losses share: how items are counted, what is scored, and what a model has to return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from trainer_cli.config.errors import UserError
from trainer_cli.loss import CrossEntropy, Elementwise, Loss, MeanSquaredError, ModelLoss, Outputs
from trainer_cli.loss.base import IGNORED, at_least_float32, count_labels, named_losses, returned


class Shifted(Loss):
    """A loss of a user's own that does not say whether it shifts."""

    def count(self, batch: Mapping[str, Tensor]) -> int:
        return count_labels(batch, self.shift_labels)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], count: int) -> tuple[Tensor, Outputs]:
        raise NotImplementedError


LABELS = st.lists(
    st.lists(st.sampled_from([IGNORED, 0, 1, 2]), min_size=5, max_size=5), min_size=1, max_size=4
)


@given(LABELS, st.booleans(), st.integers(0, 4))
def test_the_count_is_that_of_torchs_mean_and_adds_up(labels: list[list[int]], shift: bool, cut: int) -> None:
    batch = {"labels": torch.tensor(labels)}
    count = count_labels(batch, shift)
    scored = batch["labels"][:, 1:] if shift else batch["labels"]
    logits = torch.zeros(*scored.shape, 3, dtype=torch.float64).flatten(0, 1)
    total = functional.cross_entropy(logits, scored.flatten(), reduction="sum")
    mean = functional.cross_entropy(logits, scored.flatten())
    assert count == (round(float(total / mean)) if total else 0)
    parts = [{"labels": part} for part in (batch["labels"][:cut], batch["labels"][cut:])]
    assert count == sum(count_labels(part, shift) for part in parts)


@pytest.mark.parametrize("shift", [False, True])
def test_items_without_classes_are_rows(shift: bool) -> None:
    assert count_labels({"labels": torch.full((4, 3), float(IGNORED))}, shift) == 4
    assert count_labels({"labels": torch.rand(4, dtype=torch.float64)}, shift) == 4
    assert count_labels({"input_ids": torch.zeros(5, 3), "mask": torch.zeros(5, 3)}, shift) == 5


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.bool])
def test_labels_may_be_integers_of_any_width(dtype: torch.dtype) -> None:
    assert count_labels({"labels": torch.tensor([1, 0, 1]).to(dtype)}, False) == 3


@pytest.mark.parametrize("shift", [False, True])
def test_what_is_scored_are_the_positions_that_are_counted(shift: bool) -> None:
    loss: Any = Shifted()
    assert loss.shift_labels is False
    loss.shift_labels = shift
    logits = torch.arange(2 * 4 * 3).reshape(2, 4, 3)
    labels = torch.tensor([[5, 6, 7, IGNORED], [IGNORED, 8, IGNORED, 9]])
    scores, targets = loss.scored({"logits": logits}, {"labels": labels})
    assert scores.shape[:-1] == targets.shape == ((2, 3) if shift else (2, 4))
    assert int((targets != IGNORED).sum()) == loss.count({"labels": labels})
    for row in range(2):
        for position in range(targets.shape[1]):
            assert targets[row, position] == labels[row, position + shift]
            assert torch.equal(scores[row, position], logits[row, position])


def test_other_losses_are_the_scalars_that_are_named_so() -> None:
    outputs = {
        "loss": torch.tensor(1.0),
        "router_loss": torch.tensor(0.5, dtype=torch.bfloat16),
        "exact_loss": torch.tensor(0.1, dtype=torch.float64),
        "token_loss": torch.ones(3),
        "plain_loss": 0.5,
        "lossy": torch.tensor(1.0),
    }
    named = named_losses(outputs)  # type: ignore[arg-type]
    assert {name: value.dtype for name, value in named.items()} == {
        "router_loss": torch.float32,
        "exact_loss": torch.float64,
    }
    assert float(named["router_loss"]) == 0.5


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
)
def test_digits_are_added_and_never_taken(dtype: torch.dtype, found: torch.dtype) -> None:
    assert at_least_float32(torch.ones(2, dtype=dtype)).dtype is found


def test_what_the_model_returned_is_taken_as_it_is() -> None:
    logits = torch.ones(2, 3)
    assert returned({"logits": logits, "loss": None}, "logits", "") is logits
    assert returned(SequenceClassifierOutput(logits=logits), "logits", "") is logits  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outputs", "what"),
    [
        (torch.ones(2), "a Tensor"),
        ((torch.ones(2), torch.ones(2)), "a tuple"),
        (None, "a NoneType"),
        ({}, "one without tensors"),
        ({"logits": None}, "one without tensors"),
        ({"logits": None, "scores": torch.ones(2), "hidden": torch.ones(2)}, "scores, hidden"),
        (SequenceClassifierOutput(loss=torch.ones(())), "loss"),  # type: ignore[arg-type]
    ],
)
def test_a_model_that_does_not_return_it_is_told_what_it_returns(outputs: Any, what: str) -> None:
    with pytest.raises(UserError) as caught:
        returned(outputs, "logits", "return logits")
    assert caught.value.block() == (
        f"error: the loss needs a dict with logits from the model, which returns {what}\n  return logits"
    )


class Returns(nn.Module):
    """A model that returns what it is given, whatever it is asked."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, **batch: Tensor) -> Any:
        return self.outputs


@pytest.mark.parametrize(
    ("loss", "other"),
    [
        (CrossEntropy(0.0, None, False), "loss=model"),
        (Elementwise(nn.CrossEntropyLoss(reduction="none"), False), "loss=model"),
        (MeanSquaredError(), "loss=model"),
        (ModelLoss(False), "loss=cross_entropy"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "outputs", [torch.ones(2, 3), {"scores": torch.ones(2, 3)}, {"logits": None, "loss": None}]
)
def test_every_loss_names_the_one_that_would_do(loss: Loss, other: str, outputs: Any) -> None:
    batch = {"labels": torch.tensor([0, 1])}
    with pytest.raises(UserError) as caught:
        loss(Returns(outputs), batch, 2)
    assert other in caught.value.problems[0].right
