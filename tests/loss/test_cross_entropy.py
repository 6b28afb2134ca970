"""Cross-entropy as a sum over items, and their count."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from trainer_cli.config.errors import Misfit, UserError
from trainer_cli.loss import CrossEntropy, Loss
from trainer_cli.loss.base import IGNORED

CLASSES = 4


class Scores(nn.Module):
    """A linear layer in float64, over the last dimension."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, CLASSES).double()

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": self.linear(features)}


def rows(*shape: int, ignored: float = 0.3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, shape, generator=generator)
    labels[torch.rand(*shape, generator=generator) < ignored] = IGNORED
    return {"features": torch.randn(*shape, 3, generator=generator, dtype=torch.float64), "labels": labels}


def split(batch: dict[str, Tensor], cuts: list[int]) -> Iterator[dict[str, Tensor]]:
    size = batch["labels"].shape[0]
    edges = [0, *sorted(cuts), size]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            yield {name: tensor[begin:end] for name, tensor in batch.items()}


def mean_and_gradient(loss: Loss, parts: list[dict[str, Tensor]]) -> tuple[float, Tensor]:
    """As the loop computes them: sums divided once, by the count of all."""
    model = Scores()
    count = sum(loss.count(part) for part in parts)
    total = 0.0
    for part in parts:
        loss_sum, _ = loss(model, part, loss.count(part))
        (loss_sum / max(count, 1)).backward()
        total += float(loss_sum.detach())
    assert model.linear.weight.grad is not None
    return total / max(count, 1), model.linear.weight.grad


def make(label_smoothing: float = 0.0, class_weights: Any = None, shift_labels: bool = False) -> CrossEntropy:
    return CrossEntropy(label_smoothing, class_weights, shift_labels)


VARIANTS = {
    "plain": make(),
    "smoothed": make(label_smoothing=0.1),
    "weighted": make(class_weights=[1.0, 2.0, 0.5, 0.1]),
    "weighted by integers": make(class_weights=[1, 2, 3, 4]),
    "smoothed and weighted": make(label_smoothing=0.2, class_weights=[1.0, 2.0, 0.5, 0.1]),
}


@pytest.mark.parametrize("loss", VARIANTS.values(), ids=VARIANTS)
@given(cuts=st.lists(st.integers(0, 12), max_size=4), seed=st.integers(0, 5))
def test_any_split_of_a_batch_has_its_mean_and_gradient(
    loss: CrossEntropy, cuts: list[int], seed: int
) -> None:
    batch = rows(12, seed=seed)
    mean, gradient = mean_and_gradient(loss, [batch])
    of_parts, gradient_of_parts = mean_and_gradient(loss, list(split(batch, cuts)))
    assert of_parts == pytest.approx(mean, rel=1e-12)
    torch.testing.assert_close(gradient_of_parts, gradient, rtol=1e-12, atol=1e-14)


@given(cuts=st.lists(st.integers(0, 6), max_size=3), smoothing=st.sampled_from([0.0, 0.1]))
def test_any_split_of_shifted_sequences_has_their_mean(cuts: list[int], smoothing: float) -> None:
    loss = make(smoothing, shift_labels=True)
    batch = rows(6, 5)
    mean, gradient = mean_and_gradient(loss, [batch])
    of_parts, gradient_of_parts = mean_and_gradient(loss, list(split(batch, cuts)))
    assert of_parts == pytest.approx(mean, rel=1e-12)
    torch.testing.assert_close(gradient_of_parts, gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_mean_is_torchs_own(smoothing: float) -> None:
    batch = rows(20)
    logits = Scores()(batch["features"])["logits"].detach()
    expected = functional.cross_entropy(logits, batch["labels"], label_smoothing=smoothing)
    assert mean_and_gradient(make(smoothing), [batch])[0] == pytest.approx(float(expected), rel=1e-12)


def test_class_weights_multiply_the_losses_of_their_items() -> None:
    batch = rows(20, ignored=0.0)
    logits = Scores()(batch["features"])["logits"].detach()
    weights = torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64)
    items = functional.cross_entropy(logits, batch["labels"], reduction="none")
    expected = (items * weights[batch["labels"]]).sum() / 20
    mean, _ = mean_and_gradient(make(class_weights=weights.tolist()), [batch])
    assert mean == pytest.approx(float(expected), rel=1e-6)


def test_a_shifted_position_is_scored_against_the_next_label() -> None:
    batch = rows(3, 5)
    logits = Scores()(batch["features"])["logits"].detach()
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    loss = make(shift_labels=True)
    assert loss.count(batch) == int((batch["labels"][:, 1:] != IGNORED).sum())
    assert mean_and_gradient(loss, [batch])[0] == pytest.approx(float(expected), rel=1e-12)


def test_items_are_the_labels_that_are_not_ignored() -> None:
    assert make().count({"labels": torch.tensor([1, IGNORED, 0])}) == 2
    assert make().count({"labels": torch.tensor([[1, IGNORED], [IGNORED, IGNORED]])}) == 1
    assert make().count({"labels": torch.tensor([IGNORED])}) == 0


