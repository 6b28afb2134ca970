"""The loaders of a run's splits, and the number of updates that they give."""

from __future__ import annotations

from typing import Any

import torch

from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import Args
from trainer_cli.counts import START, Position
from trainer_cli.data.loader import EvalLoader, KnowsLengths, TrainLoader
from trainer_cli.data.reader import Workers
from trainer_cli.data.source import Splits


def needed_splits(args: Args) -> set[str]:
    """The splits that the stages, and evaluation while training, will read."""
    needed: set[str] = set(args.stages)
    if "train" in needed and (args.eval_strategy != "no" or args.eval_on_start):
        needed.add("eval")
    return needed


def build_loaders(
    splits: Splits, args: Args, rank: int, world_size: int, device: torch.device
) -> tuple[TrainLoader, dict[str, EvalLoader], EvalLoader | None]:
    """A loader of each split for one process; training data is empty where no stage trains."""
    seed = args.seed if args.data_seed is None else args.data_seed
    workers = Workers(
        args.dataloader_num_workers,
        args.dataloader_prefetch_factor,
        args.dataloader_multiprocessing_context,
        pin_memory=args.dataloader_pin_memory and device.type == "cuda",
    )
    dataset: Any = splits.train if splits.train is not None else []
    by_length = args.train_sampling_strategy == "group_by_length"
    if by_length and splits.train is not None and not isinstance(dataset, KnowsLengths):
        raise UserError(
            "args.train_sampling_strategy=group_by_length needs a dataset that knows its rows' lengths",
            right="give the dataset a `lengths` attribute, or args.train_sampling_strategy=random",
        )
    train_loader = TrainLoader(
        dataset=dataset,  # a list is a dataset of its items
        collate=splits.collate_fn,
        sampling=args.train_sampling_strategy,
        seed=seed,
        per_device=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        rank=rank,
        world_size=world_size,
        drop_last=args.dataloader_drop_last,
        workers=workers,
    )

    def eval_loader(dataset: Any, keep_order: bool = False) -> EvalLoader:
        return EvalLoader(
            dataset,
            splits.collate_fn,
            seed,
            args.per_device_eval_batch_size,
            rank,
            world_size,
            workers,
            keep_order,
        )

    eval_loaders = {name: eval_loader(dataset) for name, dataset in splits.eval.items()}
    predict_loader = None if splits.predict is None else eval_loader(splits.predict, keep_order=True)
    return train_loader, eval_loaders, predict_loader


def count_steps(args: Args, loader: TrainLoader, at: Position = START) -> int:
    """Updates of the whole run, those up to `at` among them; raises UserError where there would be none.

    `args.max_steps` is a count of updates; epochs are those of today's batches from `at` on.
    """
    per_epoch = loader.updates_per_epoch
    if "train" not in args.stages:
        return 0
    if per_epoch == 0 and loader.size:
        raise UserError(
            f"the {loader.size} training rows do not fill one batch of {loader.global_batch}, and"
            " args.dataloader_drop_last=true drops short ones",
            right="a smaller args.per_device_train_batch_size, or args.dataloader_drop_last=false",
        )
    if per_epoch == 0:
        raise UserError("the training split is empty")
    if args.max_steps > 0:
        return args.max_steps
    if loader.epochs is None:
        raise UserError("the training data is a stream of unknown length", right="give args.max_steps")
    return loader.epochs.total(args.num_train_epochs, at)
