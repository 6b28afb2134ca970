"""Several processes: the same numbers as one, one run, one voice, and no process left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc"),
]

# SGD, as the signs that the recipe's own optimizer takes make a large difference of a small one.
RUN = [
    "+recipe=spirals",
    "optim=sgd",
    "optim.lr=0.1",
    "args.precision=fp32",
    "data.train.size=203",
    "data.eval.size=51",
    "args.num_train_epochs=2",
    "args.logging_steps=1",
]
DDP = ["strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=10"]
TORCHRUN = [
    str(Path(sys.executable).with_name("torchrun")),
    "--standalone",
    "--nproc-per-node=2",
    "-m",
    "trainer_cli",
]
ENDLESS = ["+recipe=spirals", "args.num_train_epochs=1e5", "args.logging_steps=10", "args.eval_strategy=no"]

FAULTY = """\
import torch
from torch.utils.data import Dataset


class Faulty(Dataset):
    def __init__(self, bad: int) -> None:
        self.bad = bad

    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index == self.bad:
            raise ValueError(f"row {index} is beyond repair")
        return {"features": torch.full((4,), index / 100), "labels": torch.tensor(index % 2)}
"""


def numbers(shell, run=None):
    return [{name: row[name] for name in row if name != "epoch"} for row in shell.rows(run)]


def assert_like(rows, others):
    assert [sorted(row) for row in rows] == [sorted(row) for row in others]
    for row, other in zip(rows, others):
        assert row == pytest.approx(other, rel=1e-5), row["step"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, new_shell, project_folder):
    """A run of one process."""
    shell = new_shell(project_folder, tmp_path_factory.mktemp("alone") / "outputs")
    shell.run(*RUN, "args.per_device_train_batch_size=20")
    return shell


def test_two_processes_and_two_micro_batches_log_what_one_process_logs(project, alone):
    ended = project.run(*RUN, *DDP)
    project.run(*RUN, "args.per_device_train_batch_size=10", "args.gradient_accumulation_steps=2")
    two, accumulated = project.runs
    assert_like(numbers(alone), numbers(project, accumulated))
    assert_like(numbers(alone), numbers(project, two))
    assert len([row for row in project.rows(two) if "train/loss" in row]) == 2 * 11
    # One voice: each row is said once, and so is the table at the end.
    steps = re.findall(r"^step (\d+)/22", ended.out, re.MULTILINE)
    assert steps == [str(step) for step in range(1, 23)]
    assert ended.out.count("2 processes") == 1 and ended.out.count("model: ") == 1
    weights, same = (load_file(run / "model" / "model.safetensors") for run in (two, alone.last))
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, same[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_run_resumed_in_two_processes_trains_the_epochs_asked_for(project, alone):
    shutil.copytree(alone.last, project.outputs / alone.last.parent.name / alone.last.name)
    ended = project.run(
        f"resume={project.last / 'checkpoint-11'}", *DDP[:2], "args.per_device_train_batch_size=20"
    )
    assert "the run ends at step 17: of 2 epochs, 6 updates of 40 rows are left" in ended.err
    record, last = project.record(), project.rows()[-1]
    assert (record["total_steps"], record["step"], last["epoch"]) == (17, 17, 2.0)


def test_the_strategy_s_own_fields_change_how_and_not_what(project, alone):
    fields = ["backend=gloo", "timeout=90", "bucket_cap_mb=1", "static_graph=true", "broadcast_buffers=true"]
    project.run(
        *RUN,
        *DDP[:2],
        "args.per_device_train_batch_size=5",
        "args.gradient_accumulation_steps=2",
        *(f"strategy.{field}" for field in fields),
    )
    assert_like(numbers(alone), numbers(project))


def test_what_a_single_process_has_not_is_pointed_to(project):
    ended = project(*RUN, "strategy.timeout=90")
    assert ended.code == 2
    assert "it belongs to strategy=ddp" in ended.err


def test_every_row_is_evaluated_and_predicted_once(project, alone):
    words = [
        "+recipe=spirals",
        "args.stages=[eval,predict]",
        "args.eval_strategy=no",
        "args.precision=fp32",
        "data.eval.size=51",
        "+data.predict=${data.eval}",
    ]
    project.run(*words, "args.per_device_eval_batch_size=7")
    project.run(*words, "args.per_device_eval_batch_size=4", *DDP)
    one, two = project.runs
    assert_like(numbers(project, one), numbers(project, two))
    assert project.rows(one)[0]["eval/accuracy"] == project.rows(two)[0]["eval/accuracy"]
    first, second = (project.predictions(run) for run in (one, two))
    assert [row["index"] for row in second] == list(range(51))
    assert [row["prediction"] for row in first] == [row["prediction"] for row in second]


SPEAKS = """\
import logging

from trainer_cli.callbacks import Callback


class Speaks(Callback):
    def on_step_end(self, engine):
        logging.getLogger("trainer_cli").warning("step %d\\nof %d", engine.state.step, engine.strategy.rank)
