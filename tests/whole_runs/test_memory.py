"""Memory that really runs out, in a process that has been given too little of it."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.slow

LIMIT = """\
import resource
from pathlib import Path

from trainer_cli.callbacks import Callback


class LimitMemory(Callback):
    def __init__(self, megabytes: int) -> None:
        self.megabytes = megabytes

    def on_train_begin(self, engine):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + self.megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""
RUN = [
    "+recipe=spirals",
    "model=mlp",
    "model.in_features=2",
    "model.out_features=2",
    "model.hidden_features=[20000]",  # 80 kB a row and activation
    "loss=cross_entropy",
    "optim=sgd",
    "args.precision=fp32",
    "data.train.size=2048",
    "args.per_device_train_batch_size=1024",
    "args.num_train_epochs=2",
    "args.logging_steps=1",
    "args.save_strategy=steps",
    "args.save_steps=1",
    "+callbacks.limit._target_=limit.LimitMemory",
]


@pytest.fixture
def limited(project, project_folder, tmp_path):
    """The example project, with a callback that takes memory away."""
    project.folder = shutil.copytree(project_folder, tmp_path / "limited")
    (project.folder / "limit.py").write_text(LIMIT)
    return project


def test_a_micro_batch_that_fits_is_found_said_and_remembered(limited):
    little = [*RUN, "+callbacks.limit.megabytes=220", "args.auto_find_batch_size=true"]
    ended = limited.run(*little)
    assert "memory ran out with micro-batches of 1024 rows: from here on" in ended.err
    limited.run(*RUN, "+callbacks.limit.megabytes=100000")
    found, free = ([row for row in limited.rows(run) if "train/loss" in row] for run in limited.runs)
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    for row, other in zip(found, free, strict=True):
        assert row == pytest.approx(other, rel=1e-3)
    # A little more of it, as the second process may place its blocks otherwise; 1024 rows need far more.
    more = [*little, "callbacks.limit.megabytes=300", "args.max_steps=6"]
    again = limited.run(*more, f"resume={limited.runs[0]}")
    assert "memory ran out" not in again.err
    assert limited.rows(limited.runs[0])[-1]["step"] == 6


def test_without_it_the_run_fails_in_the_allocators_words(limited):
    given = [*RUN, "+callbacks.limit.megabytes=220", f"args.output_dir={limited.outputs}"]
    ended = limited(*given)
    assert ended.code == 1
    assert "can't allocate memory" in ended.err
    assert limited.record()["status"] == "failed"
