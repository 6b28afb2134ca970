"""The random generators that everything draws from, and kernels that give the same bits each time."""

import os
import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def demand_determinism() -> None:
    """From here on torch takes only deterministic kernels, and raises RuntimeError where there is none."""
    # Read by cuBLAS when it starts, that is with the first product on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
