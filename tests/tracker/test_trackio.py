"""Trackio on this machine, read back from its own storage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from kept_tracker import points
from small_run import run

from trainer_cli.tracker import JsonLines, Trackio

pytest.importorskip("trackio")
pytestmark = pytest.mark.slow

WORDS = ("tracker=trackio", "args.eval_strategy=steps", "args.eval_steps=5")
LOCAL: dict[str, Any] = {
    "project": None,
    "space_id": None,
    "bucket_id": None,
    "private": None,
    "timeout": 30.0,
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A storage of the test's own, and no Space."""
    import trackio.sqlite_storage

    for module in (trackio, trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    monkeypatch.delenv("TRACKIO_SERVER_URL", raising=False)


def logs() -> dict[str, list[tuple[int, float]]]:
    """The numbers of the only run of the project `demo`."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (only,) = trackio.Api().runs("demo")
    found: dict[str, list[tuple[int, float]]] = {}
    for row in SQLiteStorage.get_logs("demo", only.name, run_id=only.id):
        for name in row.keys() - {"step", "timestamp"}:
            found.setdefault(name, []).append((row["step"], row[name]))
    return found


def test_a_run_and_its_resumption_are_one_run_with_each_number_once(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saving = ("args.save_strategy=steps", "args.save_steps=5", "args.save_total_limit=null")
    run(run_dir, *WORDS, *saving)
    assert logs() == points(run_dir)
    run(run_dir, *WORDS, *saving, resume_from=run_dir / "checkpoint-5")
    assert logs() == points(run_dir)
    assert "rackio" not in capsys.readouterr().out
    assert list(Path.cwd().iterdir()) == []


def test_the_configuration_is_there(run_dir: Path) -> None:
    import trackio

    run(run_dir, *WORDS)
    (only,) = trackio.Api().runs("demo")
    assert only.name == run_dir.name and only.config["optim.lr"] == 0.01


def test_rows_that_a_killed_process_did_not_send_are_sent_when_it_goes_on(run_dir: Path) -> None:
    jsonl = JsonLines()
    jsonl.start(run_dir, 0, 0)
    for step in range(1, 5):
        jsonl.log({"step": step, "epoch": 0.0, "train/loss": math.nan if step == 3 else 1.0 / step})
    tracker = Trackio(**LOCAL)
    tracker.start(run_dir, 4, 4)
    tracker.log({"step": 5, "epoch": 0.0, "train/loss": math.inf})
    tracker.close()
    values = [value for _, value in logs()["train/loss"]]
    assert values[:2] == [1.0, 0.5] and math.isnan(values[2]) and values[3:] == [0.25, math.inf]
