"""Sweeps by the real command line: what is done, what is not done again, and what they come to."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SWEEP = (
    "-m",
    "+recipe=spirals",
    "optim.lr=0.01,0.003",
    "args.seed=1,2",
    "args.max_steps=30",
    "args.logging_steps=5",
    "args.save_strategy=steps",
    "args.save_steps=5",
)
"""Four jobs that save often."""

WARM = "sweep.warm=true"


def folder(project) -> Path:
    (file,) = project.outputs.rglob("sweep.json")
    return file.parent


def jobs(project) -> dict[str, dict]:
    """The run.json of each job, by its directory's name."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder(project).glob("*/run.json")}


def numbers(project) -> dict[str, bytes]:
    """What each job has come to, to the last bit."""
    return {
        f"{path.parent.parent.name}/{path.name}": path.read_bytes()
        for path in folder(project).glob("*/model/model.safetensors")
    } | {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in folder(project).glob("*/metrics.jsonl")
    }


def board(project) -> bytes:
    return (folder(project) / "leaderboard.csv").read_bytes()


def times(project) -> dict[str, int]:
    """When what each job has written last was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder(project).glob("*/metrics.jsonl")}


def ranks(started) -> set[int]:
    """The processes of jobs."""
    return {
        pid for pid in started.processes() if b"trainer_cli.rank" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, new_shell, project_folder):
    """The sweep, run by cold processes one after the other."""
    shell = new_shell(project_folder, tmp_path_factory.mktemp("undisturbed") / "outputs")
    shell.printed = shell.run(*SWEEP)
    return shell


def test_a_sweep_ends_in_a_leaderboard_and_is_not_done_twice(project, undisturbed):
    ended = undisturbed.printed
    assert len(jobs(undisturbed)) == 4
    assert {record["status"] for record in jobs(undisturbed).values()} == {"finished"}
    assert "optim.lr=0.01 is best" in ended.out or "optim.lr=0.01 wins" in ended.out, ended.out
    assert "trainer-cli +recipe=spirals" in ended.out
    with (folder(undisturbed) / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 2
    before, table = times(undisturbed), board(undisturbed)
    again = undisturbed.run(*SWEEP)
    assert times(undisturbed) == before and board(undisturbed) == table
    assert "4 of 4" in again.text
    wider = [word.replace("0.01,0.003", "0.01,0.003,0.001") for word in SWEEP]
    undisturbed.run(*wider)
    assert {name: at for name, at in times(undisturbed).items() if name in before} == before
    assert sorted(record["sweep"]["number"] for record in jobs(undisturbed).values()) == [1, 2, 3, 4, 5, 6]
    undisturbed.run(*SWEEP)
    assert board(undisturbed) == table


def test_warm_jobs_two_at_a_time_come_to_the_same_bits(project, undisturbed):
    project.run(*SWEEP, WARM, "sweep.jobs=2")
    assert board(project) == board(undisturbed)
    theirs = numbers(undisturbed)
    assert numbers(project) == {name: theirs[name] for name in numbers(project)}
    assert len(numbers(project)) == 8


def test_a_signal_saves_the_job_at_hand_and_the_command_goes_on(project, undisturbed):
    started = project.start(*SWEEP)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in project.outputs.rglob("metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.process.send_signal(signal.SIGINT)
    ended = started.end()
    assert ended.code == 130, ended.text
    assert "the same command goes on" in ended.err
    assert sorted(record["status"] for record in jobs(project).values()) == ["preempted"]
    project.run(*SWEEP)
    assert board(project) == board(undisturbed)


def test_a_job_that_fails_is_named_with_its_cause_and_the_others_go_on(project):
    words = [
        "-m",
        "+recipe=spirals",
        "args.max_steps=6",
        "optim.lr=0.01,1e30,0.003",
        "args.on_nonfinite=stop",
    ]
    root = f"args.output_dir={project.outputs}"
    ended = project(*words, root)
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    statuses = [record["status"] for record in jobs(project).values()]
    assert sorted(statuses) == ["diverged", "finished", "finished"]
    assert "diverged" in ended.text


def test_jobs_of_several_processes_run_in_a_sweep(project):
    project.run(
        "-m",
        "+recipe=spirals",
        "strategy=ddp",
        "strategy.num_processes=2",
        "args.max_steps=4",
        "args.seed=1,2",
        "sweep.warm=true",
    )
    assert [record["status"] for record in jobs(project).values()] == ["finished"] * 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("optim.lrr=1,2",), "did you mean optim.lr?"),
        (("optim.lr=1,abc",), "optim.lr is abc (job optim.lr=abc)"),
        (("optim.lr=1,2", "sweep.zip=[[optim.lr,args.seed]]"), "args.seed, which is not swept over"),
        (("optim.lr=1,2", "hydra/launcher=slrum"), "hydra/launcher"),
        (("optim.lr=1,2", "resume=latest"), "the same command goes on with a sweep"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_first_job(project, words, says):
    ended = project("-m", "+recipe=spirals", *words, f"args.output_dir={project.outputs}")
    assert ended.code == 2, ended.text
    assert says in ended.err and "Traceback" not in ended.text
    assert not project.outputs.exists()


def test_a_job_whose_process_is_killed_is_tried_again_or_marked_and_the_others_go_on(project, wait):
    words = ("-m", "+recipe=spirals", "args.seed=1,2", "args.max_steps=2000", "args.logging_steps=5")
    started = project.start(*words, "args.eval_strategy=no", "args.save_strategy=no", "sweep.retries=1")
    killed: set[int] = set()

    def another() -> bool:
        return bool(ranks(started) - killed)

    for _ in range(2):  # the first try, and the second
        wait(another)
        killed |= (new := ranks(started) - killed)
        for pid in new:
            os.kill(pid, signal.SIGKILL)
    ended = started.end(120)
    assert ended.code == 1, ended.text
    statuses = {record["sweep"]["number"]: record for record in jobs(project).values()}
    assert statuses[1]["status"] == "failed" and "killed by SIGKILL" in statuses[1]["error"]
    assert statuses[2]["status"] == "finished"
    assert "Traceback" not in ended.text


def test_a_job_that_cannot_be_started_is_failed_with_its_cause(project):
    words = ["-m", "+recipe=spirals", "args.seed=1,2", "args.max_steps=2", "sweep.name=mine"]
    project.run(*words)
    place = next(folder(project).glob("seed-1_*"))
    shutil.rmtree(place)
    place.write_text("in its way")
    ended = project(*words, f"args.output_dir={project.outputs}")
    assert ended.code == 1 and "Traceback" not in ended.text, ended.text
    assert "it could not be started" in ended.text
    assert [record["status"] for record in jobs(project).values()] == ["finished"]
    table = json.loads((folder(project) / "leaderboard.json").read_text())
    assert "could not be started" in json.dumps(table)
    place.unlink()
    project.run(*words)
    assert len(jobs(project)) == 2 and "could not be started" not in board(project).decode()


@pytest.mark.parametrize("warm", ["true", "false"])
def test_a_signal_while_a_job_is_started_reaches_it(project, wait, warm):
    started = project.start("-m", "+recipe=spirals", "args.max_steps=1000000", f"sweep.warm={warm}")
    wait(lambda: any(project.outputs.rglob("run.json")))
    started.process.send_signal(signal.SIGTERM)
    ended = started.end(40)
    assert ended.code == 143 and "Traceback" not in ended.text, ended.text
    assert [record["status"] for record in jobs(project).values()] == ["preempted"]
