"""Which library a module is of, told without importing any."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn


def is_transformers_model(module: nn.Module) -> bool:
    """Whether the module is transformers' own."""
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


def is_peft_model(module: nn.Module) -> bool:
    """Whether the module is a model that PEFT wraps, whose adapter alone is trained and kept."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(module, peft.PeftModel)


def base_model(module: Any) -> Any:
    """The model that PEFT wraps, or the module itself: what says what is taken, and how it is scored."""
    return module.get_base_model() if is_peft_model(module) else module
