"""How long going on takes beyond a fresh start, after few updates and after many."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.side_by_side import Figure
from benchmarks.startup import COMMAND, until_moment

EARLY, LATE = 10, 100_000
PAIRS = 5
POINTS = [
    "plugins=[benchmarks]",
    "data=python",
    f"data.train={{_target_: benchmarks.parts.Points, size: {8 * LATE}}}",
    "model=mlp",
    "model.in_features=32",
    "model.out_features=2",
    "loss=cross_entropy",
    "args.eval_strategy=no",
    "args.stages=[train]",
    "args.logging_steps=1000",
    "args.save_strategy=steps",
    "args.save_total_limit=null",
    "callbacks.progress=null",
]
ENCODER = ["+recipe=glue", "plugins=[benchmarks]", "args.eval_strategy=no", "args.stages=[train]"]


def figures() -> Iterator[Figure]:
    """Seconds to the first update, less those of a fresh run, in turns; and of a 22M-parameter encoder."""
    with tempfile.TemporaryDirectory() as folder:
        run = trained(Path(folder), [*POINTS, f"args.max_steps={LATE}", f"args.save_steps={LATE}"])
        early = trained(Path(folder), [*POINTS, f"args.max_steps={EARLY}", f"args.save_steps={EARLY}"])
        words = [*POINTS, f"args.output_dir={folder}/first", f"args.max_steps={2 * LATE}"]
        for name, at in ((EARLY, early / f"checkpoint-{EARLY}"), (LATE, run / f"checkpoint-{LATE}")):
            yield Figure(f"resume at step {name:,}, seconds", "< 1.5", beyond(words, at, Path(folder)))
        at = trained(Path(folder), [*ENCODER, "args.max_steps=10"]) / "checkpoint-10"
        words = [*ENCODER, f"args.output_dir={folder}/first", "args.max_steps=100"]
        yield Figure("of an encoder with 270 MB, its own load too", "< 1.5", beyond(words, at, Path(folder)))


def trained(folder: Path, words: list[str]) -> Path:
    """The directory of a run that has been made."""
    before = set(folder.glob("runs/*/*"))
    command = [*COMMAND, *words, f"args.output_dir={folder}/runs"]
    subprocess.run(command, check=True, capture_output=True)
    (run_dir,) = set(folder.glob("runs/*/*")) - before
    return run_dir


def beyond(words: list[str], checkpoint: Path, folder: Path) -> list[float]:
    """Seconds to the first update of a run that goes on from the checkpoint, less those of a fresh one."""
    moment = folder / "moment"
    first = f"+callbacks.first={{_target_: benchmarks.parts.FirstStep, path: {moment}}}"
    fresh = [*COMMAND, *words, first]
    resumed = [*fresh, f"resume={checkpoint}"]
    until_moment(fresh, moment), until_moment(resumed, moment)
    return [until_moment(resumed, moment) - until_moment(fresh, moment) for _ in range(PAIRS)]
