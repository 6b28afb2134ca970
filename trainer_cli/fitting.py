"""Whether a model takes the rows of its data: their tokens and their lengths."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from trainer_cli.config.errors import UserError
from trainer_cli.data.loader import KnowsLengths
from trainer_cli.data.randomness import undisturbed
from trainer_cli.data.reader import Reader
from trainer_cli.data.tokenized import TokenizedTexts
from trainer_cli.engine import Engine
from trainer_cli.model.kinds import base_model
from trainer_cli.model.tokens import embedded_tokens, made_for_length, position_limit, reads_one_end

log = logging.getLogger(__name__)


def check_fit(engine: Engine) -> None:
    """Whether the model has an embedding for every token and every position of the data."""
    base = base_model(engine.module)
    known = embedded_tokens(base)
    if known is not None and len(engine.tokenizer) > known:
        raise UserError(
            f"the tokenizer has {len(engine.tokenizer)} tokens, the model embeds {known}",
            right="data.tokenizer must be the one that the model was made for",
        )
    for name, dataset in splits_of(engine):
        if isinstance(dataset, TokenizedTexts):
            check_tokens(base, name, dataset, known)
        if isinstance(dataset, KnowsLengths) and len(dataset.lengths):
            check_lengths(engine, base, name, dataset)


def splits_of(engine: Engine) -> Iterator[tuple[str, Any]]:
    """Every dataset that the run reads, with what it is called."""
    yield "the training data", engine.train_loader.dataset
    for name, loader in engine.eval_loaders.items():
        yield f"the evaluation data {name}".rstrip(), loader.dataset
    if engine.predict_loader is not None:
        yield "the data to predict", engine.predict_loader.dataset


def check_tokens(base: Any, name: str, texts: TokenizedTexts, known: int | None) -> None:
    """Whether the model knows all ids of the texts, and finds the one end of each where it looks for that."""
    ids = texts.columns["input_ids"]
    if known is not None and len(ids) and (largest := int(ids.max())) >= known:
        raise UserError(
            f"{name} has the token {largest}, the model embeds {known}",
            right="data.tokenizer must be the one that the model was made for",
        )
    end = reads_one_end(base)
    if end is None:
        return
    before = functional.pad((ids == end).cumsum(0), (1, 0))
    ends = before[torch.tensor(texts.offsets)].diff()
    if (ends != 1).any():
        row = int((ends != 1).nonzero()[0])
        raise UserError(
            f"row {row} (from 0) of {name} has {int(ends[row])} tokens that end a text, and"
            f" {type(base).__name__} reads its class off the one that each text has",
            right="the model's own tokenizer, which ends every text, and texts that do not spell that token;"
            " or a model with an encoder alone",
        )


def check_lengths(engine: Engine, base: Any, name: str, dataset: KnowsLengths) -> None:
    """Whether the model takes the longest row: as its table of positions says, else by trying."""
    longest, limit, made_for = max(dataset.lengths), position_limit(base), made_for_length(base)
    if limit is not None and longest > limit:
        raise UserError(
            f"the longest row of {name} has {longest} tokens, the model has {limit} positions",
            right=f"data.max_length={limit}",
        )
    if limit is not None or made_for is None or longest <= made_for:
        return
    try:
        try_row(engine, dataset, dataset.lengths.index(longest))
    except (IndexError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the longest row of {name} has {longest} tokens, and {type(base).__name__}, made for {made_for},"
            f" does not take it: {str(error).splitlines()[0]}",
            right=f"data.max_length={made_for}",
        ) from error
    count = sum(length > made_for for length in dataset.lengths)
    log.warning(
        "%s has %d rows of more than %d tokens, the length that %s was made for: it takes them, and may score"
        " them worse; data.max_length=%d cuts them",
        name,
        count,
        made_for,
        type(base).__name__,
        made_for,
    )


@torch.no_grad()
def try_row(engine: Engine, dataset: Any, index: int) -> None:
    """Run the model on one row as evaluation would, and wait for it; raises what the model raises."""
    collate = engine.train_loader.collate
    batch = Reader(dataset, collate, engine.train_loader.seed, epoch=0)[[index]]
    module, was_training = engine.module, engine.module.training
    inputs = {name: value for name, value in engine.place(batch).items() if name != "labels"}
    module.eval()
    try:
        with undisturbed(), engine.autocast():
            module.forward(**inputs)["logits"].sum().item()
    finally:
        module.train(was_training)
