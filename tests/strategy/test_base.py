"""The sums that the loop asks of any strategy, and the strategy of a single process."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from trainer_cli.strategy import SingleProcess, Strategy


class Exchange:
    """Where several threads, as if they were processes, leave tensors for each other."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=10)
        self.left: list[Tensor] = [torch.empty(0)] * size


class Thread(SingleProcess):
    """One of several processes; it has of them what the base class builds on."""

    def __init__(self, exchange: Exchange, rank: int) -> None:
        super().__init__(torch.device("cpu"))
        self.exchange, self.rank, self.world_size = exchange, rank, len(exchange.left)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        self.exchange.left[self.rank] = tensor
        self.exchange.barrier.wait()
        return list(self.exchange.left)

    def sum_by_name(self, values: Mapping[str, float]) -> dict[str, float]:
        return Strategy.sum_by_name(self, values)


def summed(*values: Mapping[str, float]) -> list[dict[str, float]]:
    """What each of several processes gets that sum these values."""
    exchange = Exchange(len(values))
    with ThreadPoolExecutor(len(values)) as pool:
        jobs = [pool.submit(Thread(exchange, rank).sum_by_name, own) for rank, own in enumerate(values)]
        return [job.result() for job in jobs]


def test_a_name_that_only_some_processes_have_is_summed_over_those() -> None:
    found = summed({"loss": 1.0, "part": 0.5}, {"loss": 2.0, "späte Strafe": 4.0}, {})
    assert found == [{"loss": 3.0, "part": 0.5, "späte Strafe": 4.0}] * 3


def test_all_processes_have_the_names_in_one_order() -> None:
    found = summed({"b": 1.0, "a": 1.0}, {"c": 1.0, "a": 1.0, "b": 1.0})
    assert [list(of_process) for of_process in found] == [["b", "a", "c"]] * 2


def test_sums_are_those_of_the_very_numbers() -> None:
    numbers = [0.1, 1e-300, 2**53 + 1.0, 1 / 3]
    found, _ = summed({"x": numbers[0]}, {"x": numbers[1]})
    assert found == {"x": numbers[0] + numbers[1]}
    for number in numbers:
        assert summed({"x": number}) == [{"x": number}]


def test_what_is_not_finite_stays_so() -> None:
    nan, infinite = summed({"x": math.nan}, {"x": 1.0})[0]["x"], summed({"x": math.inf}, {"x": 1.0})[0]["x"]
    assert math.isnan(nan) and infinite == math.inf


@pytest.mark.parametrize("values", [[], [1.0, math.inf, -2.5]])
def test_a_process_alone_sums_to_what_it_has(values: Sequence[float]) -> None:
    alone = SingleProcess(torch.device("cpu"))
    assert alone.is_main and (alone.rank, alone.world_size) == (0, 1)
    assert alone.sum(values) == list(values)
    named = {str(index): value for index, value in enumerate(values)}
    assert alone.sum_by_name(named) == named == Strategy.sum_by_name(alone, named)
    tensor = torch.arange(6).reshape(2, 3)
    (gathered,) = alone.gather(tensor)
    assert gathered is tensor


def test_a_process_alone_has_the_module_as_it_is_and_waits_for_nobody() -> None:
    alone, module = SingleProcess(torch.device("cpu")), nn.Linear(2, 1)
    model = alone.wrap(module)
    assert model is module
    with alone.without_sync(model):
        model(torch.ones(1, 2)).sum().backward()
    assert module.weight.grad is not None
    alone.barrier()
    alone.close()
