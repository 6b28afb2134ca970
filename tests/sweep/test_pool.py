from __future__ import annotations

from pathlib import Path

import pytest

from trainer_cli.sweep.pool import OUTPUT, Cold, Places, command, how_it_ended, visible_gpus


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("count", "gpus", "devices"),
    [
        (1, ["0", "1"], [None]),
        (2, ["0", "1", "2", "3"], ["0,2", "1,3"]),
        (3, ["4", "5"], ["4", "5", "4"]),
        (2, ["GPU-aa", "GPU-bb"], ["GPU-aa", "GPU-bb"]),
        (2, [], [None, None]),
    ],
)
def test_gpus_are_dealt_out_and_shared_where_there_are_fewer(
    count: int, gpus: list[str], devices: list[str | None]
) -> None:
    shares = Places.of(count, gpus, cores=4).free
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in shares] == devices


def test_threads_are_divided_unless_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Places.of(1, [], cores=8).free == [{}]
    assert Places.of(3, [], cores=8).free == [{"OMP_NUM_THREADS": "2"}] * 3
    assert Places.of(16, [], cores=8).free == [{"OMP_NUM_THREADS": "1"}] * 16
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Places.of(3, [], cores=8).free == [{}] * 3


def test_gpus_that_the_environment_hides_are_not_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_gpus_are_counted_by_their_own_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g'\necho 'GPU 1: A (UUID: y)'\n")
    tool.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert visible_gpus() == []


def test_a_cold_job_prints_into_its_directory_and_has_its_share(tmp_path: Path) -> None:
    worker = Cold().start(tmp_path, ["-c", "import os; print(os.environ['SHARE'])"], {"SHARE": "mine"})
    while worker.poll() is None:
        pass
    assert (tmp_path / OUTPUT).read_text() == "mine\n"


def test_a_job_of_several_processes_is_started_by_what_starts_those() -> None:
    run_dir = Path("run")
    assert command(run_dir, "single", False) == ["-m", "trainer_cli.rank", "run"]
    assert command(run_dir, "ddp", True) == ["-m", "trainer_cli.start", "run", "--traceback"]


def test_the_end_of_a_process_in_words() -> None:
    assert how_it_ended(-9) == "its process was killed by SIGKILL"
    assert how_it_ended(3) == "its process ended with code 3"
