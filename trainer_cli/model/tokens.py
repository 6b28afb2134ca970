"""What a model demands of its tokens: how many a row may have, which there are, how rows are padded."""

from __future__ import annotations

import logging
import re
from typing import Any

from torch import Tensor

from trainer_cli.model.kinds import base_model, is_transformers_model

log = logging.getLogger(__name__)

LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
)
"""Where the configs of transformers' models have the length that they were made for."""

TABLE = re.compile(r"(char_)?position_embeddings|embed_positions|positions_embed|wpe")
"""What transformers' models call a table that has a row for each position."""

PADS_LEFT = {"xlnet"}
"""Classifiers that read the last position of all, be it padding; any other one reads the last token."""

FEELS_PADDING = {"convbert", "fnet", "nystromformer", "yoso"}
"""Models that mix padding into a text whatever the mask says: so they are made."""


def fit(module: Any, tokenizer: Any) -> None:
    """Have the tokenizer cut and pad as the model can read it, and the model know what padding is.

    Both are saved so. Does nothing for a model that is not transformers'.
    """
    base = base_model(module)
    if tokenizer is None or not is_transformers_model(base):
        return
    limit = position_limit(base)
    if limit is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    if not classifies_texts(base):
        return
    # Where it has no id for padding, or another one, a decoder reads a text's class off its padding.
    for config in {id(config): config for config in (base.config, base.config.get_text_config())}.values():
        config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = "left" if base.config.model_type in PADS_LEFT else "right"
    if base.config.model_type in FEELS_PADDING:
        log.warning(
            "%s lets padding into its texts: scores depend a little on which texts share a batch",
            type(base).__name__,
        )


def classifies_texts(base: Any) -> bool:
    """Whether the model is one of transformers that give a class to a whole text."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as NAMES,
    )

    return bool({parent.__name__ for parent in type(base).__mro__} & set(NAMES.values()))


def position_limit(base: Any) -> int | None:
    """The most tokens that a row may have, as the model's tables of positions are; None without a table.

    RoBERTa and its like leave the rows up to the padding's id unused, BART and OPT two rows.
    """
    rooms = []
    for name, part in base.named_modules():
        weight = getattr(part, "weight", None)
        if TABLE.fullmatch(name.rpartition(".")[2]) and isinstance(weight, Tensor) and weight.ndim == 2:
            padding = getattr(part, "padding_idx", None)
            rooms.append(len(weight) - (0 if padding is None else padding + 1))
    if not rooms:
        return None
    return min(rooms) if (made_for := made_for_length(base)) is None else min(*rooms, made_for)


def made_for_length(base: Any) -> int | None:
    """The tokens of a row that the model was made for; one without a table of positions may take more."""
    fields = base.config.to_dict()
    return next((fields[name] for name in LENGTHS if isinstance(fields.get(name), int)), None)


def embedded_tokens(base: Any) -> int | None:
    """How many token ids the model knows; None for one that embeds no such ids."""
    try:
        weight = getattr(base.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        return None
    return len(weight) if isinstance(weight, Tensor) else None


def reads_one_end(base: Any) -> int | None:
    """The id of the token that every text must have as often as any other, where the model is of that kind.

    The classifiers of encoders with decoders, such as BART's, read a text's class off its last end.
    """
    if classifies_texts(base) and base.config.is_encoder_decoder:
        end: int | None = base.config.eos_token_id
        return end
    return None
