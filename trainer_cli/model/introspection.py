"""What a model takes and how it scores, read off the model."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from trainer_cli.model.kinds import base_model, is_transformers_model


def forward_names(module: nn.Module) -> frozenset[str] | None:
    """Names that the model's forward takes, and `labels` for the loss; None if it takes any name."""
    kinds = inspect.Parameter
    named = [
        name
        for name, parameter in inspect.signature(base_model(module).forward).parameters.items()
        if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    ]
    return frozenset([*named, "labels"]) if named else None


def needed_names(module: nn.Module) -> list[str]:
    """Names that the model's forward cannot be called without, in its order."""
    kinds = inspect.Parameter
    return [
        name
        for name, parameter in inspect.signature(base_model(module).forward).parameters.items()
        if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
        and parameter.default is kinds.empty
    ]


def takes_labels(module: nn.Module) -> bool:
    """Whether the model's forward can be given labels, as one that computes its own loss is."""
    parameters = inspect.signature(base_model(module).forward).parameters
    return "labels" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def predicts_next_token(module: Any) -> bool:
    """Whether the model scores position t against label t+1."""
    module = base_model(module)
    if not is_transformers_model(module):
        return False
    from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if module.loss_type is not None:
        return LOSS_MAPPING[module.loss_type] is ForCausalLMLoss and not module.config.is_encoder_decoder
    # A class whose name tells transformers no loss, such as GPT2LMHeadModel, gets the causal one.
    names = {base.__name__ for base in type(module).__mro__}
    return bool(names & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())) and not names & UNSHIFTED


UNSHIFTED = {"XLMWithLMHeadModel", "XLNetLMHeadModel"}
"""Causal models with a loss of their own, against the label of the same position."""
