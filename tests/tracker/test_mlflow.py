"""MLflow on a database, read back with its own client."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kept_tracker import points
from small_run import run

from trainer_cli.tracker import JsonLines, MLflow
from trainer_cli.tracker.mlflow import DATABASE, LONGEST, name_of, text_of

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytestmark = [
    pytest.mark.slow,  # a new database takes it seconds
    pytest.mark.filterwarnings("ignore:::mlflow"),
]

WORDS = ("tracker=mlflow", "args.eval_strategy=steps", "args.eval_steps=5")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of the user's, and nothing that is reported to anybody."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def client(run_dir: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{run_dir.parents[1] / DATABASE}")


def stored(run_dir: Path) -> list[Any]:
    """The runs of the experiment `demo`."""
    mlflow = client(run_dir)
    return list(mlflow.search_runs([mlflow.get_experiment_by_name("demo").experiment_id]))


def history(run_dir: Path, key: str) -> list[tuple[int, float]]:
    (only,) = stored(run_dir)
    return [(one.step, one.value) for one in client(run_dir).get_metric_history(only.info.run_id, key)]


def test_a_run_and_its_resumption_are_one_run_with_each_number_once(run_dir: Path) -> None:
    saving = ("args.save_strategy=steps", "args.save_steps=5", "args.save_total_limit=null")
    run(run_dir, *WORDS, *saving)
    first = {name: history(run_dir, name) for name in points(run_dir)}
    assert first == points(run_dir)
    run(run_dir, *WORDS, *saving, "optim.lr=0.02", resume_from=run_dir / "checkpoint-5")
    (only,) = stored(run_dir)
    assert only.info.run_name == run_dir.name and only.info.status == "FINISHED"
    assert only.data.params["optim.lr"] == "0.01" and only.data.params["model.hidden_features"] == "[16]"
    # A step that has its number keeps it: MLflow's history is only ever added to.
    assert {name: history(run_dir, name) for name in points(run_dir)} == first
    assert list(Path.cwd().iterdir()) == []


def test_rows_that_a_killed_process_did_not_send_are_sent_when_it_goes_on(run_dir: Path) -> None:
    rows = [{"step": step, "epoch": 0.0, "train/loss": 1.0 / step} for step in range(1, 7)]
    jsonl = JsonLines()
    jsonl.start(run_dir, 0, 0)
    killed = MLflow(tracking_uri=None, experiment=None, timeout=30.0)
    killed.start(run_dir, 0, 0)
    for row in rows:
        jsonl.log(row)
        if row["step"] < 3:
            killed.log(row)
    killed.send()
    again = MLflow(tracking_uri=None, experiment=None, timeout=30.0)
    again.start(run_dir, 5, 5)
    again.log(rows[5])
    again.close("preempted")
    assert sorted(history(run_dir, "train/loss")) == [(row["step"], row["train/loss"]) for row in rows]
    (only,) = stored(run_dir)
    assert only.info.status == "KILLED"


def test_what_it_cannot_take_does_not_break_it(run_dir: Path) -> None:
    tracker = MLflow(tracking_uri=None, experiment=None, timeout=30.0)
    tracker.start(run_dir, 0, 0)
    tracker.log({"step": 1, "epoch": 0.0, "a": math.nan, "b": math.inf, "c(d)": 1.0, "e": "text"})
    tracker.close("diverged")
    (only,) = stored(run_dir)
    assert math.isnan(only.data.metrics["a"]) and only.data.metrics["b"] > 1e308
    assert only.data.metrics["c_d_"] == 1.0 and "e" not in only.data.metrics
    assert only.info.status == "FAILED"


def test_long_values_are_cut() -> None:
    assert len(text_of("x" * 10_000)) == LONGEST
    assert name_of("data.train[0]") == "data.train_0_"


def test_runs_that_begin_at_once_make_one_database(run_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trainer_cli.tracker import MLflow\n"
        "tracker = MLflow(tracking_uri=None, experiment=None, timeout=30.0)\n"
        "tracker.start(Path(sys.argv[1]), 0, 0)\n"
        "tracker.log({'step': 1, 'epoch': 0.0})\n"
        "tracker.close()"
    )
    fields = json.loads((run_dir / "run.json").read_text())
    others = [run_dir.with_name(f"other-{number}") for number in range(2)]
    for other in others:
        shutil.copytree(run_dir, other)
        (other / "run.json").write_text(json.dumps(fields | {"id": other.name}))
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(one)]) for one in (run_dir, *others)]
    assert [job.wait(120) for job in jobs] == [0, 0, 0]
    assert {one.info.run_name for one in stored(run_dir)} == {run_dir.name, "other-0", "other-1"}
