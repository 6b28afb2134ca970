"""SIGINT, SIGTERM and SIGUSR1 at random times; then the same command to the end."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

from .bench import (
    LIMIT,
    RECIPES,
    Bench,
    Fault,
    Part,
    Started,
    Whole,
    check,
    check_block,
    check_same_end,
    last_row_of,
    newest,
    newest_of,
    record,
    runs,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
MOMENTS = ("start", "training", "evaluation", "save", "end")
LONG_EVALUATIONS = ("data.eval.size=3000",)
GRACE = 30.0
"""Seconds within which a run has to be gone, on a machine that has other things to do."""


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Stop a run by a signal, look at what it left, go on with it, and compare the end."""
    recipe, sent = RECIPES[number % len(RECIPES)], draw.choice(SIGNALS)
    moment = MOMENTS[number % len(MOMENTS)]
    words = [f"+recipe={recipe}", *(LONG_EVALUATIONS if moment == "evaluation" else ())]
    whole, outputs = bench.whole(*words), bench.new("signalled")
    words.append("resume=auto")
    told, stops = f"{recipe}, {sent.name} at its {moment}", set()
    try:
        for _ in range(1 + (draw.random() < 0.4)):
            before, starts = last_row_of(outputs), starts_of(outputs)
            began = send(bench, words, outputs, whole, sent, moment, draw)
            code = began.process.returncode
            told += f", from step {before} to {last_row_of(outputs)}: {code}"
            if code == 0:
                break
            check_stopped(outputs, began, sent, starts)
            stops.add(f"checkpoint-{newest_of(outputs)}")
        anew = newest_of(outputs) == 0
        ended = bench.start(words, outputs)
        check(ended.wait() == 0, f"no resume: {ended.tail}")
        check(anew or len(runs(outputs)) == 1, "the run that was stopped was not gone on with")
        run_dir = runs(outputs)[-1]
        # The checkpoint of the step at which it stopped takes the place of an older one, and it may be of the
        # moment before the step's evaluation.
        own, theirs = ({path.name for path in of.glob("checkpoint-*")} for of in (run_dir, whole.run_dir))
        check(len(own) <= LIMIT + 1, f"{sorted(own)} are too many")
        check_same_end(run_dir, whole.run_dir, but=stops | (theirs - own))
    except Fault as fault:
        raise Fault(f"{told}: {fault} [{outputs}]") from None
    return told


def send(
    bench: Bench, words: list[str], outputs: Path, whole: Whole, sent: int, moment: str, draw: Random
) -> Started:
    """Start the run and send the signal; returns when the run has ended."""
    if moment == "save":
        saves = [at for at, name in enumerate(whole.operations) if "checkpoint-" in name]
        started = bench.start_counted(words, outputs, draw.choice(saves), f"signal {int(sent)}")
    else:
        rows = last_row_of(outputs)
        started = bench.start(words, outputs)
        span = whole.end - whole.train
        if moment == "start":
            span = whole.train
        elif moment == "end":
            started.wait_for(lambda: last_row_of(outputs) >= last_row_of(whole.run_dir.parent.parent))
            span = 0.5
        else:
            started.wait_for(lambda: last_row_of(outputs) != rows)
        started.sleep(draw.random() * span)
        started.process.send_signal(sent)
    started.wait(GRACE)
    return started


def starts_of(outputs: Path) -> int:
    """How often the newest run was started."""
    return len(record(runs(outputs)[-1])["sessions"]) if runs(outputs) else 0


def check_stopped(outputs: Path, started: Started, sent: int, starts: int) -> None:
    """Raise Fault unless the run ended as one does that is stopped, with its step saved."""
    code, found = started.process.returncode, runs(outputs)
    # Nothing had begun: Python itself was still being loaded, or the command line read.
    if starts_of(outputs) == starts:
        check(code != 0, "exit code 0")
        return
    check(code == 128 + sent, f"exit code {code}: {started.tail}")
    check_block(started.err)
    run_dir, fields = found[-1], record(found[-1])
    check(fields["status"] == "preempted", f"status {fields['status']}")
    check(not (run_dir / "model").exists(), "a model was written")
    row, step = last_row_of(outputs), newest(run_dir)
    check(step >= row, f"step {row} is logged, and {step} saved")
    check(fields.get("step", 0) in (0, step), f"run.json says step {fields.get('step')}, and {step} is saved")


PART = Part("signals", 50, trial)
