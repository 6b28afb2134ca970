"""The directory of a long run, without the run: `python tests/long_run.py DIR [ROWS]`."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any


def long_run(run_dir: Path, rows: int = 100_000, **fields: Any) -> Path:
    """Write run.json, config.yaml and metrics.jsonl of a run with so many rows, one in 100 an evaluation's.

    `fields` are added to run.json. In the middle one training loss is 1,000, three quarters on one is nan.
    """
    run_dir.mkdir(parents=True)
    record = {
        "id": run_dir.name,
        "name": "long",
        "status": "finished",
        "created": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-02T01:00:00+00:00",
        "host": "elsewhere",
        "argv": ["+recipe=glue", "optim.lr=0.01"],
        "overrides": ["+recipe=glue", "optim.lr=0.01"],
        "choices": {"recipe": "glue", "optim": "adamw"},
        "seed": 1,
        "metric": {"name": "eval/accuracy", "greater_is_better": True},
        "results": {"eval/loss": 0.25, "eval/accuracy": 0.75},
        "total_steps": rows,
        "step": rows,
        **fields,
    }
    (run_dir / "run.json").write_text(json.dumps(record))
    (run_dir / "config.yaml").write_text("args:\n  seed: 1\noptim:\n  lr: 0.01\n")
    with (run_dir / "metrics.jsonl").open("w") as file:
        for row in numbers(rows, random.Random(rows)):
            file.write(json.dumps(row) + "\n")
    return run_dir


def numbers(rows: int, draw: random.Random) -> list[dict[str, Any]]:
    """The rows: loss falls from 1, with noise."""
    found: list[dict[str, Any]] = []
    for step in range(1, rows + 1):
        at = {"step": step, "epoch": step / 1000}
        loss: float | str = math.exp(-5 * step / rows) + draw.uniform(0, 0.2)
        if step % 100 == 0:
            found.append({**at, "eval/loss": loss, "eval/accuracy": 1 - float(loss) / 2})
            continue
        if step == rows // 2 + 1:
            loss = 1000.0
        if step == rows * 3 // 4 + 1:
            loss = "nan"
        rate = 0.01 * (1 - step / rows)
        found.append(
            {
                **at,
                "train/loss": loss,
                "train/lr": rate,
                "train/grad_norm": draw.lognormvariate(0, 1),
                "train/lr/decay": rate,
                "train/lr/no_decay": rate,
                "train/samples_per_second": draw.gauss(1000, 50),
                "train/seconds_per_step": draw.gauss(0.016, 0.001),
                "train/tokens_per_second": draw.gauss(30_000, 1500),
                "train/tokens_seen": step * 480,
                "train/peak_device_memory_mb": 12_000 + step / 1000,
            }
        )
    return found


if __name__ == "__main__":
    print(long_run(Path(sys.argv[1]), *map(int, sys.argv[2:])))
