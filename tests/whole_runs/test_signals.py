"""Interrupted, and gone on with to the end that the run would have had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RUN = ["+recipe=spirals", "args.logging_steps=40", "args.save_strategy=steps", "args.save_steps=200"]
SHORT = ["+recipe=spirals", "args.logging_steps=5", "args.save_strategy=steps", "args.save_steps=10"]
STRATEGIES = {
    "single": ["args.num_train_epochs=60"],
    "ddp": [
        "strategy=ddp",
        "strategy.num_processes=2",
        "args.per_device_train_batch_size=10",
        "args.num_train_epochs=12",
    ],
}

MLP = ["model=mlp", "model.in_features=4", "model.out_features=2", "loss=cross_entropy"]
SLOW = """\
import pathlib
import time

import torch
from torch.utils.data import Dataset


class Slow(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 15:
            pathlib.Path("waiting").touch()
            time.sleep(60)
        return {"features": torch.zeros(4), "labels": torch.tensor(index % 2)}
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, new_shell, project_folder):
    """`undisturbed(strategy)`: the directory of a run that nothing disturbed."""
    runs: dict[str, Path] = {}

    def run(strategy: str) -> Path:
        if strategy not in runs:
            shell = new_shell(project_folder, tmp_path_factory.mktemp(strategy) / "outputs")
            shell.run(*RUN, *STRATEGIES[strategy])
            runs[strategy] = shell.last
        return runs[strategy]

    return run


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)],
    ids=["int", "term", "usr1"],
)
def test_an_interrupted_run_ends_as_if_nothing_had_been(project, undisturbed, strategy, number, code):
    words = [*RUN, *STRATEGIES[strategy]]
    started = project.start(*words)
    project.wait_for_rows(3)
    # Ctrl-C at a terminal reaches every process of the group, a scheduler's SIGTERM the first one alone.
    send = os.killpg if number == signal.SIGINT else os.kill
    send(started.process.pid, number)
    ended = started.end()
    assert ended.code == code, ended.text
    record = project.record()
    step = record["step"]
    assert record["status"] == "preempted" and 80 <= step < record["total_steps"]
    assert (project.last / f"checkpoint-{step}" / "manifest.json").is_file()
    assert ended.err.count(f"{number.name}: stopped at step {step}, which is saved") == 1
    assert "Traceback" not in ended.err
    assert not (project.last / "model").exists()
    if Path("/proc/self/environ").exists():
        assert not started.processes()

    ended = project.run(*words, "resume=latest")
    assert f"checkpoint-{step}" in ended.err and "changes" not in ended.err
    assert len(project.runs) == 1
    assert project.record()["status"] == "finished"
    whole = undisturbed(strategy)
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (project.last / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_sweep_that_is_stopped_saves_its_job_and_ends_in_its_table(project, number):
    started = project.start("-m", *RUN, "args.num_train_epochs=1e5", "args.seed=1,2")
    project.wait_for_rows(3)
    send = os.killpg if number == signal.SIGINT else os.kill
    send(started.process.pid, number)
    ended = started.end()
    assert ended.code == 128 + number, ended.text
    assert len(project.runs) == 1 and project.record()["status"] == "preempted"
    assert (project.last / f"checkpoint-{project.record()['step']}").is_dir()
    assert "2 jobs, 1 waiting, 1 preempted" in ended.out and "Traceback" not in ended.text


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=["int", "term", "usr1"]
)
def test_a_run_that_is_stopped_before_its_first_step_says_so(project, wait, number):
    started = project.start(*RUN)
    wait(lambda: project.runs and (project.last / "train.log").exists())
    started.process.send_signal(number)
    ended = started.end()
    assert ended.code == 128 + number, ended.text
    assert project.record()["status"] == "preempted"
    assert "stopped with no step to save" in ended.err and "Traceback" not in ended.text


def test_an_evaluation_that_is_stopped_leaves_at_once(shell, wait):
    (shell.folder / "slow.py").write_text(SLOW)
    words = ["data.eval._target_=slow.Slow", "args.stages=[eval]", "args.eval_strategy=no"]
    started = shell.start("data=python", *words, *MLP)
    wait((shell.folder / "waiting").exists)
    started.process.send_signal(signal.SIGINT)
    ended = started.end(timeout=5)
    assert ended.code == 130 and "Traceback" not in ended.text
    assert shell.record()["status"] == "preempted"


def test_a_second_signal_leaves_at_once(shell, wait):
    (shell.folder / "slow.py").write_text(SLOW)
    started = shell.start(
        "data=python",
        "data.train._target_=slow.Slow",
        *MLP,
        "args.eval_strategy=no",
        "args.stages=[train]",
        "args.train_sampling_strategy=sequential",
    )
    wait((shell.folder / "waiting").exists)
    started.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.process.wait(1.5)
    started.process.send_signal(signal.SIGINT)
    assert started.end(timeout=5).code == 130
    assert not list(shell.last.glob("checkpoint-*"))


