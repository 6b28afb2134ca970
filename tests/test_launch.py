"""Processes that are started: what they hand back, what reaches them, and whom they end with."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer_cli.launch import PARENT, Failure, first_failure, read_failures, record_failure, run_alone
from trainer_cli.signals import SIGNALS

LOST = Failure(0, 1, "connection closed by peer")


@pytest.mark.parametrize(
    ("codes", "spoken", "first"),
    [
        ({1: 1}, [Failure(1, 1, "broken")], Failure(1, 1, "broken")),
        # The earliest is what the others follow from, also where it is not the first of the ranks.
        ({0: 1, 2: 1}, [Failure(2, 1, "broken"), LOST], Failure(2, 1, "broken")),
        # One that was killed says nothing; those that waited for it do.
        ({0: 1, 1: -signal.SIGKILL}, [LOST], Failure(1, -signal.SIGKILL, "")),
        ({0: 1, 1: -signal.SIGSEGV}, [LOST], Failure(1, -signal.SIGSEGV, "")),
        # So it is with one that left.
        ({0: 1, 1: 3}, [LOST], Failure(1, 3, "")),
        # One that had not begun to train was stopped by the agent, as another had failed.
        ({0: 143, 1: 1}, [Failure(1, 1, "broken")], Failure(1, 1, "broken")),
        # gloo aborts a process that lost another: that is no cause.
        ({0: -signal.SIGABRT, 1: 1}, [Failure(1, 1, "broken")], Failure(1, 1, "broken")),
        ({0: -signal.SIGABRT}, [], Failure(0, -signal.SIGABRT, "")),
        # One that had not ended yet when the others were looked at.
        ({1: 1}, [LOST, Failure(1, 1, "later")], LOST),
        ({2: 143, 1: 143}, [], Failure(1, 143, "")),
    ],
)
def test_the_failure_that_brought_the_others_about(
    codes: Mapping[int, int], spoken: Sequence[Failure], first: Failure
) -> None:
    assert first_failure(codes, spoken) == first


def hand_over(file: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 1) -> None:
    """A rank's error, in the file that its agent names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    record_failure(text, code)


def test_of_several_starts_the_last_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in (10, 9, 2):  # by number, in whatever order they were made
        folder = tmp_path / "run_x7" / f"attempt_{attempt}"
        hand_over(folder / "1" / "error.json", monkeypatch, f"first of {attempt}")
        hand_over(folder / "0" / "error.json", monkeypatch, f"then of {attempt}", code=2)
    hand_over(tmp_path / "runner_x8" / "attempt_99" / "0" / "error.json", monkeypatch, "another run")
    (tmp_path / "run_x7" / "attempt_10" / "2").mkdir()  # one that said nothing
    assert read_failures(tmp_path, "run") == [Failure(1, 1, "first of 10"), Failure(0, 2, "then of 10")]


def test_a_last_start_without_words_has_none_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(tmp_path / "run_x" / "attempt_0" / "0" / "error.json", monkeypatch, "broken")
    (tmp_path / "run_x" / "attempt_1" / "0").mkdir(parents=True)
    assert read_failures(tmp_path, "run") == []
    assert read_failures(tmp_path, "other") == []


