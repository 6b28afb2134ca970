from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.prepare import begin
from trainer_cli.runs.record import Record
from trainer_cli.sweep.pool import OUTPUT, Worker, command
from trainer_cli.sweep.warm import Warm

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{TESTS}{os.pathsep}{path}"
    nursery = Warm()
    yield nursery
    nursery.close()
    os.environ["PYTHONPATH"] = path


def small(folder: Path, *words: str) -> Path:
    from small_run import OVERRIDES

    return begin(compose([*OVERRIDES, f"args.output_dir={folder}", *words]), ["test"]).run_dir


def end_of(worker: Worker) -> int:
    deadline = time.monotonic() + 60
    while (code := worker.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def test_a_fork_carries_out_a_run_and_has_its_share(warm: Warm, tmp_path: Path) -> None:
    run_dir = small(tmp_path)
    assert end_of(warm.start(run_dir, command(run_dir, "single", False), {"OMP_NUM_THREADS": "1"})) == 0
    assert Record.load(run_dir).status == "finished"
    assert "model:" in (run_dir / OUTPUT).read_text()


def test_several_forks_run_at_a_time_and_each_comes_to_its_own_end(warm: Warm, tmp_path: Path) -> None:
    good = small(tmp_path)
    bad = small(tmp_path, "data.train.size=-1")
    workers = [warm.start(run_dir, command(run_dir, "single", False), {}) for run_dir in (good, bad)]
    assert [end_of(worker) for worker in workers] == [0, 1]
    assert "the run failed" in (bad / OUTPUT).read_text()
    assert Record.load(good).status == "finished"


def test_a_fork_answers_a_signal_and_one_that_is_killed_says_so(warm: Warm, tmp_path: Path) -> None:
    run_dir = small(tmp_path, "args.num_train_epochs=10000")
    worker = warm.start(run_dir, command(run_dir, "single", False), {})
    deadline = time.monotonic() + 60
    while not (run_dir / "metrics.jsonl").exists() or not (run_dir / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker.send_signal(signal.SIGTERM)
    assert end_of(worker) == 143
    assert Record.load(run_dir).status == "preempted"
    again = small(tmp_path, "args.num_train_epochs=10000")
    worker = warm.start(again, command(again, "single", False), {})
    worker.send_signal(signal.SIGKILL)
    assert end_of(worker) == -signal.SIGKILL
    worker.send_signal(signal.SIGKILL)  # it has ended: nobody is sent anything


def test_without_its_process_jobs_start_from_nothing(tmp_path: Path) -> None:
    nursery = Warm()
    nursery.process.kill()
    nursery.process.wait()
    worker = nursery.start(tmp_path, ["-m", "trainer_cli.rank", str(tmp_path / "none")], {})
    assert end_of(worker) == 1
    nursery.close()


def test_what_jobs_of_several_processes_need_starts_from_nothing(warm: Warm, tmp_path: Path) -> None:
    assert end_of(warm.start(tmp_path, ["-c", "print('mine')"], {})) == 0
    assert (tmp_path / OUTPUT).read_text() == "mine\n"
