"""What can be set of data-parallel processes, each seen in two real processes on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from trainer_cli.config.errors import UserError
from trainer_cli.strategy.ddp import backends

PRELUDE = """
import json, os, time
import torch
from torch import nn
from trainer_cli.config.schema import DataParallel
from trainer_cli.strategy import DistributedDataParallel, Rank, join

def strategy(**given):
    fields = dict(name="ddp", num_processes=2, max_restarts=0, backend=None, timeout=60, bucket_cap_mb=None,
                  find_unused_parameters=False, static_graph=False, broadcast_buffers=False)
    rank = Rank.from_environment()
    torch.manual_seed(0)
    return DistributedDataParallel(rank, torch.device("cpu"), DataParallel(**{**fields, **given}), join())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, both):
        self.seen += x.sum()
        return (self.used(x) + (self.unused(x) if both else 0)).sum()

def train(strategy, both=lambda step: True, steps=3, accumulation=1):
    model = strategy.wrap(Net())
    rows = []
    for step in range(steps):
        for micro in range(accumulation):
            x = torch.full((1, 2), 1.0 + strategy.rank + micro + step)
            if micro < accumulation - 1:
                with strategy.without_sync(model):
                    model(x, both(step)).backward()
            else:
                model(x, both(step)).backward()
        rows.append([float(p.grad.sum()) if p.grad is not None else None for p in model.parameters()])
        model.zero_grad(set_to_none=True)
    return model, rows
"""


def two(code: str) -> list[Any]:
    """What each of two processes says, as JSON in its last line, or the end of its error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PRELUDE + code],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in started]
    return [json.loads(out.splitlines()[-1]) if out else error[-2000:] for out, error in said]


def test_the_backend_is_that_of_the_device_unless_one_is_named() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert (backends(None, cpu), backends("gloo", cpu)) == ("gloo", "gloo")
    assert (backends(None, cuda), backends("nccl", cuda)) == ("cpu:gloo,cuda:nccl", "cpu:gloo,cuda:nccl")
    assert backends("gloo", cuda) == "cpu:gloo,cuda:gloo"
    with pytest.raises(UserError, match="backend=nccl, but the run is on the cpu"):
        backends("nccl", cpu)


UNUSED = """
try:
    print(json.dumps(train(strategy(find_unused_parameters={0}), both=lambda step: step != 1)[1]))
except RuntimeError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.slow
def test_a_parameter_that_takes_no_part_has_to_be_looked_for() -> None:
    found = two(UNUSED.format(True))
    assert found[0] == found[1] and found[0][0][2] == 3.0
    failed = two(UNUSED.format(False))
    assert all("find_unused_parameters=True" in said for said in failed)


@pytest.mark.slow
def test_a_static_graph_gives_the_same_gradients_with_accumulation_too() -> None:
    code = "print(json.dumps(train(strategy(static_graph={0}), accumulation=3)[1]))"
    assert two(code.format(True)) == two(code.format(False))


@pytest.mark.slow
def test_buffers_are_the_main_process_s_where_that_is_asked_for() -> None:
    code = "print(json.dumps(float(train(strategy(broadcast_buffers={0}))[0].module.seen)))"
    apart = two(code.format(False))
    assert apart == [12.0, 18.0]  # each adds up its own rows
    together = two(code.format(True))
    # What the last forward added is each process's own; what came before is the main process's.
    assert together == [12.0, 14.0]


@pytest.mark.slow
def test_buckets_are_as_large_as_asked_for() -> None:
    code = "print(json.dumps(train(strategy(bucket_cap_mb=3))[0].bucket_bytes_cap))"
    assert two(code) == [3 * 2**20] * 2


@pytest.mark.slow
def test_nobody_is_waited_for_longer_than_the_timeout() -> None:
    code = """
s = strategy(timeout=2)
s.barrier()
if s.rank == 1:
    time.sleep(8)
    os._exit(0)
try:
    s.barrier()
    print(json.dumps("came"))
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
    assert "imed out" in two(code)[0]
