"""How much memory a run takes."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import torch
from small_run import built, run

from trainer_cli.callbacks import Memory

MONITOR = "callbacks.memory={_target_: trainer_cli.callbacks.Memory}"


def test_without_a_gpu_it_is_the_resident_memory_of_the_process(tmp_path: Path) -> None:
    with built(tmp_path) as engine:
        (before,) = Memory().measure(engine).values()
        ballast = torch.ones(200_000_000)  # 800 MB
        measured = Memory().measure(engine)
    assert set(measured) == {"train/resident_memory_mb"}
    assert 600 < measured["train/resident_memory_mb"] - before < 850
    assert before < psutil.virtual_memory().total / 10**6
    assert ballast.numel()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_peak_of_the_device(tmp_path: Path) -> None:
    with built(tmp_path, "args.use_cpu=false") as engine:
        torch.ones(50_000_000, device=engine.strategy.device).sum()
        measured = Memory().measure(engine)
    assert set(measured) == {"train/peak_device_memory_mb"}
    assert 200 <= measured["train/peak_device_memory_mb"] < 1000


def test_of_several_processes_the_one_that_takes_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with built(tmp_path) as engine:
        more = torch.tensor([1e9], dtype=torch.float64)
        monkeypatch.setattr(engine.strategy, "gather", lambda own: [own, more, own])
        assert Memory().measure(engine) == {"train/resident_memory_mb": 1e9}


def test_a_run_logs_it_in_each_training_row_over_a_resume_too(tmp_path: Path) -> None:
    run(tmp_path, MONITOR, "args.num_train_epochs=1")
    engine = run(tmp_path, MONITOR, resume_from=tmp_path / "checkpoint-6")
    assert engine.callbacks["memory"].state_dict() == {}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 14
    assert all(("train/resident_memory_mb" in row) == ("train/loss" in row) for row in rows)