@pytest.mark.parametrize("loss", VARIANTS.values(), ids=VARIANTS)
def test_a_batch_of_ignored_labels_is_nothing(loss: CrossEntropy) -> None:
    mean, gradient = mean_and_gradient(loss, [rows(5, ignored=1.1)])
    assert mean == 0.0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_half_precision_is_summed_in_single() -> None:
    class Half(nn.Module):
        def forward(self, features: Tensor) -> dict[str, Tensor]:
            return {"logits": features.bfloat16()}

    batch = {"features": torch.zeros(1000, 2), "labels": torch.zeros(1000, dtype=torch.int64)}
    loss_sum, outputs = make()(Half(), batch, 1000)
    assert loss_sum.dtype == torch.float32
    assert float(loss_sum) == pytest.approx(1000 * 0.6931472, rel=1e-5)
    assert outputs["logits"].dtype == torch.bfloat16


KINDS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_classes_may_be_of_any_integer_type_or_a_column(dtype: torch.dtype, column: bool) -> None:
    batch = rows(9, ignored=0.0)
    batch["labels"] %= 2
    logits = Scores()(batch["features"])["logits"].detach()
    expected = functional.cross_entropy(logits, batch["labels"])
    labels = batch["labels"].to(dtype)
    cast = {**batch, "labels": labels[:, None] if column else labels}
    mean, _ = mean_and_gradient(make(), list(split(cast, [2, 5])))
    assert mean == pytest.approx(float(expected), rel=1e-12)
    scores, targets = make().scored({"logits": logits}, cast)
    assert torch.equal(scores, logits) and torch.equal(targets, batch["labels"])


def test_no_class_of_a_byte_is_taken_for_one_that_is_ignored() -> None:
    assert make().count({"labels": torch.tensor([156, 0], dtype=torch.uint8)}) == 2


@pytest.mark.parametrize("loss", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("tokens", [False, True])
def test_probabilities_of_classes_are_taken_as_such(loss: CrossEntropy, tokens: bool) -> None:
    batch = rows(6, 3, ignored=0.0) if tokens else rows(12, ignored=0.0)
    hard, hard_gradient = mean_and_gradient(loss, [batch])
    one_hot = {**batch, "labels": functional.one_hot(batch["labels"], CLASSES).float()}
    mean, gradient = mean_and_gradient(loss, list(split(one_hot, [1, 4])))
    assert mean == pytest.approx(hard, rel=1e-12)
    torch.testing.assert_close(gradient, hard_gradient, rtol=1e-12, atol=1e-14)
    logits = Scores()(batch["features"])["logits"].detach()
    assert torch.equal(loss.scored({"logits": logits}, one_hot)[1], batch["labels"])


def test_soft_labels_have_torchs_own_value() -> None:
    batch = rows(10, ignored=0.0)
    soft = torch.rand(10, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch["labels"] = soft / soft.sum(dim=1, keepdim=True)
    logits = Scores()(batch["features"])["logits"].detach()
    expected = -(batch["labels"] * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert mean_and_gradient(make(), list(split(batch, [3])))[0] == pytest.approx(float(expected), rel=1e-12)


def refusal(labels: Tensor, loss: CrossEntropy | None = None, classes: int = 2) -> UserError:
    loss = loss or make()
    batch = {"features": torch.zeros(len(labels), classes), "labels": labels}
    with pytest.raises(UserError) as caught:
        loss(lambda features: {"logits": features}, batch, loss.count(batch))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (
            torch.zeros(3),
            r"labels are float32 \(3,\), and CrossEntropy takes integers \(3,\) for logits \(3, 2\)",
        ),
        (torch.zeros(3, 4, dtype=torch.int64), r"labels are int64 \(3, 4\)"),
        (torch.eye(3), r"labels are float32 \(3, 3\)"),
        (torch.eye(2, dtype=torch.int64), r"labels are int64 \(2, 2\)"),
    ],
)
def test_labels_that_do_not_fit_the_logits_are_refused(labels: Tensor, what: str) -> None:
    assert re.search(what, refusal(labels).problems[0].what)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (torch.tensor([0, 1, 5]), "labels has 5, and the model gives 2 classes, 0 to 1"),
        (torch.tensor([0, -100, -1], dtype=torch.int32), "labels has -1"),
        (torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 1.0]]), r"labels has \[1.0, 1.0\], and probabilities"),
        (torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.5, -0.5]]), r"labels has \[1.5, -0.5\]"),
    ],
)
def test_a_value_that_is_no_class_is_named_with_its_row(labels: Tensor, what: str) -> None:
    error = refusal(labels)
    assert isinstance(error, Misfit) and error.row == 2
    assert re.search(what, error.problems[0].what)


def test_weights_are_as_many_as_classes_and_none_is_negative() -> None:
    error = refusal(torch.tensor([0, 1]), make(class_weights=[1.0, 2.0, 3.0]))
    assert error.problems[0].what == "loss.class_weights has 3 weights, and the model gives 2 classes"
    for weights in ([1.0, -2.0], [1.0, float("nan")]):
        with pytest.raises(UserError, match="a weight is 0 or more"):
            make(class_weights=weights)


def test_one_class_is_nothing_to_tell_apart() -> None:
    assert "always 0" in refusal(torch.tensor([0, 0]), classes=1).problems[0].what
