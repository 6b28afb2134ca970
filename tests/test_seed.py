"""Generators, and kernels that give the same bits each time."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from trainer_cli.seed import seed_everything


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_decides_every_generator() -> None:
    seed_everything(5)
    first = draws()
    seed_everything(6)
    assert draws() != first
    seed_everything(5)
    assert draws() == first


def test_a_seed_may_be_larger_than_numpy_takes() -> None:
    seed_everything(2**40)


PROGRAM = """
import torch
from trainer_cli.seed import demand_determinism
demand_determinism()
assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
import os
print(os.environ["CUBLAS_WORKSPACE_CONFIG"])
torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
"""


@pytest.mark.slow
def test_determinism_is_demanded_of_every_kernel() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert ended.stdout == ":4096:8\n"
    assert "does not have a deterministic implementation" in ended.stderr
