"""Text models of the transformers library, pretrained or fresh from a config."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from trainer_cli.config.errors import UserError, missing_extra
from trainer_cli.data.source import Labels
from trainer_cli.hub.pretrained import pickled, resolve, unreachable
from trainer_cli.imports import trim_transformers
from trainer_cli.model.head import is_classifier

log = logging.getLogger(__name__)

TRAIN = "model.pretrained=RUN/model of a run that has trained it, or train it now: args.stages=[train,eval]"


def sequence_classification(
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    labels: Labels | None,
    tokenizer: Any,
    complete: bool = False,
) -> nn.Module:
    """An encoder with a head that scores a whole text (transformers' AutoModelForSequenceClassification).

    Args:
        pretrained: A directory, a hub id, pkg://package/path, or null: fresh from `config`.
        config: Fields of the model's config: all of a fresh model (with model_type), or changes to a
            pretrained one's.
        trust_remote_code: Whether code that comes with the weights may run.
    """
    if labels is None:
        other = f"and {pretrained} has no classes of its own" if pretrained else "or a pretrained classifier"
        raise UserError(
            f"model=sequence_classification needs data with labels, {other}",
            right="model.pretrained=RUN/model of a trained classifier, or data.train_file=FILE, or data=glue;"
            " model=causal_lm needs none",
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
    check_head(config or {}, head["problem_type"], labels)
    model: Any = build(
        "AutoModelForSequenceClassification",
        pretrained,
        config,
        trust_remote_code,
        head,
        tokenizer,
        complete,
    )
    made_for = model.config.architectures or []
    if complete and made_for and not is_classifier(made_for):
        raise UserError(
            f"{pretrained} is a {', '.join(made_for)}: its head classifies something else than whole texts",
            right=TRAIN,
        )
    return cast("nn.Module", model)


def causal_lm(
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    tokenizer: Any,
    complete: bool = False,
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
        "AutoModelForCausalLM",
        pretrained,
        config,
        trust_remote_code,
        {"use_cache": False},
        tokenizer,
        complete,
    )


def check_head(config: Mapping[str, Any], problem_type: str, labels: Labels) -> None:
    """Raise UserError where the config's own fields ask for another head than the labels do."""
    names = labels.names or ("LABEL_0",)
    given = {str(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    if config.get("num_labels", len(names)) != len(names):
        what = f"model.config.num_labels is {config['num_labels']}"
    elif config.get("problem_type", problem_type) != problem_type:
        what = f"model.config.problem_type is {config['problem_type']}"
    elif given and given != {str(index): name for index, name in enumerate(names)}:
        what = f"model.config.id2label names {', '.join(given.values())}"
    else:
        return
    has = "numbers" if labels.regression else f"{len(names)} classes: {', '.join(names)}"
    raise UserError(
        f"{what}, and the data has {has}", right="leave it out, or data.label_names=[...] lists the classes"
    )


def build(
    auto_class: str,
    pretrained: str | None,
    config: Mapping[str, Any] | None,
    trust_remote_code: bool,
    head: Mapping[str, Any],
    tokenizer: Any,
    complete: bool,
) -> nn.Module:
    """The model in fp32, whatever type its weights are stored in: the optimizer needs the precision.

    Where it has to be `complete`, raises UserError for weights that would be drawn at random.
    """
    if pretrained is None:
        if complete:
            raise UserError(
                "model.pretrained is null: the model's weights are random, and nothing trains them",
                right=TRAIN,
            )
        return build_fresh(auto_class, config, head, tokenizer)
    transformers = quiet_transformers()
    path = resolve(pretrained)
    try:
        model, loaded = getattr(transformers, auto_class).from_pretrained(
            path,
            trust_remote_code=trust_remote_code,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **{**head, **(config or {})},
        )
    except OSError as error:
        raise (pickled(pretrained, path, error) or unreachable(pretrained, error)) from error
    check_weights(pretrained, loaded["missing_keys"], loaded["mismatched_keys"], complete)
    built: nn.Module = model
    return built


def check_weights(
    pretrained: str,
    missing: Collection[str],
    mismatched: Collection[tuple[str, Sequence[int], Sequence[int]]],
    complete: bool,
) -> None:
    """Say which weights begin untrained, and why; raises UserError where they have to be complete."""
    lines = []
    if missing:
        lines.append(f"not in {pretrained}: {', '.join(sorted(missing))}")
    if mismatched:
        shapes = (
            f"{name} ({times(there)} there, {times(here)} here)" for name, there, here in sorted(mismatched)
        )
        lines.append(f"in {pretrained} with another shape: {', '.join(shapes)}")
    if lines and complete:
        raise UserError("weights that nothing trains would be random:\n  " + "\n  ".join(lines), right=TRAIN)
    for line in lines:
        log.log(
            logging.WARNING if line.startswith("in ") else logging.INFO, "freshly initialised, as %s", line
        )


def times(shape: Sequence[int]) -> str:
    """A shape, as people write it."""
    return " × ".join(map(str, shape))


def quiet_transformers() -> Any:
    """The library, less the bars and reports that say in twenty lines what the log says in one."""
    try:
        trim_transformers()
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "text") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # Of a repository without safetensors it would ask a service to make some, and take what that offers.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
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
