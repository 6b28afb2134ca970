"""Squared error as a sum over rows, and their count."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from trainer_cli.config.errors import UserError
from trainer_cli.loss import MeanSquaredError


class Identity(nn.Module):
    """Gives back what it is given."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": features}


def batch(*shape: int, labels: tuple[int, ...] | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(*shape, generator=generator, dtype=torch.float64),
        "labels": torch.randn(*(labels or shape), generator=generator, dtype=torch.float64),
    }


@given(cut=st.integers(1, 9), outputs=st.integers(1, 3))
def test_any_split_of_a_batch_has_its_mean(cut: int, outputs: int) -> None:
    loss, whole = MeanSquaredError(), batch(10, outputs)
    parts = [
        {name: tensor[part] for name, tensor in whole.items()} for part in (slice(cut), slice(cut, None))
    ]
    total = sum(float(loss(Identity(), part, loss.count(part))[0]) for part in parts)
    count = sum(loss.count(part) for part in parts)
    expected = nn.functional.mse_loss(whole["features"], whole["labels"])
    assert count == 10
    assert total / count == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("shapes", [((8, 1), (8,)), ((8,), (8, 1)), ((8,), (8,)), ((8, 1), (8, 1))])
def test_a_last_dimension_of_one_may_lack(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    given_batch = batch(*shapes[0], labels=shapes[1])
    loss_sum, _ = MeanSquaredError()(Identity(), given_batch, 8)
    expected = (given_batch["features"].flatten() - given_batch["labels"].flatten()).square().sum()
    assert float(loss_sum) == pytest.approx(float(expected), rel=1e-12)


def test_half_precision_is_summed_in_single() -> None:
    rows = {"features": torch.ones(1000, 1, dtype=torch.bfloat16), "labels": torch.zeros(1000)}
    loss_sum, _ = MeanSquaredError()(Identity(), rows, 1000)
    assert loss_sum.dtype == torch.float32
    assert float(loss_sum) == 1000.0


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
def test_integer_labels_are_numbers(dtype: torch.dtype) -> None:
    given_batch = batch(5, 1)
    given_batch["labels"] = torch.tensor([0, 1, 1, 0, 1]).to(dtype)
    loss_sum, _ = MeanSquaredError()(Identity(), given_batch, 5)
    expected = (given_batch["features"][:, 0] - given_batch["labels"].double()).square().sum()
    assert float(loss_sum) == pytest.approx(float(expected), rel=1e-12)
    assert MeanSquaredError().count(given_batch) == 5


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_item_is_a_row_and_an_integer_of_minus_100_is_left_out(cut: int) -> None:
    features = batch(4, 3)["features"]
    labels = torch.tensor([[1, 0, 2], [1, -100, 0], [-100, -100, -100], [3, 1, 1]])
    loss, total, count = MeanSquaredError(), 0.0, 0
    for part in (slice(cut), slice(cut, None)):
        rows = {"features": features[part], "labels": labels[part]}
        count += loss.count(rows)
        total += float(loss(Identity(), rows, loss.count(rows))[0])
    squares = (features - labels).square()
    expected = (squares[0].mean() + squares[1, [0, 2]].mean() + squares[3].mean()) / 3
    assert count == 3 and total / count == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    "shapes", [((8, 2), (8,)), ((8, 2), (8, 1)), ((8, 2), (8, 3)), ((8, 2, 3), (8, 3, 2))]
)
def test_shapes_that_do_not_fit_are_not_spread(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    given_batch = batch(*shapes[0], labels=shapes[1])
    with pytest.raises(UserError) as caught:
        MeanSquaredError()(Identity(), given_batch, 8)
    problem = caught.value.problems[0].what
    assert f"float64 {shapes[1]}" in problem and f"logits {shapes[0]}" in problem
