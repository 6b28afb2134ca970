"""A row that is not finite, on the command line and in two processes."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

POISON = """\
import torch
from spirals import Spirals


class Poisoned(Spirals):
    def __getitem__(self, index):
        row = super().__getitem__(index)
        return {**row, "features": row["features"] * torch.nan} if index == 100 else row
"""
RUN = [
    "+recipe=spirals",
    "optim=adamw",
    "optim.lr=1e-3",
    "data.train._target_=poison.Poisoned",
    "data.train.size=203",
    "args.num_train_epochs=2",
    "args.logging_steps=1",
    "args.save_strategy=steps",
    "args.save_steps=2",
    "args.precision=fp32",
]
DDP = ["strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=10"]


@pytest.fixture
def poisoned(project, project_folder, tmp_path):
    """The example project, with a dataset of which one row is not finite."""
    project.folder = shutil.copytree(project_folder, tmp_path / "poisoned")
    (project.folder / "poison.py").write_text(POISON)
    return project


@pytest.mark.parametrize("processes", [[], DDP], ids=["one", "two"])
def test_the_run_stops_and_says_what_it_met(poisoned, processes):
    ended = poisoned(*RUN, *processes, f"args.output_dir={poisoned.outputs}")
    assert ended.code == 1, ended.text
    record, (found,) = poisoned.record(), poisoned.last.glob("nonfinite-*.jsonl")
    kept = json.loads(found.read_text())
    assert record["status"] == "diverged" and "has loss nan" in record["error"]
    assert ended.err.count(f"error: update {kept['step']} has loss nan, gradient norm nan") == 1
    assert f"the weights are those of step {kept['step'] - 1}" in ended.err
    assert "args.on_nonfinite=skip" in ended.err and "Traceback" not in ended.text
    assert 100 in kept["rows"] and len(kept["rows"]) == 20
    last = poisoned.rows()[-1]
    assert (last["step"], last["train/loss"], last["train/grad_norm"]) == (kept["step"], "nan", "nan")
    checkpoints = list(poisoned.last.glob("checkpoint-*/*.safetensors"))
    assert checkpoints or kept["step"] <= 2
    for file in checkpoints:
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())
    assert not (poisoned.last / "model").exists()


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_two_processes_agree_on_what_to_pass_over(poisoned, policy):
    given = [*RUN, f"args.on_nonfinite={policy}", "args.save_steps=1", "optim=sgd", "optim.lr=0.1"]
    poisoned.run(*given)
    poisoned.run(*given, *DDP)
    one, two = poisoned.runs
    assert [row["step"] for row in poisoned.rows(one)] == [row["step"] for row in poisoned.rows(two)]
    for row, other in zip(poisoned.rows(one), poisoned.rows(two)):
        assert row == {name: approx(value) for name, value in other.items()}
    assert poisoned.rows(one)[-1]["step"] == 20  # of 22, one in each epoch was not made


def approx(value):
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-5)
