"""The lock of a run's directory: who has it, how long, and what is said to who comes second."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs import lock as module
from trainer_cli.runs.lock import FILE, Lock, joined, only_looking, still_running, take

HOLD = """
import os, sys, time
from pathlib import Path
from trainer_cli.runs.lock import joined, still_running, take
run_dir = Path(sys.argv[1])
held = take(run_dir, still_running) if sys.argv[2] == "take" else joined(run_dir)
if sys.argv[2] == "join":
    held.__enter__()
if sys.argv[3:] == ["fork"] and os.fork() == 0:
    held.release()
    time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


class Process:
    """Another process that holds the directory, from when this is made."""

    def __init__(self, run_dir: Path, *how: str) -> None:
        command = [sys.executable, "-c", HOLD, str(run_dir), *how]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"held\n"

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """This one alone."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """And what it has forked."""
        self.process.stdout.close()  # type: ignore[union-attr]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Any]:
    """`other(how...)`: a process that holds `tmp_path`."""
    made: list[Process] = []

    def make(*how: str) -> Process:
        made.append(Process(tmp_path, *how))
        return made[-1]

    yield make
    for process in made:
        process.end()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long for what does not end."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)


def refused(run_dir: Path) -> str:
    """The block with which the directory is refused."""
    with pytest.raises(UserError) as caught:
        take(run_dir, still_running)
    return caught.value.block()


def test_one_has_it_until_it_lets_go(tmp_path: Path) -> None:
    held = take(tmp_path, still_running)
    assert f"{tmp_path} is still running: process {os.getpid()} on {platform.node()}" in refused(tmp_path)
    held.release()
    held.release()
    again = take(tmp_path, still_running)
    assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    again.release()
    assert (tmp_path / FILE).read_text() == ""


def test_it_goes_with_what_refers_to_it_and_with_an_error(tmp_path: Path) -> None:
    def forget() -> None:
        take(tmp_path, still_running)

    forget()
    with pytest.raises(KeyError), take(tmp_path, still_running).released_by_errors():
        raise KeyError
    assert take(tmp_path, still_running).is_sure


def test_a_process_that_is_killed_leaves_it_free_and_its_name_is_not_believed(
    tmp_path: Path, other: Any
) -> None:
    first = other("take")
    block = refused(tmp_path)
    assert f"process {first.pid} on {platform.node()}" in block and f"kill {first.pid} has it save" in block
    first.kill()
    assert json.loads((tmp_path / FILE).read_text())["pid"] == first.pid
    assert take(tmp_path, still_running).is_sure


def test_what_was_forked_to_read_data_does_not_hold_it(tmp_path: Path, other: Any) -> None:
    other("take", "fork").kill()
    assert take(tmp_path, still_running).is_sure


def test_a_process_of_the_run_that_outlives_the_one_that_started_it_keeps_others_away(
    tmp_path: Path, other: Any
) -> None:
    started, rank, second_rank = other("take"), other("join"), other("join")
    started.kill()
    rank.kill()
    block = refused(tmp_path)
    assert f"{tmp_path} is still running: its processes hold {tmp_path / FILE}" in block
    assert f"fuser {tmp_path} {tmp_path / FILE} lists those" in block
    second_rank.kill()
    assert take(tmp_path, still_running).is_sure


def test_processes_that_are_about_to_end_are_waited_for(
    tmp_path: Path, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, rank = other("take"), other("join")
    started.kill()
    monkeypatch.setattr(module, "PATIENCE", 60)
    looks = []

    def sleep(_: float) -> None:
        looks.append(rank.kill())

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert take(tmp_path, still_running).is_sure
    assert len(looks) == 1


def test_who_has_it_is_said_as_far_as_its_text_tells(tmp_path: Path) -> None:
    held = take(tmp_path, still_running)
    this = json.loads((tmp_path / FILE).read_text())
    there = {"pid": 17, "pid_start": "a boot 3", "host": "node-7"}
    (tmp_path / FILE).write_text(json.dumps(there))
    block = refused(tmp_path)
    assert "is still running: process 17 on node-7" in block and "kill 17 on node-7 has it save" in block
    for text in (
        "",
        "4711",
        "[" * 500,
        "{}",
        json.dumps({**this, "pid": "1; rm"}),
        json.dumps({**this, "pid": -1}),
        json.dumps({**this, "pid": True}),
        json.dumps({**this, "pid": 2**70}),
        json.dumps({**this, "host": "\x1b[2J"}),
        json.dumps({**this, "pid_start": 3}),
        json.dumps({**this, "pid_start": "a boot 3"}),
    ):
        (tmp_path / FILE).write_text(text)
        assert "its processes hold" in refused(tmp_path)
    held.release()


def test_a_directory_that_was_deleted_and_made_again_is_locked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, flock, times = tmp_path / "run", module.fcntl.flock, []
    run_dir.mkdir()

    def late(descriptor: int, operation: int) -> None:
        if not times:
            shutil.rmtree(run_dir)
            run_dir.mkdir()
        times.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", late)
    held = take(run_dir, still_running)
    assert os.path.samestat(os.fstat(held.descriptor or 0), (run_dir / FILE).stat())
    shutil.rmtree(run_dir)
    with pytest.raises(FileNotFoundError):
        take(run_dir, still_running)


@pytest.mark.parametrize("what", ["link", "directory", "pipe"])
def test_what_stands_in_its_place_is_not_opened(tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    if what == "link":
        (tmp_path / FILE).symlink_to(target)
    elif what == "directory":
        (tmp_path / FILE).mkdir()
    else:
        os.mkfifo(tmp_path / FILE)
    with pytest.raises((UserError, IsADirectoryError), match=r"\.lock"):
        take(tmp_path, still_running)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("number", module.NO_LOCKS, ids=errno.errorcode.get)
def test_without_locks_the_name_of_a_process_of_this_machine_keeps_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.fcntl, "flock", flock)
    held = take(tmp_path, still_running)
    assert not held.is_sure
    assert f"process {os.getpid()} on" in refused(tmp_path)
    with joined(tmp_path):
        pass
    held.release()
    assert not take(tmp_path, still_running).is_sure


def test_another_error_of_the_disk_is_no_missing_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(module.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"):
        take(tmp_path, still_running)


def test_nothing_held_is_nothing_to_let_go(tmp_path: Path) -> None:
    Lock().release()
    with joined(tmp_path / "missing"):
        pass


def test_no_program_that_is_started_inherits_it(tmp_path: Path) -> None:
    held = take(tmp_path, still_running)
    with joined(tmp_path):
        program = subprocess.Popen(["sleep", "60"], close_fds=False)
    held.release()
    assert take(tmp_path, still_running).is_sure
    program.kill()
    program.wait()


def test_who_only_looks_holds_nothing_and_writes_nothing(tmp_path: Path) -> None:
    with only_looking():
        take(tmp_path, still_running)
        assert list(tmp_path.iterdir()) == []
    held = take(tmp_path, still_running)
    text = (tmp_path / FILE).read_bytes()
    with only_looking(), pytest.raises(UserError, match=f"still running: process {os.getpid()}"):
        take(tmp_path, still_running)
    held.release()
    with only_looking():
        first, second = take(tmp_path, still_running), take(tmp_path, still_running)
    assert first.descriptor is second.descriptor is None and text
    take(tmp_path, still_running).release()


def test_who_only_looks_sees_those_that_carry_the_run_out(tmp_path: Path) -> None:
    take(tmp_path, still_running).release()
    with joined(tmp_path), only_looking(), pytest.raises(UserError, match="is still running: its processes"):
        take(tmp_path, still_running)
