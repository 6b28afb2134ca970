"""A prepared run that is started: what its end leads to, whoever can still say how it ended."""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import OVERRIDES

from trainer_cli import start
from trainer_cli.checkpoint import Checkpoints
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.prepare import Prepared, begin
from trainer_cli.runs.record import Record
from trainer_cli.signals import SIGNALS

TESTS = Path(__file__).parent
TWO = ("strategy=ddp", "strategy.num_processes=2")
NOT_A_BATCH = ("data.train.size=3", "args.dataloader_drop_last=true")
"""What is refused when the parts are made."""


@pytest.fixture(autouse=True)
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no launcher, and a process that is after the test as it was before."""
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "TORCHELASTIC_ERROR_FILE"):
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    log = logging.getLogger("trainer_cli")
    before = log.handlers[:], log.level, log.propagate
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])
    gc.enable()
    for number, earlier in handlers.items():
        signal.signal(number, earlier)


@pytest.fixture
def prepare() -> Callable[..., Prepared]:
    """`prepare(override...)`: a fresh run below `outputs`, ready to be started."""
    return lambda *words: begin(compose([*OVERRIDES, *words]), [*OVERRIDES, *words])


def status(prepared: Prepared) -> str:
    found: str = Record.load(prepared.run_dir).fields["status"]
    return found


# How many processes


def test_there_are_as_many_processes_as_are_asked_for() -> None:
    assert start.process_count({"num_processes": 3}) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to count")
def test_where_none_are_asked_for_and_there_is_no_gpu_that_is_said_and_the_run_taken_back(
    tmp_path: Path, prepare: Callable[..., Prepared]
) -> None:
    prepared = prepare("strategy=ddp")
    with pytest.raises(UserError, match="there is no GPU to count") as caught:
        start.execute(prepared, traceback=False)
    assert caught.value.problems[0].right == "strategy.num_processes=2"
    assert not list(tmp_path.iterdir())


def test_a_process_of_a_run_is_named_by_its_directory(tmp_path: Path) -> None:
    assert start.rank_command(tmp_path, False) == ["-m", "trainer_cli.rank", str(tmp_path)]
    assert start.rank_command(tmp_path, True)[-1] == "--traceback"


# One process


def test_a_run_in_this_process_ends_with_its_code(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare("args.max_steps=1", "args.eval_strategy=no", "args.stages=[train]")
    prepared.notes = ["what is to be said", "and more"]
    assert start.carry_out(lambda: prepared, traceback=False) == 0
    assert status(prepared) == "finished" and (prepared.run_dir / "model").is_dir()
    assert capsys.readouterr().err.splitlines() == ["what is to be said", "and more"]


def test_a_run_that_is_refused_leaves_no_trace(
    tmp_path: Path, prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(*NOT_A_BATCH)
    assert prepared.run_dir.is_dir()
    assert start.carry_out(lambda: prepared, traceback=False) == 2
    assert "do not fill one batch of 8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def refused_late(prepare: Callable[..., Prepared], *words: str) -> Prepared:
    """A run of which a callback finds at step 3 that it cannot be."""
    callback = ("+callbacks.late._target_=small_run.RefusesAt", "callbacks.late.step=3")
    return prepare(
        *callback, "args.eval_strategy=no", "args.save_strategy=steps", "args.save_steps=2", *words
    )


def test_a_run_that_has_trained_is_never_taken_back(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = refused_late(prepare)
    assert start.carry_out(lambda: prepared, traceback=False) == 1
    assert capsys.readouterr().err.endswith(
        f"error: it cannot be\n  something else\n  saved: {prepared.run_dir}/checkpoint-2 (resume=latest)\n"
    )
    assert (status(prepared), Record.load(prepared.run_dir).error) == ("failed", "it cannot be")
    assert Checkpoints(prepared.run_dir, None).newest() == (prepared.run_dir / "checkpoint-2", [])


def test_a_run_is_kept_where_it_trained_and_saved_nothing(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = refused_late(prepare, "args.save_strategy=no")
    assert start.carry_out(lambda: prepared, traceback=False) == 1
    assert capsys.readouterr().err.endswith("error: it cannot be\n  something else\n")
    assert status(prepared) == "failed" and (prepared.run_dir / "metrics.jsonl").stat().st_size


def test_nothing_is_started_where_nothing_is_left_to_do(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare()
    prepared.done, prepared.notes = True, ["it is finished"]
    prepared.lock.release()
    before = {path: path.read_bytes() for path in prepared.run_dir.iterdir()}
    assert start.carry_out(lambda: prepared, traceback=False) == 0
    assert capsys.readouterr().err == "it is finished\n"
    assert {path: path.read_bytes() for path in prepared.run_dir.iterdir()} == before


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_while_the_directory_is_made_waits_until_it_is_whole(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    made = []

    def make() -> Prepared:
        os.kill(os.getpid(), number)
        made.append(prepare())
        return made[0]

    assert start.carry_out(make, traceback=False) == 128 + number
    assert status(made[0]) == "preempted" and not (made[0].run_dir / "train.log").exists()
    assert capsys.readouterr().err == f"{number.name}: stopped before it could save\n"


def test_an_error_of_what_is_asked_for_goes_to_who_asked() -> None:
    def make() -> Prepared:
        raise UserError("no such run")

    with pytest.raises(UserError, match="no such run"):
        start.carry_out(make, traceback=False)


# What the processes could not say


@pytest.mark.parametrize(
    ("was", "becomes", "code"),
    [
        ("running", "preempted", 143),
        ("preempted", "preempted", 143),
        ("failed", "failed", 143),
        ("finished", "finished", 0),
    ],
)
def test_a_signal_is_noted_where_the_run_has_not_said_how_it_ended(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str], was: str, becomes: str, code: int
) -> None:
    prepared = prepare()
    Record.load(prepared.run_dir).update(status=was)
    assert start.stopped(prepared.run_dir, signal.SIGTERM) == code
    assert status(prepared) == becomes
    assert ("SIGTERM: stopped" in capsys.readouterr().err) == (was == "running")


@pytest.mark.parametrize("before", ["", "Traceback ...\n  in a file\n"])
@pytest.mark.parametrize("after", ["", "  raised in: own.py:3, in make\n"])
def test_a_failure_is_shown_and_what_it_is_noted(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str], before: str, after: str
) -> None:
    prepared = prepare()
    text = f"{before}the run failed: broken\n{after}"
    start.report_failure(prepared.run_dir, text)
    record = Record.load(prepared.run_dir)
    assert (record.fields["status"], record.fields["error"]) == ("failed", "the run failed: broken")
    assert text in capsys.readouterr().err


def test_a_failure_that_the_run_has_noted_itself_stays_in_its_words(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    Record.load(prepared.run_dir).end("diverged", error="the loss is nan at step 7")
    start.report_failure(prepared.run_dir, "connection closed by peer")
    record = Record.load(prepared.run_dir)
    assert (record.fields["status"], record.fields["error"]) == ("diverged", "the loss is nan at step 7")


def test_where_the_disk_is_full_the_cause_is_said_all_the_same(
    prepare: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared, before = prepare(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no file of this process may grow
    try:
        start.report_failure(prepared.run_dir, "the disk has no room")
        assert start.stopped(prepared.run_dir, signal.SIGTERM) == 143
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().err == "the disk has no room\nSIGTERM: stopped before it could save\n"
    assert status(prepared) == "running"


# Several processes, which a sweep has started by `python -m trainer_cli.start`

HOLD = """
import os, time
from pathlib import Path
if "RANK" in os.environ:
    Path(os.environ["RANK"]).touch()
    time.sleep(60)