"""


@pytest.mark.parametrize("program", [None, TORCHRUN], ids=["own launcher", "torchrun"])
def test_what_each_process_logs_is_on_the_terminal_once(shell, project_folder, program):
    shutil.copytree(project_folder, shell.folder, dirs_exist_ok=True)
    (shell.folder / "speaks.py").write_text(SPEAKS)
    words = [*RUN, *DDP, "args.max_steps=2", "+callbacks.speaks._target_=speaks.Speaks"]
    ended = shell.start(*words, program=program).end()
    assert ended.code == 0, ended.text
    lines = re.findall(r"^(?:\[rank \d\] )?step \d\nof \d$", ended.err, re.MULTILINE)
    assert sorted(lines) == ["[rank 1] step 1\nof 1", "[rank 1] step 2\nof 1", "step 1\nof 0", "step 2\nof 0"]
    assert ended.err.count("\nof ") == 4


def test_torchrun_starts_the_same_run(project, alone):
    ended = project.start(*RUN, *DDP, program=TORCHRUN).end()
    assert ended.code == 0, ended.text
    assert len(project.runs) == 1
    assert_like(numbers(alone), numbers(project))
    assert project.record()["status"] == "finished"
    assert len(re.findall(r"^step 5/22", ended.out, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([], ["strategy=single, but a launcher started 2 processes", "add strategy=ddp"]),
        (
            ["strategy=ddp", "strategy.num_processes=3"],
            ["strategy.num_processes=3, but the launcher started 2", "strategy.num_processes=2"],
        ),
        (["optim.lrr=1"], ["did you mean optim.lr?"]),
    ],
    ids=["single", "another number", "unknown key"],
)
def test_torchrun_and_the_configuration_have_to_agree(project, words, fragments):
    started = project.start("+recipe=spirals", *words, program=TORCHRUN)
    ended = started.end()
    assert ended.code != 0
    for fragment in fragments:
        assert fragment in ended.err
    assert not project.outputs.exists()
    assert not started.processes()


def test_what_the_ranks_refuse_is_said_once_and_leaves_nothing(project):
    started = project.start("+recipe=spirals", *DDP, "data.train.size=19", "args.dataloader_drop_last=true")
    ended = started.end()
    assert ended.code == 2, ended.text
    assert ended.err.count("error: ") == 1 and len(ended.err.splitlines()) == 2
    assert "the 19 training rows do not fill one batch of 20" in ended.err
    assert not project.outputs.exists()
    assert not started.processes()


def test_an_exception_in_one_rank_is_shown_once(shell):
    (shell.folder / "faulty.py").write_text(FAULTY)
    started = shell.start(
        "data=python",
        "data.train={_target_: faulty.Faulty, bad: 57}",
        "model=mlp",
        "model.in_features=4",
        "model.out_features=2",
        "loss=cross_entropy",
        "args.eval_strategy=no",
        "args.stages=[train]",
        "args.train_sampling_strategy=sequential",
        *DDP,
    )
    ended = started.end()
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.err
    assert ended.err.count("the run failed: ValueError: row 57 is beyond repair") == 1
    assert ended.err.count("raised in: faulty.py:") == 1
    assert "while reading rows [50, 51, 52" in ended.err
    assert shell.record()["status"] == "failed"
    assert not started.processes()


UNEVEN = """\
import os
import time

from trainer_cli.callbacks import Callback


class Uneven(Callback):
    def __init__(self):
        if os.environ["RANK"] == "1":
            raise RuntimeError("no such thing")
        time.sleep(60)
"""


def test_an_exception_in_one_rank_is_shown_where_the_main_one_has_not_begun(shell, project_folder):
    shutil.copytree(project_folder, shell.folder, dirs_exist_ok=True)
    (shell.folder / "uneven.py").write_text(UNEVEN)
    ended = shell.start(*RUN, *DDP, "+callbacks.uneven._target_=uneven.Uneven").end()
    assert ended.code == 1, ended.text
    assert ended.err.count("the run failed: ") == 1 and "no such thing" in ended.err
    record = shell.record()
    assert record["status"] == "failed" and "no such thing" in record["error"]


@pytest.fixture
def endless(project):
    """Two processes that train until they are stopped."""
    started = project.start(*ENDLESS, *DDP)
    project.wait_for_rows(3)
    assert len(started.ranks()) == 2
    return started


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_run(project, endless, rank):
    os.kill(endless.ranks()[rank], signal.SIGKILL)
    ended = endless.end()
    assert ended.code == 1, ended.text
    assert f"process {rank} was killed by SIGKILL" in ended.err
    assert "Traceback" not in ended.err
    assert project.record()["status"] == "failed"
    assert not endless.processes()


def test_a_killed_parent_takes_its_processes_along(endless, wait):
    endless.process.kill()
    wait(lambda: not endless.processes(), seconds=10)