def test_a_run_goes_on_when_its_reader_has_gone(project):
    read, write = os.pipe()
    os.close(read)
    command = project.command(*SHORT, "args.max_steps=20", f"args.output_dir={project.outputs}")
    environment = project.environment()
    for streams in ({"stdout": write}, {"stdout": write, "stderr": write}):
        assert subprocess.run(command, cwd=project.folder, env=environment, **streams).returncode == 0
        assert project.record()["status"] == "finished"
    os.close(write)


def test_auto_starts_goes_on_and_knows_the_end(project):
    ended = project.run(*SHORT, "resume=auto", "args.max_steps=20")
    assert ended.err == ""
    assert len(project.runs) == 1 and project.record()["step"] == 20

    ended = project.run(*SHORT, "resume=auto", "args.max_steps=40")
    assert len(project.runs) == 1 and project.record()["step"] == 40
    assert "checkpoint-20" in ended.err
    assert "args.max_steps  20 → 40  the schedule is stretched" in ended.err
    assert "the rate at step 20 is 0.0005 in place of 0" in ended.err
    assert "the run ends at step 40, as args.max_steps has it" in ended.err
    assert len(ended.err.splitlines()) == 5
    assert [row["step"] for row in project.rows() if "train/loss" in row] == list(range(5, 45, 5))

    before = (project.last / "run.json").read_bytes()
    for resume in ("latest", "auto", project.last, project.record()["id"]):
        ended = project.run(*SHORT, f"resume={resume}", "args.max_steps=40")
        assert f"{project.last} is finished" in ended.err
        assert (project.last / "run.json").read_bytes() == before


def test_a_run_is_named_by_its_directory_or_id_and_an_older_checkpoint_begins_another(project):
    project.run(*SHORT, "args.max_steps=20")
    first = project.last
    project.run("args.max_steps=25", f"resume={first}")
    project.run("args.max_steps=30", f"resume={project.record()['id']}")
    assert project.runs == [first] and project.record()["step"] == 30

    # The same in other words: the newest checkpoint's own path.
    project.run("args.max_steps=40", f"resume={first / 'checkpoint-30'}")
    assert project.runs == [first] and project.record()["step"] == 40
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}

    ended = project.run("optim.lr=1e-2", f"resume={first / 'checkpoint-30'}")
    assert "a run of its own" in ended.err and "optim.lr  0.001 → 0.01" in ended.err
    assert len(project.runs) == 2
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    second = next(run for run in project.runs if run != first)
    assert project.record(second)["parent"] == first.name
    steps = [row["step"] for row in project.rows(second) if "train/loss" in row]
    assert steps == list(range(5, 45, 5))
    assert project.rows(second)[:6] == project.rows(first)[:6]
    assert project.rows(second)[-1] != project.rows(first)[-1]


def test_latest_agrees_with_the_recipe_and_the_options_of_today(project):
    project.run(*SHORT, "args.max_steps=10")
    project.run(*SHORT, "args.max_steps=10", "optim=adamw")
    first, second = project.runs
    ended = project.run("resume=latest", "args.max_steps=11")
    assert f"resuming {second}" in ended.err
    ended = project.run("resume=latest", "args.max_steps=12", "optim=sign_descent", "+recipe=spirals")
    # The recipe chose it for the first run, and the command line does for this one.
    assert f"resuming {first}" in ended.err


def test_a_recipe_edited_meanwhile_is_reported_and_not_applied(shell, project_folder):
    for name in ("spirals.py", "configs", "recipes"):
        copy = shutil.copytree if (project_folder / name).is_dir() else shutil.copy
        copy(project_folder / name, shell.folder / name)
    shell.run(*SHORT, "args.max_steps=10", "optim.lr=2e-3")
    recipe = shell.folder / "recipes" / "spirals.yaml"
    recipe.write_text(recipe.read_text().replace("noise: 0.01\n    seed: 1", "noise: 0.5\n    seed: 1"))
    ended = shell.run("+recipe=spirals", "args.max_steps=20", "resume=latest")
    reported = [line for line in ended.err.splitlines() if line.startswith("  not applied")]
    # What the command line set then, and does not repeat today, was no edit.
    assert len(reported) == 1, ended.err
    assert "data.train.noise=0.5" in reported[0] and "keeps 0.01" in reported[0]
    assert "noise: 0.01" in (shell.last / "config.yaml").read_text()
    assert "0.5" not in (shell.last / "config.yaml").read_text()
    # Nor is what an earlier resume has changed.
    ended = shell.run("+recipe=spirals", "optim.lr=1e-3", "resume=latest")
    reported = [line for line in ended.err.splitlines() if line.startswith("  not applied")]
    assert len(reported) == 1 and "noise" in reported[0], ended.err
