"""The directory of a sweep whose jobs' records are made up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_cli.runs.sweeps import SweepRecord

Values = Mapping[str, Any]
ACCURACY = {"name": "eval/accuracy", "greater_is_better": True}
LOSS = {"name": "eval/loss", "greater_is_better": False}


def finished(score: float | None, metric: Mapping[str, Any] = ACCURACY, **others: float) -> dict[str, Any]:
    """What run.json has of a run that came to its end."""
    results = {metric["name"]: score, **{f"eval/{name}": value for name, value in others.items()}}
    return {"status": "finished", "metric": metric, "results": results}


def failed(error: str = "CUDA out of memory") -> dict[str, Any]:
    """What it has of one that failed while it was built."""
    return {"status": "failed", "error": error}


def made_sweep(
    sweep_dir: Path,
    axes: Mapping[str, Sequence[Any]],
    run: Callable[[Values], dict[str, Any] | None],
    fixed: Sequence[str] = ("+recipe=glue",),
    argv: Sequence[str] = (),
) -> SweepRecord:
    """A sweep over all combinations whose jobs came to what `run` says; None: the job was never started."""
    jobs = []
    for number, combination in enumerate(itertools.product(*axes.values()), start=1):
        values = dict(zip(axes, combination, strict=True))
        words = [*fixed, *(f"{key}={value}" for key, value in values.items())]
        job = {"id": f"{number:016x}", "number": number, "values": values, "words": words}
        jobs.append({**job, "directory": f"job-{number}"})
        fields = run(values)
        if fields is not None:
            run_dir = sweep_dir / f"job-{number}"
            run_dir.mkdir(parents=True)
            own = {"id": f"run-{number}", "created": "2026-01-01", "host": "another", **fields}
            (run_dir / "run.json").write_text(json.dumps(own))
            if fields["status"] == "finished":
                (run_dir / "model").mkdir()
    sweep_dir.mkdir(exist_ok=True)
    record = SweepRecord(sweep_dir, {"name": "s", "argv": list(argv), "fixed": list(fixed), "search": "grid"})
    record.update(jobs=jobs, asked=[job["id"] for job in jobs])
    return record
