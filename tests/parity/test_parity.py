"""Where transformers.Trainer is right, trainer-cli is the same: rate, loss, gradient norm and weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from parity.sides import TASKS, Setting, assert_same, our_trace, their_trace

SETTINGS = {
    "plain": Setting(),
    "fused": Setting(fused=True),
    "other-betas-and-epsilon": Setting(betas=(0.8, 0.95), eps=1e-8),
    "clipped": Setting(max_grad_norm=0.05),
    "clipped-only-above-its-norms": Setting(max_grad_norm=100.0),
    "not-clipped": Setting(max_grad_norm=0.0),
    "weight-decay": Setting(weight_decay=0.3),
    "label-smoothing": Setting(label_smoothing=0.1),
    "warm-up-linear": Setting(warmup=10),
    "warm-up-cosine": Setting(schedule="cosine", warmup=10),
    "warm-up-of-a-share": Setting(schedule="cosine", warmup=0.13),
    "accumulation": Setting(batch=2, accumulation=4),
    "accumulation-with-label-smoothing": Setting(batch=2, accumulation=4, label_smoothing=0.1),
    "several-epochs": Setting(rows=80, epochs=5),
    "a-part-of-an-epoch": Setting(rows=150, epochs=2.6),
    "a-last-short-group": Setting(rows=37, epochs=10, batch=2, accumulation=4),
    "everything": Setting(
        rows=37,
        epochs=10,
        batch=2,
        accumulation=4,
        schedule="cosine",
        warmup=10,
        max_grad_norm=0.5,
        weight_decay=0.1,
        label_smoothing=0.1,
    ),
}
QUICK = ("plain", "everything")
"""The settings of the fast tests; all of them are a minute."""

# Between which all gradient norms lie, so that the setting is what its name says.
LIMITS = {"clipped": (0.05, math.inf), "clipped-only-above-its-norms": (0.0, 100.0)}


def reference(task: str, setting: Setting) -> Setting:
    """What their trainer must be told for the run to be right.

    The loss of BERT's head does not divide by the count that their trainer gives it, so that accumulation
    adds up means: the run to compare with takes the batch whole.
    """
    if task == "gpt2":
        return setting
    return replace(setting, batch=setting.batch * setting.accumulation, accumulation=1)


@pytest.mark.parametrize(
    ("double", "tolerance"),
    [
        pytest.param(True, 1e-9, id="float64"),
        # What rounding would hide shows in float64: this says that nothing else depends on the type.
        pytest.param(False, 1e-4, id="float32", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SETTINGS]
)
@pytest.mark.parametrize("task", TASKS)
def test_fifty_updates_are_the_same(
    tmp_path: Path, task: str, name: str, double: bool, tolerance: float
) -> None:
    setting = SETTINGS[name]
    right = their_trace(tmp_path / "theirs", TASKS[task], reference(task, setting), double)
    low, high = LIMITS.get(name, (0.0, math.inf))
    assert all(low < step.grad_norm < high for step in right.steps)
    assert_same(right, our_trace(tmp_path / "ours", TASKS[task], setting, double), tolerance)
