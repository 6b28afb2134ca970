"""Writing beside training, or at once."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from trainer_cli.checkpoint.saver import SHARE, Saver, unhurried
from trainer_cli.checkpoint.store import Checkpoints, verify
from trainer_cli.config.errors import DiskFull

GENEROUS = 60


def saver(run_dir: Path, limit: int | None = None, background: bool = True, on_full: str = "stop") -> Saver:
    return Saver(Checkpoints(run_dir, limit), background, on_full)  # type: ignore[arg-type]


def fill(directory: Path) -> None:
    (directory / "weights.bin").write_bytes(bytes(range(100)))


def test_training_goes_on_while_it_is_written(tmp_path: Path) -> None:
    written, here = threading.Event(), saver(tmp_path)

    def wait(directory: Path) -> None:
        fill(directory)
        assert written.wait(GENEROUS)

    here.start(3, 100, wait, None)
    assert here.writing and here.collect() is None
    assert here.checkpoints.steps() == []
    written.set()
    assert here.collect(wait=True) == tmp_path / "checkpoint-3"
    assert verify(tmp_path / "checkpoint-3") is None
    assert not here.writing and here.collect() is None and here.collect(wait=True) is None


def test_a_checkpoint_that_is_done_is_told_once(tmp_path: Path) -> None:
    here = saver(tmp_path)
    here.start(3, 100, fill, None)
    deadline = time.monotonic() + GENEROUS
    while (path := here.collect()) is None:
        assert time.monotonic() < deadline
    assert path == tmp_path / "checkpoint-3"
    assert here.collect() is None


def test_at_once_there_is_no_thread(tmp_path: Path) -> None:
    here, threads = saver(tmp_path, background=False), set()

    def note(directory: Path) -> None:
        threads.add(threading.current_thread())
        fill(directory)

    here.start(3, 100, note, None)
    assert here.checkpoints.steps() == [3]
    assert here.collect() == tmp_path / "checkpoint-3"
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("background", [True, False])
def test_the_oldest_go_after_the_commit(tmp_path: Path, background: bool) -> None:
    here = saver(tmp_path, limit=2, background=background)
    for step in (1, 2, 3):
        here.start(step, 100, fill, protected=1)
        here.collect(wait=True)
    assert here.checkpoints.steps() == [1, 3]


@pytest.mark.parametrize("background", [True, False])
def test_an_error_comes_out_where_it_is_asked_for(tmp_path: Path, background: bool) -> None:
    def fail(directory: Path) -> None:
        raise OSError(5, "Input/output error")

    here = saver(tmp_path, background=background)
    here.start(1, 100, fail, None)
    with pytest.raises(OSError, match="Input/output"):
        here.collect(wait=True)
    assert here.collect(wait=True) is None
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_nobody_asks_for_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(directory: Path) -> None:
        raise OSError(5, "Input/output error")

    here = saver(tmp_path)
    here.start(1, 100, fail, None)
    with caplog.at_level(logging.WARNING, "trainer_cli"):
        here.close()
    assert "the last checkpoint was not written" in caplog.text


def test_no_room_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    here = saver(tmp_path, limit=1)
    here.start(1, 100, fill, None)
    here.collect(wait=True)
    need = here.checkpoints.room() + 10**9

    def never(directory: Path) -> None:
        raise AssertionError("written all the same")

    here.start(2, need, never, None)
    with pytest.raises(DiskFull, match=rf"no room for {tmp_path}/checkpoint-2: it needs [\d,.]+ MB of "):
        here.collect(wait=True)
    assert here.checkpoints.newest() == (tmp_path / "checkpoint-1", [])


def test_a_full_disk_can_be_lived_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    here = saver(tmp_path, on_full="continue")
    here.start(1, here.checkpoints.room() + 10**9, fill, None)
    with caplog.at_level(logging.WARNING, "trainer_cli"):
        assert here.collect(wait=True) is None
    assert "training goes on without it" in caplog.text
    here.start(2, 100, fill, None)
    assert here.collect(wait=True) == tmp_path / "checkpoint-2"


def test_work_in_the_background_takes_its_share_of_the_time_until_it_is_awaited() -> None:
    class Clock(threading.Event):
        waited = 0.0

        def wait(self, timeout: float | None = None) -> bool:
            self.waited += timeout or 0.0
            return super().wait(0)

    clock = Clock()
    pause, began = unhurried(clock), time.thread_time()
    while time.thread_time() - began < 0.02:
        pass
    time.sleep(1)  # waiting, as for a disk, is no work
    pause()
    assert 0.02 <= clock.waited / (1 / SHARE - 1) < 0.5
