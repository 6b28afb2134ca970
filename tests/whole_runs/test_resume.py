"""What the command line says and decides before a run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

import pytest

pytestmark = pytest.mark.slow

SHORT = (
    "+recipe=spirals",
    "args.logging_steps=5",
    "args.save_strategy=steps",
    "args.save_steps=10",
    "args.save_total_limit=null",
    "args.eval_strategy=no",
    "args.stages=[train]",
)


def everything(folder):
    """Each file and directory with its time and contents."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def spoil(checkpoint):
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def steps(project, run=None):
    return [row["step"] for row in project.rows(run) if "train/loss" in row]


def test_from_a_damaged_checkpoint_to_the_weights_of_an_undisturbed_run(project):
    project.run(*SHORT, "args.max_steps=30", "run.name=whole")
    whole = project.last
    project.run(*SHORT, "args.max_steps=30", "run.name=other", "scheduler.num_warmup_steps=0")
    run = project.last
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "preempted"}))
    spoil(run / "checkpoint-30")
    before = everything(run)
    root = f"args.output_dir={project.outputs}"
    for word in ("resume=latest", "resume=auto", f"resume={run}"):
        ended = project(*SHORT, "args.max_steps=30", word, root, "checkpoint.on_damage=fail")
        assert ended.code == 2 and "Traceback" not in ended.text
        assert "checkpoint-30: model.safetensors has changed since it was written" in ended.err
        assert everything(run) == before
    ended = project.run(*SHORT, "args.max_steps=30", "resume=auto")
    head, rejected, *_ = ended.err.splitlines()
    assert head == f"resuming {run} at step 20 of 30 (checkpoint-20; preempted)"
    assert rejected.startswith("  rejected checkpoint-30: model.safetensors has changed")
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (run / file).read_bytes() == (whole / file).read_bytes()
    assert [session["step"] for session in project.record(run)["sessions"]] == [0, 20]


def test_a_run_of_damaged_checkpoints_never_starts_at_step_0(project):
    project.run(*SHORT, "args.max_steps=20")
    project.run(*SHORT, "args.max_steps=20")
    first, run = project.runs
    for step in (10, 20):
        spoil(run / f"checkpoint-{step}")
    before = everything(project.outputs)
    root = f"args.output_dir={project.outputs}"
    for word in ("latest", "auto", run, run.name):
        ended = project(*SHORT, "args.max_steps=25", f"resume={word}", root)
        assert ended.code == 2 and "Traceback" not in ended.text
        assert f"none of the 2 checkpoints of {run} can be used" in ended.err
        assert "checkpoint-20: " in ended.err and "checkpoint-10: " in ended.err
        assert everything(project.outputs) == before
    # As it is said: another run, by its name.
    assert project.run(*SHORT, "args.max_steps=25", f"resume={first}").code == 0


def test_auto_starts_again_what_was_killed_before_its_first_save(project):
    started = project.start(*SHORT, "args.max_steps=100000", "args.save_steps=100000")
    project.wait_for_rows(3)
    ended = project(*SHORT, "args.max_steps=20", "resume=auto", f"args.output_dir={project.outputs}")
    assert ended.code == 2 and f"is still running: process {started.process.pid} on " in ended.err
    assert started.process.poll() is None
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    ended = project.run(*SHORT, "args.max_steps=20", "resume=auto")
    assert f"starting {project.last} again from its start" in ended.err
    assert len(project.runs) == 1
    assert steps(project) == [5, 10, 15, 20] and project.record()["status"] == "finished"


@pytest.mark.parametrize("launcher", ["own", "torchrun"])
def test_a_run_of_several_processes_is_seen_to_run(project, launcher):
    words = [*SHORT, "args.max_steps=100000", "strategy=ddp", "strategy.num_processes=2"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "trainer_cli"]
    program = None if launcher == "own" else [sys.executable, *torchrun]
    started = project.start(*words, program=program)
    project.wait_for_rows(3)
    ended = project(*words, "resume=auto", f"args.output_dir={project.outputs}")
    pid = project.record()["pid"]
    assert ended.code == 2 and f"is still running: process {pid} on " in ended.err
    assert pid in started.processes()
    os.kill(started.process.pid, signal.SIGTERM)
    assert started.end().code in (143, 1)
    assert "running" not in project("runs", str(project.outputs)).out


def test_processes_and_batch_change_on_the_way(project):
    project.run(*SHORT, "args.max_steps=10")
    halves = ("strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=10")
    ended = project.run(*SHORT, *halves, "args.max_steps=20", "resume=auto")
    assert "strategy.name                     single → ddp" in ended.err
    assert ended.err.count("as many rows an update as before") == 1 and len(project.runs) == 1
    ended = project.run(*SHORT, "strategy=single", "args.max_steps=30", "resume=auto")
    assert "another number of rows an update" in ended.err and len(project.runs) == 1
    assert steps(project) == [5, 10, 15, 20, 25, 30]
    assert project.record()["processes"] == 1


def test_another_optimizer_goes_on_where_it_is_allowed(project):
    project.run(*SHORT, "args.max_steps=10")
    run = project.last
    words = (f"resume={run}", "args.max_steps=20", "optim=adamw", f"args.output_dir={project.outputs}")
    before = everything(run)
    ended = project(*words)
    assert ended.code == 2 and "checkpoint.allow=[optimizer] goes on with it" in ended.err
    # Nor is another one let in by its target.
    ended = project(f"resume={run}", "args.max_steps=20", "~optim.beta", "optim._target_=torch.optim.SGD")
    assert ended.code == 2 and "checkpoint.allow=[optimizer]" in ended.err
    after = everything(run)
    files = [path for path in before if path.is_file() and path.name != "train.log"]
    assert all(after[path][1] == before[path][1] for path in files)
    ended = project.run(*words, "checkpoint.allow=[optimizer]")
    assert "what it has learned is forgotten" in ended.err
    assert steps(project) == [5, 10, 15, 20]


def test_a_moved_run_and_a_copied_checkpoint(project):
    project.run(*SHORT, "args.max_steps=10")
    moved = project.outputs.parent / "archive" / "moved"
    moved.parent.mkdir()
    shutil.move(project.last, moved)
    copied = shutil.copytree(moved / "checkpoint-10", moved.parent / "copied")
    before = everything(moved.parent)
    ended = project(f"resume={copied}")
    assert ended.code == 2 and "a checkpoint outside of its run" in ended.err
    assert everything(moved.parent) == before
    ended = project(f"resume={moved}", "args.max_steps=20")
    assert ended.code == 0, ended.text
    assert json.loads((moved / "run.json").read_text())["step"] == 20
    assert (moved / "checkpoint-20" / "manifest.json").is_file()
