"""Two checkpoints compared bit by bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from trainer_cli.checkpoint.compare import compare, difference


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints that are the same."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    save_file({"a": torch.arange(4.0), "b": torch.full((2,), torch.nan)}, str(first / "model.safetensors"))
    save_file({"0.step": torch.tensor(3)}, str(first / "optimizer.safetensors"))
    (first / "state.json").write_text(json.dumps({"run": {"step": 3, "rejected": []}, "callbacks": {}}))
    (first / "vocab.txt").write_text("one\ntwo\n")
    (first / "manifest.json").write_text("{}")
    shutil.copytree(first, second)
    return first, second


def differing(first: Path, second: Path) -> dict[str, dict[str, str]]:
    return {item.file: item.differing for item in compare(first, second) if item.differing}


def test_the_same_is_the_same_and_everything_is_counted(pair: tuple[Path, Path]) -> None:
    (pair[1] / "manifest.json").write_text("another")
    assert differing(*pair) == {}
    counts = {item.file: item.count for item in compare(*pair)}
    assert counts == {"model.safetensors": 2, "optimizer.safetensors": 1, "state.json": 3, "vocab.txt": 1}
    assert next(iter(counts)) == "model.safetensors"


def test_each_part_that_differs_is_named(pair: tuple[Path, Path]) -> None:
    first, second = pair
    changed = torch.arange(4.0)
    changed[1] += 0.5
    save_file({"a": changed, "c": torch.zeros(1)}, str(second / "model.safetensors"))
    (second / "state.json").write_text(json.dumps({"run": {"step": 4, "rejected": []}, "callbacks": {}}))
    (second / "vocab.txt").write_text("one\nthree\n")
    (second / "optimizer.safetensors").unlink()
    (second / "trained.safetensors").write_text("")
    assert differing(first, second) == {
        "model.safetensors": {
            "a": "differs by up to 0.5, in 25% of its values",
            "b": "is missing",
            "c": "is not expected",
        },
        "optimizer.safetensors": {"": "is missing"},
        "trained.safetensors": {"": "is not expected"},
        "state.json": {"run.step": "is 4, not 3"},
        "vocab.txt": {"": "has other bytes"},
    }


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        (torch.tensor([torch.nan]), torch.tensor([torch.nan]), None),
        (torch.tensor([0.0]), torch.tensor([-0.0]), "differs by up to 0, in 0% of its values"),
        (torch.ones(2), torch.ones(2, dtype=torch.bfloat16), "is bfloat16 [2], not float32 [2]"),
        (torch.ones(2, 3), torch.ones(3, 2), "is float32 [3, 2], not float32 [2, 3]"),
        (torch.ones(0), torch.ones(0), None),
        (torch.tensor(True), torch.tensor(False), "differs by up to 1, in 100% of its values"),
    ],
)
def test_bits_count(first: Tensor, second: Tensor, how: str | None) -> None:
    assert difference(first, second) == how