"""


def started(
    prepared: Prepared, *flags: str, path: Sequence[Path] = (), **streams: Any
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer_cli.start", str(prepared.run_dir), *flags]
    folders = os.pathsep.join(map(str, [*path, TESTS]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": folders}
    return subprocess.Popen(command, env=environment, text=True, **streams)


@pytest.mark.slow
def test_what_the_ranks_refuse_is_said_once(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare(*TWO, *NOT_A_BATCH)
    with started(prepared, "--traceback", stderr=subprocess.PIPE) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.count("error: the 3 training rows do not fill one batch of 16") == 1
    assert err.count("Traceback") == 1
    assert status(prepared) == "failed"


@pytest.mark.slow
def test_a_run_of_several_processes_that_has_trained_is_never_taken_back(
    prepare: Callable[..., Prepared],
) -> None:
    prepared = refused_late(prepare, *TWO)
    with started(prepared, stderr=subprocess.PIPE) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.count("it cannot be") == 1
    assert err.endswith(f"  saved: {prepared.run_dir}/checkpoint-2 (resume=latest)\n")
    assert status(prepared) == "failed"


@pytest.mark.slow
def test_a_signal_that_no_rank_can_answer_yet_is_noted(
    tmp_path: Path, prepare: Callable[..., Prepared]
) -> None:
    prepared = prepare(*TWO)
    (tmp_path / "hold").mkdir()
    (tmp_path / "hold" / "sitecustomize.py").write_text(HOLD)
    with started(prepared, path=[tmp_path / "hold"], stderr=subprocess.PIPE) as process:
        while not ((tmp_path / "0").exists() and (tmp_path / "1").exists()):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert status(prepared) == "preempted"
    assert err == "SIGTERM: stopped before it could save\n"


UNDER_LAUNCHER = """
import sys
from trainer_cli.start import execute_under_launcher
code = execute_under_launcher(sys.argv[1:], [], sys.argv[1:], False)
print("came back with", code)
"""


@pytest.mark.slow
def test_a_launcher_s_processes_all_end_where_nothing_is_left_to_do(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    Record.load(prepared.run_dir).end("finished")
    prepared.lock.release()
    before = (prepared.run_dir / "run.json").read_bytes()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", UNDER_LAUNCHER, *OVERRIDES, f"resume={prepared.run_dir}"]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert f"{prepared.run_dir} is finished" in ended[0][1] and ended[1][1] == ""
    assert (prepared.run_dir / "run.json").read_bytes() == before
    assert json.loads(before)["status"] == "finished"
