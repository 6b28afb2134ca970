"""What a witness writes of each update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from small_run import run

from trainer_cli.callbacks.witness import FACTS, digest, read

WITNESS = "callbacks.witness={_target_: trainer_cli.callbacks.witness.Witness, updates: 5}"
QUICK = ("args.eval_strategy=no", "args.stages=[train]", "args.save_strategy=steps", "args.save_steps=3")


def rows(run_dir: Path) -> dict[int, dict[str, Any]]:
    (found,) = read(run_dir)
    return found


def test_training_ends_after_so_many_updates(tmp_path: Path) -> None:
    engine = run(tmp_path, WITNESS, *QUICK)
    assert engine.state.step == 5 and engine.state.stop == "5 updates are done"
    assert list(rows(tmp_path)) == [1, 2, 3, 4, 5]
    assert engine.checkpoints.steps() == [3, 5]


def test_every_fact_is_there_by_name(tmp_path: Path) -> None:
    engine = run(tmp_path, WITNESS, *QUICK)
    row = rows(tmp_path)[2]
    names = {name for name, _ in engine.module.named_parameters()}
    assert list(row) == ["step", *FACTS]
    assert row["batch"].keys() == {"features", "labels"}
    assert row["weights"].keys() == row["gradients"].keys() == names
    assert {"torch", "python", "numpy"} <= row["generators"].keys()
    assert row["lr"] == {"": 0.01 * 11 / 12}


def test_accumulation_is_seen_as_one_batch(tmp_path: Path) -> None:
    run(tmp_path, WITNESS, *QUICK, "args.gradient_accumulation_steps=2", "args.num_train_epochs=4")
    first, second = rows(tmp_path)[1], rows(tmp_path)[2]
    assert first["batch"].keys() == {"features", "labels"} and first["batch"] != second["batch"]


def test_a_run_that_goes_on_has_the_same_rows(tmp_path: Path) -> None:
    augmented = "data.train._target_=small_run.Augmented"
    run(tmp_path / "a", WITNESS, *QUICK, augmented, "model.dropout=0.2")
    checkpoint = tmp_path / "a" / "checkpoint-3"
    run(tmp_path / "b", WITNESS, *QUICK, augmented, "model.dropout=0.2", resume_from=checkpoint)
    straight, resumed = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert list(resumed) == [4, 5]
    assert all(resumed[step] == straight[step] for step in resumed)


def test_a_digest_is_of_type_shape_and_bits() -> None:
    tensors = [
        torch.zeros(2),
        -torch.zeros(2),
        torch.zeros(2, 1),
        torch.zeros(2, dtype=torch.int32),
        torch.zeros(4, dtype=torch.bfloat16),
    ]
    assert len({digest(tensor) for tensor in tensors}) == 5
    assert digest(torch.arange(6).reshape(2, 3).T) == digest(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert len(digest(torch.tensor(1.0))) == 16
