"""The program's tests of the user's own set-up: verify, verify --resume and plan --preflight."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

DRAWING = """\
import numpy as np
import torch
from torch.utils.data import Dataset


class Drawing(Dataset):
    def __init__(self, seeded: bool) -> None:
        self.seeded, self.generator = seeded, np.random.default_rng(0)

    def __len__(self):
        return 45

    def __getitem__(self, index):
        generator = self.generator if self.seeded else np.random.default_rng()
        return {"features": torch.tensor(generator.normal(size=4)).float(), "labels": torch.tensor(index % 2)}
"""

DRAWN = [
    "data=python",
    "data.train._target_=drawing.Drawing",
    "data.eval=null",
    "model=mlp",
    "model.in_features=4",
    "model.out_features=2",
    "loss=cross_entropy",
    "args.eval_strategy=no",
    "args.stages=[train]",
]


def verdict(ended):
    """What was printed after the lines of the runs."""
    lines = ended.out.splitlines()
    return [line for line in lines if not line.endswith(" s")]


def left_behind(folder):
    """What is in a folder, less what Python and torch cache there."""
    return [path for path in folder.iterdir() if not path.name.startswith(("__", "torchinductor"))]


def test_a_run_that_can_be_stopped_is_equal_bit_for_bit(project, tmp_path):
    words = ["+recipe=spirals", "args.gradient_accumulation_steps=3", "resume=latest", "callbacks=monitor"]
    ended = project("verify", "--resume", *words, TMPDIR=str(tmp_path))
    assert ended.code == 0, ended.text
    (line,) = verdict(ended)
    assert line == "equal, bit for bit: all 12 tensors of checkpoint-6, its state, and 3 logged rows"
    assert left_behind(tmp_path) == [] and not project.runs


def test_data_that_draws_from_a_generator_of_its_own_is_named(shell):
    (shell.folder / "drawing.py").write_text(DRAWING)
    ended = shell("verify", "--resume", *DRAWN, "data.train.seeded=true")
    assert ended.code == 1, ended.text
    lines = verdict(ended)
    assert lines[0] == "not equal: a run that is stopped after step 3 does not end as one that is not"
    assert "first difference: step 4, features of the batch, for the same rows" in lines
    assert "the data draws from a generator of its own" in ended.out
    assert "model.safetensors" in ended.out and "step 4: train/loss is" in ended.out


def test_a_run_that_is_no_two_times_the_same_is_told_apart(shell):
    (shell.folder / "drawing.py").write_text(DRAWING)
    ended = shell("verify", "--resume", *DRAWN, "data.train.seeded=false")
    assert ended.code == 1, ended.text
    lines = verdict(ended)
    assert lines[0] == "not repeatable: two runs that nothing stopped do not end the same"
    assert "first difference: step 1, features of the batch, for the same rows" in lines
    assert "a generator that nothing seeds" in ended.out


def test_checkpoints_are_verified(project):
    project.run("+recipe=spirals", "args.max_steps=40", "args.save_strategy=steps", "args.save_steps=20")
    ended = project("verify", str(project.last))
    assert ended.code == 0 and ended.out.count("  ok\n") == 2, ended.text
    state = project.last / "checkpoint-20" / "state.json"
    state.write_text(state.read_text().replace("1", "2", 1))
    ended = project("verify", str(project.last))
    assert ended.code == 1 and "state.json has changed" in ended.out
    assert project("verify", str(project.outputs)).code == 2


def test_a_preflight_of_several_processes_leaves_nothing(project):
    words = ["+recipe=spirals", "strategy=ddp", "strategy.num_processes=2"]
    ended = project("plan", "--preflight", *words, f"args.output_dir={project.outputs}")
    assert ended.code == 0, ended.text
    stages = ended.out.partition("peak memory")[2]
    assert stages.count(" ok ") == 7 and "for 500 updates of" in stages
    assert left_behind(project.outputs.parent) == []


def test_a_preflight_that_fails_says_where(shell):
    (shell.folder / "drawing.py").write_text(DRAWING)
    words = [*DRAWN, "data.train.seeded=true", "model.in_features=5"]
    ended = shell("plan", "--preflight", *words)
    assert ended.code == 2
    assert "mat1 and mat2 shapes cannot be multiplied" in ended.err
    assert "the batch has features float32 (8, 4)" in ended.err
    assert "Traceback" not in ended.text
    assert {path.name for path in left_behind(shell.folder)} == {"drawing.py"}
