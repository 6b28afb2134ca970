"""Evaluation and prediction tried on their first rows, before the first step, without leaving a trace."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from trainer_cli.checkpoint.contents import generator_state, restore_generators
from trainer_cli.config.errors import UserError
from trainer_cli.config.own_code import headline, raised_in
from trainer_cli.culprits import tell_rows
from trainer_cli.data.loader import EvalLoader
from trainer_cli.data.reader import Batch, Reader, rows_alone
from trainer_cli.data.streams import Pass
from trainer_cli.engine import Engine
from trainer_cli.metrics import Metric
from trainer_cli.predict import rows_of
from trainer_cli.strategy.device import ran_out_of_memory

log = logging.getLogger(__name__)

ROWS = 2
"""Rows that are tried: with one alone, a shape that lacks its first dimension goes unseen."""

SMALL = 1 << 20
"""Elements up to which a buffer is kept to be put back."""

OF_THE_ROWS = (ValueError, ArithmeticError)
"""What a score may raise because so few rows have none, as two rows of one class have no ROC curve."""


def rehearse(engine: Engine) -> None:
    """Raise UserError for what evaluation or prediction would raise later; all processes do the same.

    Training has no part in it: its first batch is its trial. A stream is read from a copy, or not at all.
    """
    for name, loader in engine.eval_loaders.items():
        rehearse_split(engine, f"evaluation of {name}" if name else "evaluation", loader)
    if engine.predict_loader is not None:
        rehearse_split(engine, "prediction", engine.predict_loader)


def rehearse_split(engine: Engine, doing: str, loader: EvalLoader) -> None:
    """Read the first rows of a split, and do with them what its loop does with a batch."""
    device = engine.strategy.device
    generators = generator_state(device)
    batch: Batch = {}
    rows = list(range(ROWS))
    try:
        items = first_rows(loader)
        if items is None:
            log.info("the data of the %s is a stream that cannot be copied: nothing of it is tried", doing)
            return
        if not items:
            return
        rows = rows[: len(items)]
        batch = loader.collate(items)
        with as_it_was(engine.module, engine.args.torch_compile), torch.no_grad():
            engine.module.eval()
            if loader is engine.predict_loader:
                json.dumps(list(rows_of(engine, batch)))
            else:
                score(engine, batch)
    except Exception as error:
        if not ran_out_of_memory(error):  # the run may do with less, and says it where it cannot
            tell_rows(error, doing, rows, batch)
    finally:
        restore_generators(generators, device)


def first_rows(loader: EvalLoader) -> list[Any] | None:
    """The first rows of the data as they are; None of a stream that cannot be copied."""
    dataset = loader.dataset
    if not isinstance(dataset, IterableDataset):
        count = min(ROWS, len(dataset))  # type: ignore[arg-type]
        return Reader(dataset, rows_alone, loader.seed, epoch=0)[list(range(count))]  # type: ignore[return-value]
    try:
        # What it keeps is shared, where that is its values or files: only its position has to be its own.
        kept = [value for value in vars(dataset).values() if isinstance(value, Tensor)]
        stream = copy.deepcopy(dataset, {id(value): value for value in kept})
    except Exception as error:
        log.debug("no copy of the stream: %s", headline(error))
        return None
    return Pass(stream).take(ROWS, 0, loader.seed, 0, "group")


def score(engine: Engine, batch: Batch) -> None:
    """A batch's loss, and each metric's score of it."""
    count = engine.loss.count(batch)
    placed = engine.place(batch)
    with engine.autocast():
        loss_sum, outputs = engine.loss(engine.module, placed, count)
    check_loss(loss_sum)
    for name, metric in engine.metrics.items():
        metric.reset()
        metric.update(*engine.loss.scored(outputs, placed), loss_sum, count)
        try:
            check_score(f"metrics.{name}", metric, engine.strategy.world_size)
        finally:
            metric.reset()


def check_loss(loss_sum: Any) -> None:
    """Whether a loss gave what a loss gives."""
    if not isinstance(loss_sum, Tensor) or loss_sum.ndim:
        found = f"shape {tuple(loss_sum.shape)}" if isinstance(loss_sum, Tensor) else type(loss_sum).__name__
        raise UserError(f"the loss is of {found}, and the sum over the items is one number, a tensor")


def check_score(where: str, metric: Metric, processes: int) -> None:
    """Whether the state and the score of a metric are what can be gathered and logged."""
    state = metric.state()
    if not isinstance(state, Tensor) or (processes > 1 and not state.ndim):
        found = "one without dimensions" if isinstance(state, Tensor) else f"a {type(state).__name__}"
        raise UserError(f"{where}: the state is a tensor with one dimension or more, and here {found}")
    try:
        value = metric.compute([state])
    except OF_THE_ROWS as error:
        log.warning("%s has no score of two rows: %s", where, headline(error))
        log.debug("%s", raised_in(error))
        return
    if not isinstance(value, float | int):
        raise UserError(f"{where}: the score is a {type(value).__name__}", right="return float(...)")


@contextlib.contextmanager
def as_it_was(module: nn.Module, compiled: bool) -> Iterator[None]:
    """Put back what a forward pass may change in a module: its mode, its attributes, its small buffers.

    A compiled module runs without its code within: that would be compiled for these rows alone.
    """
    attributes = {part: dict(vars(part)) for part in module.modules()}
    named = {part: dict(part._buffers) for part in attributes}
    kinds = {part: type(part) for part in attributes}
    # One that is expanded, of stride 0, holds one value in several places: torch lets nobody write in it.
    buffers = [each for each in module.buffers() if each.numel() <= SMALL and 0 not in each.stride()]
    values = [buffer.clone() for buffer in buffers]
    try:
        with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
            yield
    finally:
        for part, kept in attributes.items():
            if type(part) is kinds[part]:  # not of one that was lazy, and is made by now
                put_back(part.__dict__, kept)
                put_back(part._buffers, named[part])
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)


def put_back(values: dict[str, Any], kept: dict[str, Any]) -> None:
    """Make a mapping what it was."""
    values.clear()
    values.update(kept)
