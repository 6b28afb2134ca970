"""What every metric must hold to."""

from __future__ import annotations

import pytest
import torch

from trainer_cli.metrics import BY_NAME


@pytest.mark.parametrize("name", BY_NAME)
def test_states_can_be_gathered_from_processes_that_saw_nothing(name: str) -> None:
    metric = BY_NAME[name]()
    empty = metric.state()
    for _ in range(2):
        if name in ("pearson", "spearman"):
            metric.update(torch.rand(4, 1), torch.rand(4), torch.tensor(1.0), 4)
        else:
            metric.update(torch.rand(4, 3), torch.tensor([0, 1, 2, 1]), torch.tensor(1.0), 4)
    full = metric.state()
    # Strategies gather tensors that differ in their first dimension alone.
    assert empty.shape[1:] == full.shape[1:]
    assert empty.dtype == full.dtype == torch.float64
    assert metric.compute([empty, full, empty]) == metric.compute([full])
