"""What all tests share: one thread, no clock in hypothesis, this folder's parts, and a clean sys.modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
settings.register_profile("trainer-cli", deadline=None, max_examples=25)
settings.load_profile("trainer-cli")


@pytest.fixture(autouse=True)
def forget_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A module that a test has written is not what the next one finds under that name."""
    importlib.invalidate_caches()  # a folder that was written within the same instant
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