def test_without_an_agent_nothing_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    record_failure("broken", 1)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_handed_over_is_said_and_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        hand_over(tmp_path / "run_x" / "attempt_0" / "0" / "error.json", monkeypatch, "the disk has no room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().err == "the disk has no room\n"
    assert read_failures(tmp_path, "run") == []


# A single process


def test_its_code_is_handed_on_and_what_it_prints_is_added(tmp_path: Path) -> None:
    output = tmp_path / "output.log"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    assert [run_alone(["-c", code], output) for _ in range(2)] == [7, 7]
    assert sorted(output.read_text().split()) == ["err", "err", "out", "out"]


def test_it_prints_on_the_terminal_where_no_file_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_alone(["-c", "print('out')"]) == 0
    assert capfd.readouterr().out == "out\n"


def test_the_signal_that_ended_it_is_a_negative_code() -> None:
    assert run_alone(["-c", "import os; os.kill(os.getpid(), 9)"]) == -signal.SIGKILL


SAVES = """
import pathlib, signal, sys, time

def save(number, frame):
    pathlib.Path("saved").write_text(str(number))
    sys.exit(128 + number)

signal.signal(int(sys.argv[1]), save)
pathlib.Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_reaches_it_and_its_end_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(number)

    def send() -> None:
        while not Path("ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    assert run_alone(["-c", SAVES, str(int(number))]) == 128 + number
    sender.join()
    assert Path("saved").read_text() == str(int(number))
    assert signal.getsignal(number) == before


def test_a_signal_that_comes_while_it_is_made_reaches_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    assert run_alone(["-c", "import time; time.sleep(60)"]) == -signal.SIGTERM


# Ends with its parent

STARTER = """
import sys
from trainer_cli.launch import run_alone
run_alone(["-c", sys.argv[1]])
"""
BOUND = """
import time
from trainer_cli.launch import die_with_parent
die_with_parent()
print("bound", flush=True)
time.sleep(30)
print("survived", flush=True)
"""
# Its parent is killed while it still imports.
LATE = """
import os, time
from trainer_cli.launch import die_with_parent
parent = os.getppid()
print("started", flush=True)
while os.getppid() == parent:
    time.sleep(0.01)
die_with_parent()
print("survived", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
@pytest.mark.parametrize(
    ("child", "says"), [(BOUND, b"bound\n"), (LATE, b"started\n")], ids=["bound", "late"]
)
def test_a_process_ends_with_the_one_that_started_it(child: str, says: bytes) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, child], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.readline() == says
        starter.kill()
        # The child holds the pipe as long as it lives.
        assert starter.stdout.read() == b""
    starter.wait()


def test_a_process_that_was_started_by_hand_goes_on_and_hands_no_parent_on() -> None:
    code = "import os; from trainer_cli.launch import *; die_with_parent(); print(os.environ.get(PARENT))"
    for variables in ({}, {PARENT: str(os.getpid())}):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


# Several processes

LAUNCH = """
import dataclasses, json, sys
from pathlib import Path
from trainer_cli.launch import launch
code, restarts, log_dir = sys.argv[1:]
failure = launch(["-c", code], 2, int(restarts), Path(log_dir))
print("failure", json.dumps(failure and dataclasses.astuple(failure)))
"""
RANK = """
import os, sys, time
from pathlib import Path
from trainer_cli.launch import record_failure
rank, start = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])

def fail(text, code):
    record_failure(text, code)
    sys.exit(code)

"""


@dataclass
class Launched:
    """What came of two ranks, and what they printed on the terminal."""

    failure: Failure | None
    out: str


def launched(folder: Path, code: str, restarts: int = 0) -> Launched:
    """Two ranks, started by a process of their own: torch's agent leaves its handlers and files behind."""
    command = [sys.executable, "-c", LAUNCH, RANK + code, str(restarts), "logs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out, _, failure = done.stdout.rpartition("failure ")
    found = json.loads(failure)
    return Launched(None if found is None else Failure(*found), out)


@pytest.mark.slow
def test_of_ranks_that_end_well_the_first_keeps_the_terminal(tmp_path: Path) -> None:
    ended = launched(tmp_path, "print('rank', rank, 'of', os.environ['WORLD_SIZE'])")
    assert ended == Launched(None, "rank 0 of 2\n")
    assert [path.read_text() for path in tmp_path.glob("logs/*/attempt_0/1/stdout.log")] == ["rank 1 of 2\n"]


@pytest.mark.slow
def test_ranks_that_fail_are_started_again_and_the_last_failure_counts(tmp_path: Path) -> None:
    ended = launched(tmp_path, "fail(f'start {start}', 1) if rank == 1 else time.sleep(60)", restarts=1)
    assert ended.failure == Failure(1, 1, "start 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), 9)", -9), ("os._exit(3)", 3)], ids=["killed", "left"]
)
def test_a_rank_that_is_gone_is_the_cause_of_what_the_others_lose(
    tmp_path: Path, end: str, code: int
) -> None:
    text = f"""
if rank == 1:
    Path("ended").touch()
    {end}
while not Path("ended").exists():
    time.sleep(0.01)
fail("connection closed by peer", 1)
"""
    assert launched(tmp_path, text).failure == Failure(1, code, "")
