"""Losses made of any function of logits and labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from small_run import built, run
from torch import Tensor, nn

from trainer_cli.config.errors import Misfit, UserError
from trainer_cli.loss import CrossEntropy, Elementwise
from trainer_cli.tracker.jsonl import FILE, read


class Scores(nn.Module):
    """Returns what it is given as logits."""

    def forward(self, scores: Tensor) -> dict[str, Tensor]:
        return {"logits": scores}


def test_it_is_the_sum_over_the_labels() -> None:
    batch = {"scores": torch.randn(6, 1), "labels": torch.randn(6)}
    loss = Elementwise(nn.HuberLoss(reduction="none"), shift_labels=False)
    assert loss.count(batch) == 6
    total, _ = loss(Scores(), batch, 6)
    expected = nn.functional.huber_loss(batch["scores"][:, 0], batch["labels"], reduction="sum")
    torch.testing.assert_close(total, expected)


def test_several_values_of_an_item_are_averaged() -> None:
    batch = {"scores": torch.randn(6, 3), "labels": torch.randn(6, 3)}
    total, _ = Elementwise(nn.L1Loss(reduction="none"), shift_labels=False)(Scores(), batch, 6)
    torch.testing.assert_close(total, (batch["scores"] - batch["labels"]).abs().mean(dim=1).sum())


@pytest.mark.parametrize("shift", [False, True])
def test_ignored_labels_are_left_out_and_a_causal_model_is_shifted(shift: bool) -> None:
    labels = torch.tensor([[-100, 1, 2, 0], [1, -100, 0, -100]])
    batch = {"scores": torch.randn(2, 4, 3), "labels": labels}
    loss = Elementwise(nn.CrossEntropyLoss(reduction="none"), shift_labels=shift)
    same = CrossEntropy(label_smoothing=0.0, class_weights=None, shift_labels=shift)
    assert loss.count(batch) == same.count(batch) == (4 if shift else 5)
    torch.testing.assert_close(loss(Scores(), batch, 0)[0], same(Scores(), batch, 0)[0])


def test_a_function_that_reduces_is_refused() -> None:
    batch = {"scores": torch.randn(6), "labels": torch.randn(6)}
    with pytest.raises(UserError, match=r"gives a loss of shape \(\) for 6 labels"):
        Elementwise(nn.HuberLoss(), shift_labels=False)(Scores(), batch, 6)


def test_a_run_with_torchs_cross_entropy_is_the_run_with_ours(tmp_path: Path) -> None:
    run(tmp_path / "ours")
    given = ("loss=elementwise", "loss.function._target_=torch.nn.CrossEntropyLoss")
    run(tmp_path / "theirs", *given)
    for row, other in zip(read(tmp_path / "ours" / FILE), read(tmp_path / "theirs" / FILE), strict=True):
        assert row == pytest.approx(other, rel=1e-5)


def test_a_bare_torch_loss_is_told_where_it_goes(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error, built(tmp_path, "loss=mse", "loss._target_=torch.nn.HuberLoss"):
        pass
    block = error.value.block()
    assert "loss._target_ may not name torch.nn.HuberLoss" in block and "loss=elementwise" in block


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
def test_integers_are_classes_or_numbers_by_the_shape_of_the_logits(dtype: torch.dtype) -> None:
    labels = torch.tensor([1, 0, 1])
    for scores, function, targets in (
        (torch.randn(3, 2), nn.CrossEntropyLoss, labels),
        (torch.randn(3, 1), nn.BCEWithLogitsLoss, labels[:, None].float()),
        (torch.randn(3), nn.HuberLoss, labels.float()),
    ):
        batch = {"scores": scores, "labels": labels.to(dtype)}
        total, _ = Elementwise(function(reduction="none"), shift_labels=False)(Scores(), batch, 3)
        torch.testing.assert_close(total, function(reduction="sum")(scores, targets))


def test_several_integers_a_row_are_numbers_and_items() -> None:
    labels = torch.tensor([[1, 0], [1, -100]])
    batch = {"scores": torch.randn(2, 2), "labels": labels}
    loss = Elementwise(nn.BCEWithLogitsLoss(reduction="none"), shift_labels=False)
    kept = labels != -100
    expected = nn.functional.binary_cross_entropy_with_logits(batch["scores"][kept], labels[kept].float())
    assert float(loss(Scores(), batch, 3)[0]) / loss.count(batch) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (torch.tensor([0, 1]), r"gives a loss of shape \(2, 2\) for 2 labels"),  # spread over both, unseen
        (torch.tensor([0.5, 1.0]), r"float32 \(2,\).*logits \(2, 2\)"),
        (torch.eye(2)[:, :1].repeat(1, 3), r"float32 \(2, 3\)"),
    ],
)
def test_numbers_are_not_spread_over_classes(labels: Tensor, what: str) -> None:
    batch = {"scores": torch.randn(2, 2), "labels": labels}
    with pytest.raises(UserError, match=what), warnings.catch_warnings(action="ignore"):
        Elementwise(nn.HuberLoss(reduction="none"), shift_labels=False)(Scores(), batch, 2)


def test_a_label_that_is_no_class_is_named_with_its_row() -> None:
    batch = {"scores": torch.randn(3, 2), "labels": torch.tensor([0, -100, 5])}
    with pytest.raises(Misfit, match="labels has 5, and the model gives 2 classes") as caught:
        Elementwise(nn.CrossEntropyLoss(reduction="none"), shift_labels=False)(Scores(), batch, 2)
    assert caught.value.row == 2
