"""Memory of an evaluation of 20,000 rows against one of 1,000."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.side_by_side import Figure, ratios

PEAK = """
import resource, sys
from trainer_cli.cli import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def figures() -> Iterator[Figure]:
    """Peak memory of the process, 20,000 rows over 1,000, of a model with 1,000 classes."""
    values = ratios(lambda: peak(20_000), lambda: peak(1_000), pairs=2)
    yield Figure("memory of evaluating 20,000 rows / 1,000", "<= 1.1", values)


def peak(rows: int) -> float:
    """Largest resident memory of an evaluation of so many rows, in KB."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "plugins=[benchmarks]",
            "data=python",
            f"data.eval={{_target_: benchmarks.parts.Points, size: {rows}}}",
            "model=mlp",
            "model.in_features=32",
            "model.out_features=1000",
            "loss=cross_entropy",
            "+metrics.accuracy._target_=trainer_cli.metrics.Accuracy",
            "args.stages=[eval]",
            f"args.output_dir={folder}",
        ]
        command = [sys.executable, "-c", PEAK, *words]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(ended.stdout.splitlines()[-1])
