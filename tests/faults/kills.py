"""SIGKILL at random times and at each kind of file operation; then the same command to the end."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from random import Random

from .bench import (
    INTERVAL,
    LIMIT,
    RECIPES,
    Bench,
    Fault,
    Part,
    Started,
    Whole,
    check,
    check_same_end,
    last_row,
    last_row_of,
    newest,
    newest_of,
    record,
    runs,
    size,
    step_of,
)

HOW = ("before", "torn", "power")


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Kill a run once or more, each time going on with it by the same command, and compare the end."""
    recipe = RECIPES[number % len(RECIPES)]
    background = draw.random() < 0.5
    words = [f"+recipe={recipe}", f"checkpoint.async_save={str(background).lower()}", "resume=auto"]
    whole = bench.whole(f"+recipe={recipe}")
    outputs = bench.new("killed")
    story = [f"{recipe}, {'background' if background else 'plain'} saves"]
    kills = 1 + (draw.random() < 0.4) + (draw.random() < 0.2)
    began = 1
    try:
        for kill in range(kills):
            before = newest_of(outputs)
            at_operation = (number // len(RECIPES)) % 2 == 0
            started, how = (kill_at_operation if at_operation else kill_at_time)(
                bench, words, outputs, whole, draw, number if kill == 0 else None
            )
            story.append(how)
            if started.process.returncode == 0:  # it was faster than the kill
                break
            check(started.process.returncode == -9, f"it ended by itself: {started.tail}")
            check_lost(outputs, before, background)
            began += newest_of(outputs) == 0
        before = newest_of(outputs)
        started = bench.start(words, outputs)
        check(started.wait() == 0, f"no resume: {started.tail}")
        check_resumed(outputs, before)
        check(len(runs(outputs)) <= began, f"{len(runs(outputs))} runs, where {began} had to begin anew")
        check_same_end(runs(outputs)[-1], whole.run_dir)
    except Fault as fault:
        raise Fault(f"{'; '.join(story)}: {fault} [{outputs}]") from None
    return f"{'; '.join(story)}; resumed from {before}"


def kill_at_operation(
    bench: Bench, words: list[str], outputs: Path, whole: Whole, draw: Random, number: int | None
) -> tuple[Started, str]:
    """At one of the run's file operations; by its number each kind of them gets its turn."""
    kinds = by_kind(whole.operations)
    turn = draw.randrange(len(kinds)) if number is None else number // (2 * len(RECIPES))
    at = draw.choice(list(kinds.values())[turn % len(kinds)])
    how = HOW[draw.randrange(len(HOW))]
    started = bench.start_counted(words, outputs, at, how)
    started.wait()
    return started, f"killed ({how}) at operation {at}, {last_operation(started)}"


def kill_at_time(
    bench: Bench, words: list[str], outputs: Path, whole: Whole, draw: Random, number: int | None
) -> tuple[Started, str]:
    """At a random time: mostly while it trains, now and then before."""
    rows = last_row_of(outputs)
    started = bench.start(words, outputs)
    if draw.random() < 0.2:
        after, phase = draw.random() * whole.train, "the start"
    else:
        started.wait_for(lambda: last_row_of(outputs) != rows)
        after, phase = draw.random() * (whole.end - whole.train), "its first row"
    started.sleep(after)
    started.kill()
    return started, f"killed {after:.2f} s after {phase}"


def by_kind(operations: list[str]) -> dict[str, list[int]]:
    """The numbers of the operations of each kind: of the same name, on the same file but for the step."""
    kinds: dict[str, list[int]] = defaultdict(list)
    for number, operation in enumerate(operations):
        name, *paths = operation.split(" ")
        inside = [re.sub(r"\d+", "N", "/".join(path.split("/")[2:])) for path in paths]
        kinds[f"{name} {' '.join(inside)}"].append(number)
    return kinds


def last_operation(started: Started) -> str:
    """The one that it was killed at."""
    log = started.folder / "operations"
    lines = log.read_text().splitlines() if log.exists() else []
    name, *paths = lines[-1].split(" ") if lines else ("none",)
    return f"{name} {' '.join('/'.join(path.split('/')[2:]) for path in paths)}"


def check_lost(outputs: Path, before: int, background: bool) -> None:
    """Raise Fault if the kill has cost more than the save that was under way, or left too much behind."""
    found = runs(outputs)
    if not found:
        return
    run_dir, step = found[-1], newest(found[-1])
    check(step >= before, f"checkpoint-{before} was whole, and now {step} is the newest")
    row = last_row(run_dir)
    # A row comes before the save of its step; a save in the background is done before the next one begins.
    begun = (row - 1) // INTERVAL * INTERVAL
    check(step >= begun - INTERVAL, f"at step {row} the newest whole checkpoint is {step}")
    if not background:
        check(row - step <= INTERVAL, f"at step {row} the newest whole checkpoint is {step}, and saves wait")
    checkpoints = [path for path in run_dir.iterdir() if "checkpoint-" in path.name]
    # The protected best one, the one that is written, and the one that it stands in for.
    check(len(checkpoints) <= LIMIT + 2, f"{len(checkpoints)} checkpoints on the disk")
    check(size(run_dir) < (LIMIT + 3) * max(size(path) for path in [*checkpoints, run_dir]), "too large")


def check_resumed(outputs: Path, newest_before: int) -> None:
    """Raise Fault unless the last run went on from the newest checkpoint that there was."""
    fields = record(runs(outputs)[-1])
    if fields["step"] == newest_before:
        return
    resumed = fields["resume_from"]
    step = 0 if resumed is None else step_of(Path(resumed))
    check(step == newest_before, f"went on from {step}, and checkpoint-{newest_before} was whole")


PART = Part("kills", 200, trial)
