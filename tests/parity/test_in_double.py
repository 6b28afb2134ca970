"""What stands in for their losses in float64 is theirs, as far as fp32 can tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity.models import IGNORED, causal_loss
from parity.sides import DoubleSmoother
from torch import Tensor
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.trainer_pt_utils import LabelSmoother

CLASSES = 20


def scored(*shape: int) -> tuple[Tensor, Tensor]:
    """Logits in double and labels, a third of them ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(*shape, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, shape, generator=generator)
    return logits, labels.masked_fill(torch.rand(shape, generator=generator) < 0.3, IGNORED)


def assert_rounded(double: Tensor, single: Tensor) -> None:
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single, double.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", [None, torch.tensor(50.0)])
def test_the_loss_of_a_causal_language_model(count: Any) -> None:
    logits, labels = scored(4, 9)
    original = ForCausalLMLoss(logits, labels, CLASSES, count)
    assert_rounded(causal_loss(logits, labels, CLASSES, count), original)


@pytest.mark.parametrize("shape", [(6,), (4, 9)], ids=["classes", "words"])
@pytest.mark.parametrize("count", [None, torch.tensor(50.0)])
def test_label_smoothing(shape: tuple[int, ...], count: Any) -> None:
    logits, labels = scored(*shape)
    shift = len(shape) == 2
    original = LabelSmoother(0.2)({"logits": logits.float()}, labels, shift, count)
    assert_rounded(DoubleSmoother(0.2)({"logits": logits}, labels, shift, count), original)
