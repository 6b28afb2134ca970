"""What a sweep costs beside its training, and how long its results take to look at."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.side_by_side import Figure

COMMAND = [sys.executable, "-m", "trainer_cli"]
SHORT = (
    "+recipe=glue",
    "args.max_steps=3",
    "args.eval_strategy=no",
    "args.stages=[train]",
    "callbacks.progress=null",
)
FEW, MANY = 2, 10


def figures() -> Iterator[Figure]:
    """Seconds a job beside its own training; seconds of `runs` and `report`, and the size of the page."""
    warm, cold = [overhead("true") for _ in range(3)], [overhead("false")]
    yield Figure("a warm job beside what its run does, seconds", "< 0.5", [run for run, _ in warm])
    yield Figure("a warm job beside its updates, seconds", "", [updates for _, updates in warm])
    yield Figure("a cold job beside what its run does, seconds", "", [run for run, _ in cold])
    with tempfile.TemporaryDirectory() as folder:
        many_runs(Path(folder), 1000)
        yield Figure("runs over 1,000 runs, seconds", "< 1.0", [seconds("runs", folder) for _ in range(5)])
    with tempfile.TemporaryDirectory() as folder:
        (run,) = many_runs(Path(folder), 1, rows=100_000)
        taken = [seconds("report", str(run)) for _ in range(5)]
        yield Figure("report of 100,000 rows, seconds", "< 3.0", taken)
        yield Figure("its page, MB", "< 2.0", [(run / "report.html").stat().st_size / 1e6])


def overhead(warm: str) -> tuple[float, float]:
    """Seconds that each further job adds to a sweep: beyond what its run does, and beyond its updates alone.

    What a run does begins with its first stage, all being imported, and ends when its model is written.
    """
    with tempfile.TemporaryDirectory() as folder:
        taken, ran, trained = [], [], []
        for name, count in (("few", FEW), ("many", MANY)):
            words = [
                *SHORT,
                f"args.seed=range({count})",
                f"sweep.warm={warm}",
                f"args.output_dir={folder}/{name}",
            ]
            taken.append(seconds("-m", *words))
            files = list(Path(folder, name).rglob("run.json"))
            trained.append(sum(json.loads(file.read_text())["results"]["train/seconds"] for file in files))
            ran.append(sum(file.stat().st_mtime - first_stage(file.parent) for file in files))
        each = [(parts[1] - parts[0]) / (MANY - FEW) for parts in (taken, ran, trained)]
        return each[0] - each[1], each[0] - each[2]


def first_stage(run_dir: Path) -> float:
    """When the first line of a run's log was written."""
    stamp = (run_dir / "train.log").read_text()[: len("2026-01-01 00:00:00,000")]
    return datetime.datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def seconds(*words: str) -> float:
    """Wall time of a command that ends well."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def many_runs(folder: Path, count: int, rows: int = 20) -> list[Path]:
    """Copies of a run, each with an id, a learning rate and scores of its own, and so many training rows."""
    subprocess.run([*COMMAND, *SHORT, f"args.output_dir={folder}/first"], check=True, capture_output=True)
    (file,) = (folder / "first").rglob("run.json")
    record, config = json.loads(file.read_text()), (file.parent / "config.yaml").read_text()
    lines = "".join(
        json.dumps(
            {
                "step": step,
                "epoch": step / 100,
                "train/loss": math.exp(-step / rows) + 0.1 * math.sin(step),
                "train/grad_norm": 1 + math.cos(step),
                "train/lr": 1e-4 * (1 - step / rows),
            }
        )
        + "\n"
        for step in range(1, rows + 1)
    )
    made = []
    for number in range(count):
        run_dir = folder / "copies" / f"20260101-000000-{number:04x}"
        (run_dir / "checkpoint-3").mkdir(parents=True)
        fields = {**record, "id": run_dir.name, "results": {"eval/loss": 1 / (1 + number)}}
        (run_dir / "run.json").write_text(json.dumps(fields, indent=1))
        (run_dir / "config.yaml").write_text(config)
        (run_dir / "metrics.jsonl").write_text(lines)
        made.append(run_dir)
    return made
