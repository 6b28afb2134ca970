"""From the arguments to the loaders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_run import OVERRIDES, Rows

from trainer_cli.config.compose import compose
from trainer_cli.config.schema import Args
from trainer_cli.data.build import build_loaders
from trainer_cli.data.collate import RowCollator
from trainer_cli.data.loader import EvalLoader, TrainLoader
from trainer_cli.data.reader import Workers
from trainer_cli.data.source import Splits


def loaders(*overrides: str, device: str = "cpu") -> tuple[TrainLoader, dict[str, EvalLoader], Any]:
    args = Args(**compose([*OVERRIDES, *overrides]).config["args"])
    splits = Splits(Rows(9), {"near": Rows(3), "far": Rows(4)}, Rows(2), RowCollator(), (), "", "")
    return build_loaders(splits, args, rank=1, world_size=2, device=torch.device(device))


def test_each_split_has_a_loader_and_each_evaluation_set_one_by_its_name() -> None:
    train, evaluations, predict = loaders()
    assert (train.size, train.rank, train.world_size, train.global_batch) == (9, 1, 2, 16)
    assert {name: len(loader.dataset) for name, loader in evaluations.items()} == {"near": 3, "far": 4}
    assert predict.keep_order and not evaluations["near"].keep_order


def test_the_data_has_a_seed_of_its_own_where_it_is_given() -> None:
    for overrides, seed in [((), 42), (("args.seed=5",), 5), (("args.seed=5", "args.data_seed=0"), 0)]:
        train, evaluations, predict = loaders(*overrides)
        assert {train.seed, evaluations["near"].seed, predict.seed} == {seed}


@pytest.mark.parametrize(
    ("overrides", "device", "workers"),
    [
        ((), "cpu", Workers(0)),
        ((), "cuda", Workers(0, pin_memory=True)),
        (("args.dataloader_pin_memory=false",), "cuda", Workers(0)),
        (
            (
                "args.dataloader_num_workers=2",
                "args.dataloader_prefetch_factor=3",
                "args.dataloader_multiprocessing_context=spawn",
            ),
            "cpu",
            Workers(2, prefetch=3, start_method="spawn"),
        ),
    ],
)
def test_workers_are_those_of_the_arguments(
    overrides: tuple[str, ...], device: str, workers: Workers
) -> None:
    train, evaluations, _ = loaders(*overrides, device=device)
    assert train.workers == evaluations["far"].workers == workers
