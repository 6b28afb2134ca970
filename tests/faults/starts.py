"""Several starts at the same instant of what was killed: one trains, the others are refused."""

from __future__ import annotations

from pathlib import Path
from random import Random

from . import sweeps
from .bench import (
    RECIPES,
    Bench,
    Fault,
    Part,
    Started,
    check,
    check_block,
    check_same_end,
    last_row_of,
    newest_of,
    only_run,
    record,
    runs,
)

KINDS = ("auto", "latest", "RUN", "sweep")
MOST = 4
"""Starts at once."""


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Kill it, start it several times at once, look at what each did, and compare the end."""
    kind, count = KINDS[number % len(KINDS)], draw.randint(2, MOST)
    outputs = bench.new("started")
    story = f"{kind}, {count} starts at once"
    try:
        if kind == "sweep":
            return f"{story}; {of_sweep(bench, outputs, count, draw)}"
        return f"{story}; {of_run(bench, outputs, kind, count, number // len(KINDS), draw)}"
    except Fault as fault:
        raise Fault(f"{story}: {fault} [{outputs}]") from None


def of_run(bench: Bench, outputs: Path, kind: str, count: int, number: int, draw: Random) -> str:
    """A run, gone on with by what `kind` says."""
    recipe = RECIPES[number % len(RECIPES)]
    whole = bench.whole(f"+recipe={recipe}")
    first = bench.start([f"+recipe={recipe}", "resume=auto"], outputs)
    first.wait_for(lambda: newest_of(outputs) > 0)
    first.sleep(draw.random() * (whole.end - whole.train) / 2)
    first.kill()
    row, step, run_dir = last_row_of(outputs), newest_of(outputs), only_run(outputs)
    is_over = first.process.returncode == 0
    resume = str(run_dir) if kind == "RUN" else kind
    told = one_trains(bench, [f"+recipe={recipe}", f"resume={resume}"], outputs, count, trains=not is_over)
    check(runs(outputs) == [run_dir], "a start began a run of its own")
    sessions = record(run_dir)["sessions"]
    check(len(sessions) == 2 - is_over, f"{len(sessions)} sessions")
    check_same_end(run_dir, whole.run_dir)
    return f"{recipe} killed at step {row}, from {step}; {told}"


def of_sweep(bench: Bench, outputs: Path, count: int, draw: Random) -> str:
    """A sweep, by its own command."""
    way = sweeps.WAYS[draw.randrange(len(sweeps.WAYS))]
    words = [*sweeps.SHORT, *sweeps.KINDS["grid"], *way]
    whole, _, seconds = sweeps.whole_of(bench, "grid")
    first = bench.start(words, outputs)
    first.sleep(draw.uniform(0.2, 0.6) * seconds)
    first.kill()
    done = sweeps.finished(outputs)
    told = one_trains(bench, words, outputs, count, trains=True)
    sweeps.check_kept(done)
    sweeps.check_same(outputs, whole)
    return f"{' '.join(way)}, killed when {len(done)} jobs were done; {told}"


def one_trains(bench: Bench, words: list[str], outputs: Path, count: int, *, trains: bool) -> str:
    """Start it so many times at once; raises Fault unless one has trained, and the others were told so."""
    started = [bench.start(words, outputs) for _ in range(count)]
    codes = [one.wait() for one in started]
    refused = [one for one in started if one.process.returncode == 2]
    for one in refused:
        check_block(one.err)
        said = "is still running: " in one.err or "this sweep is being run already" in one.err
        check(said, f"refused for another reason: {one.tail}")
    others = [one for one in started if one not in refused]
    check(all(one.process.returncode == 0 for one in others), f"exit codes {codes}: {tails(others)}")
    # A machine that has other things to do may start one so late that nothing is left to do for it.
    trained = [one for one in others if " is finished\n" not in one.err]
    check(trains == bool(trained), f"none has trained: {tails(started)}")
    check(len(trained) <= 1 or words[0] == "-m", f"{len(trained)} have trained: {tails(trained)}")
    return f"{len(refused)} refused"


def tails(started: list[Started]) -> str:
    """The last of what each said."""
    return " | ".join(one.tail[-200:] for one in started)


PART = Part("starts", 60, trial)
