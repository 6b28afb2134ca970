"""What only the ready parts can tell, before the first step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset

from trainer_cli.checkpoint.plain import Packer
from trainer_cli.config.errors import UserError
from trainer_cli.data.collate import RowCollator
from trainer_cli.data.python import without
from trainer_cli.data.randomness import undisturbed
from trainer_cli.data.reader import Reader, rows_alone
from trainer_cli.data.source import Splits
from trainer_cli.engine import Engine, score_name
from trainer_cli.fitting import check_fit
from trainer_cli.loss import CrossEntropy, Elementwise, Loss, MeanSquaredError, ModelLoss
from trainer_cli.model import storage
from trainer_cli.model.introspection import forward_names, needed_names, takes_labels
from trainer_cli.model.kinds import base_model, is_transformers_model
from trainer_cli.optim import InBackward

log = logging.getLogger(__name__)


def check_module(module: nn.Module, trains: bool) -> None:
    """Whether a module is ready to be trained, or used: a shape for all parameters, and any to train."""
    named = [*module.named_parameters(), *module.named_buffers()]
    shapeless = [name for name, tensor in named if nn.parameter.is_lazy(tensor)]
    model = type(module).__name__
    if shapeless:
        raise UserError(
            f"the shape of {', '.join(shapeless)} in {model} is not known before its first batch",
            right="layers with their sizes, as nn.Linear for nn.LazyLinear; or a batch in its constructor",
        )
    if trains and not any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError(
            f"{model} has nothing to train: no parameter of it has requires_grad",
            right='leave some of it trainable; "args.stages=[eval]" evaluates it as it is',
        )


def check_inputs(module: nn.Module, loss: Loss, splits: Splits) -> None:
    """Whether a row of the data has what the model and the loss need; a stream is not looked at."""
    own_loss = not isinstance(loss, CrossEntropy | Elementwise | MeanSquaredError | ModelLoss)
    if isinstance(splits.collate_fn, RowCollator):
        fit_columns(module, splits, splits.collate_fn, keep_all=own_loss)
    datasets = [dataset for dataset in (splits.train, *splits.eval.values()) if dataset is not None]
    if not datasets or isinstance(datasets[0], IterableDataset):
        return
    names = list(first_row(datasets[0], splits))
    row = f"a row of the data has {', '.join(names)}"
    model = type(module).__name__
    if isinstance(loss, ModelLoss) and "labels" in names and not takes_labels(module):
        raise UserError(
            f"loss=model, but {model}.forward takes no labels, so it cannot compute a loss",
            right="loss=cross_entropy, or loss=mse for a regression",
        )
    if isinstance(loss, CrossEntropy | Elementwise | MeanSquaredError):
        if "labels" not in names:
            raise UserError(f"{type(loss).__name__} needs labels, and {row}", right='name them "labels"')
        names.remove("labels")
    missing = [name for name in needed_names(module) if name not in names]
    if missing:
        raise UserError(
            f"{model}.forward needs {', '.join(missing)}, and {row}",
            right="data whose rows have what the model takes, or a model that takes what the rows have",
        )


def first_row(dataset: Any, splits: Splits) -> Mapping[str, Any]:
    """The columns of a row, of which some may not go into a batch; or the batch that is made of it."""
    with undisturbed():
        if isinstance(splits.collate_fn, RowCollator):
            rows: Any = Reader(dataset, rows_alone, seed=0, epoch=0)[[0]]
            row: Mapping[str, Any] = rows[0]
            return row
        return Reader(dataset, splits.collate_fn, seed=0, epoch=0)[[0]]


def fit_columns(module: nn.Module, splits: Splits, collator: RowCollator, keep_all: bool) -> None:
    """Leave out the columns that the model does not take, and say so; a loss of one's own may read any."""
    inputs = None if keep_all else forward_names(module)
    base: Any = base_model(module)
    pad = getattr(base.config, "pad_token_id", None) if is_transformers_model(base) else None
    dtype = next((part.dtype for part in module.parameters() if part.dtype == torch.float64), torch.float32)
    splits.collate_fn = collator = RowCollator(inputs, pad or 0, dtype)
    left_out: dict[str, None] = {}
    for dataset in (splits.train, *splits.eval.values(), splits.predict):
        if dataset is not None and not isinstance(dataset, IterableDataset):
            row = first_row(dataset, splits)
            left_out |= dict.fromkeys(name for name in row if name not in collator.taken(row))
    if left_out:
        names = ", ".join(left_out)
        log.info("columns that %s.forward does not take are left out: %s", type(module).__name__, names)
        splits.train = without(splits.train, left_out)
        splits.eval = {name: without(dataset, left_out) for name, dataset in splits.eval.items()}
        splits.predict = without(splits.predict, left_out)


def check_engine(engine: Engine) -> None:
    """What only the ready parts can tell, before the first step."""
    args = engine.args
    wants_eval = "eval" in args.stages or ("train" in args.stages and args.eval_strategy != "no")
    if wants_eval and not engine.eval_loaders:
        raise UserError(
            "evaluation is asked for (args.stages, args.eval_strategy), but there is no evaluation data",
            right="args.stages=[train] args.eval_strategy=no trains without",
        )
    if "predict" in args.stages and engine.predict_loader is None:
        raise UserError(
            "args.stages has predict, but there is no data to predict", right="data.test_file=FILE"
        )
    if args.logging_strategy == "epoch" and engine.train_loader.size is None:
        raise UserError(
            "args.logging_strategy=epoch needs to know where an epoch ends, and the data is a stream",
            right="args.logging_strategy=steps",
        )
    for name, part in engine.callbacks.items():
        Packer().pack(part.state_dict(), f"callbacks.{name}")
    if "train" in args.stages:
        storage.check_savable(engine.module)
    if isinstance(engine.optimizer, InBackward):
        check_in_backward(engine)
    if engine.scores:
        score_name(args.metric_for_best_model or "loss", engine.scores)
    if engine.tokenizer is not None and is_transformers_model(base_model(engine.module)):
        check_fit(engine)


def check_in_backward(engine: Engine) -> None:
    """Whether an optimizer of the user's own that works in the backward pass is asked for what it cannot.

    Of the built-in ones the configuration's rules say it, each point by itself.
    """
    args = engine.args
    if (
        args.gradient_accumulation_steps > 1
        or args.max_grad_norm > 0
        or args.max_grad_value is not None
        or args.auto_find_batch_size
        or args.on_nonfinite == "skip"
        or engine.scaler.is_enabled()
        or engine.strategy.world_size > 1
    ):
        raise UserError(
            f"{type(engine.optimizer).__name__} updates weights within the backward pass, so gradients are"
            " neither accumulated, clipped, scaled, skipped nor exchanged between processes",
            right="strategy=single args.gradient_accumulation_steps=1 args.max_grad_norm=0"
            " args.max_grad_value=null args.auto_find_batch_size=false args.on_nonfinite=stop",
        )
