"""What all tests share: one thread, no clock in hypothesis, and the parts in this folder by name."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
settings.register_profile("trainer-cli", deadline=None, max_examples=25)
settings.load_profile("trainer-cli")
