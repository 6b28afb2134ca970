"""Which strategy a process has: by the configuration, and by what started it."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator

import pytest
import torch.distributed as dist
from small_run import OVERRIDES

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import STRATEGIES, Args
from trainer_cli.config.schema import Strategy as StrategyConfig
from trainer_cli.strategy import DistributedDataParallel, SingleProcess, build_strategy, join
from trainer_cli.strategy.ddp import Rank

LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever started the tests is no part of them."""
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As by a launcher of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
    join.cache_clear()


def asked(*overrides: str) -> tuple[StrategyConfig, Args]:
    """The strategy's own configuration, and the arguments."""
    config = compose([*OVERRIDES, *overrides]).config
    return STRATEGIES[config["strategy"]["name"]](**config["strategy"]), Args(**config["args"])


def test_without_a_launcher_there_is_one_process() -> None:
    strategy = build_strategy(*asked())
    assert isinstance(strategy, SingleProcess) and strategy.device.type == "cpu"


def test_a_launcher_of_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert isinstance(build_strategy(*asked()), SingleProcess)


def test_a_single_process_does_not_train_beside_others_that_know_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="strategy=single, but a launcher started 4 processes") as caught:
        build_strategy(*asked())
    assert caught.value.problems[0].right == "add strategy=ddp"


@pytest.mark.parametrize("names", [(), ("RANK",), ("WORLD_SIZE",)], ids=str)
def test_several_processes_need_what_a_launcher_says(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name in names:
        monkeypatch.setenv(name, "1")
    with pytest.raises(UserError, match="strategy=ddp needs a launcher's variables"):
        build_strategy(*asked("strategy=ddp", "strategy.num_processes=2"))
    assert not dist.is_initialized()


@pytest.mark.parametrize("count", ["null", "1"])
def test_a_launcher_s_process_joins_the_others(launched: None, count: str) -> None:
    strategy = build_strategy(*asked("strategy=ddp", f"strategy.num_processes={count}"))
    assert isinstance(strategy, DistributedDataParallel)
    assert (strategy.rank, strategy.world_size, strategy.is_main) == (0, 1, True)
    assert strategy.sum_by_name({"loss": 0.5}) == {"loss": 0.5}
    strategy.barrier()
    strategy.close()
    assert not dist.is_initialized()


def test_another_number_than_was_asked_for_is_refused(launched: None) -> None:
    with pytest.raises(UserError, match="num_processes=2, but the launcher started 1") as caught:
        build_strategy(*asked("strategy=ddp", "strategy.num_processes=2"))
    assert caught.value.problems[0].right.startswith("strategy.num_processes=1, or")


def test_a_machine_of_many_has_a_rank_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert Rank.from_environment() == Rank(5, 5, 8)
    monkeypatch.setenv("LOCAL_RANK", "1")
    place = Rank.from_environment()
    assert place is not None and dataclasses.astuple(place) == (5, 1, 8)
