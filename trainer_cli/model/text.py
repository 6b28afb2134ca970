"""Text models of the transformers library, pretrained or fresh from a config."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainer_cli.config.errors import UserError, missing_extra
from trainer_cli.data.source import Labels
from trainer_cli.hub.pretrained import resolve, unreachable
from trainer_cli.imports import trim_transformers

log = logging.getLogger(__name__)


def sequence_classification(
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    labels: Labels | None,
    tokenizer: Any,
) -> nn.Module:
    """An encoder with a head that scores a whole text (transformers' AutoModelForSequenceClassification).

    Args:
        pretrained: A directory, a hub id, pkg://package/path, or null: fresh from `config`.
        config: Fields of the model's config: all of a fresh model (with model_type), or changes to a
            pretrained one's.
        trust_remote_code: Whether code that comes with the weights may run.
    """
    if labels is None:
        raise UserError(
            "model=sequence_classification needs data with labels",
            right="data=text_classification data.train_file=FILE, or data=glue; model=causal_lm needs none",
        )
    if labels.regression:
        head: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"}
    else:
        names = dict(enumerate(labels.names))
        head = {
            "problem_type": "single_label_classification",
            "id2label": names,
            "label2id": {name: index for index, name in names.items()},
        }
    return build("AutoModelForSequenceClassification", pretrained, config, trust_remote_code, head, tokenizer)


def causal_lm(
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    tokenizer: Any,
) -> nn.Module:
    """A model that predicts the next token (transformers' AutoModelForCausalLM).

    Args:
        pretrained: A directory, a hub id, pkg://package/path, or null: fresh from `config`.
        config: Fields of the model's config: all of a fresh model (with model_type), or changes to a
            pretrained one's.
        trust_remote_code: Whether code that comes with the weights may run.
    """
    # A training step never reads the cache of keys and values that generation keeps.
    return build(
        "AutoModelForCausalLM", pretrained, config, trust_remote_code, {"use_cache": False}, tokenizer
    )


def build(
    auto_class: str,
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    head: Mapping[str, Any],
    tokenizer: Any,
) -> nn.Module:
    """The model in fp32, whatever type its weights are stored in: the optimizer needs the precision."""
    if pretrained is None:
        return build_fresh(auto_class, config, head, tokenizer)
    transformers = quiet_transformers()
    path = resolve(pretrained)
    try:
        model, loaded = getattr(transformers, auto_class).from_pretrained(
            path,
            trust_remote_code=trust_remote_code,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **{**head, **(config or {})},
        )
    except OSError as error:
        raise unreachable(pretrained, error) from error
    fresh = sorted(loaded["missing_keys"]) + sorted(name for name, *_ in loaded["mismatched_keys"])
    if fresh:
        log.info("not in %s, so freshly initialised: %s", pretrained, ", ".join(fresh))
    built: nn.Module = model
    return built


def quiet_transformers() -> Any:
    """The library, less the bars and reports that say in twenty lines what the log says in one."""
    try:
        trim_transformers()
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "text") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def build_fresh(
    auto_class: str, config: Mapping[str, Any] | None, head: Mapping[str, Any], tokenizer: Any
) -> nn.Module:
    """A model with random weights, of the config's fields and the tokenizer's vocabulary."""
    transformers = quiet_transformers()
    if config is None or "model_type" not in config:
        raise UserError(
            "model.pretrained and model.config are both empty",
            right="model.pretrained=DIRECTORY_OR_HUB_ID, or model.config.model_type=bert for a fresh model",
        )
    fields = dict(config)
    model_type = fields.pop("model_type")
    known_types = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if model_type not in known_types:
        raise UserError(
            f"model.config.model_type={model_type} is unknown to transformers {transformers.__version__}",
            right=nearest(model_type, list(known_types)),
        )
    known = transformers.AutoConfig.for_model(model_type).to_dict()
    for name in fields:
        if name not in known:
            raise UserError(
                f"model.config.{name} is no field of a {model_type} config", right=nearest(name, list(known))
            )
    if tokenizer is not None:
        special = {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        fields = {**special, **fields}
    built = transformers.AutoConfig.for_model(model_type, **{**fields, **head})
    model: nn.Module = getattr(transformers, auto_class).from_config(built, dtype=torch.float32)
    return model


def nearest(name: str, known: list[str]) -> str:
    """A "did you mean" line, empty when nothing is near."""
    matches = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {matches[0]}?" if matches else ""
