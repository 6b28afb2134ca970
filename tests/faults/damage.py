"""Damaged files of a run that was killed: none is loaded in silence, and the next whole checkpoint serves.

Not found out is who writes a file and its entry in the manifest anew, in agreement with each other, as a
digest is no signature; nor is a digit changed in metrics.jsonl, which is in no checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from trainer_cli.checkpoint import Checkpoints, verify
from trainer_cli.runs.lock import FILE as LOCK

from .bench import (
    INTERVAL,
    RECIPES,
    Bench,
    Fault,
    Part,
    Started,
    check,
    check_block,
    check_same_end,
    files,
    only_run,
    record,
    same,
    step_of,
)
from .kinds import ANY_FILE, cases, do, flip

BROKEN = ("empty", "half of it", "zeros alone", "missing", "random bytes", "bit flipped in the middle")
"""What is tried on the files of the run that are in no checkpoint."""


def trial(bench: Bench, number: int, draw: Random) -> str:
    """Every kind of damage by the look-up that the command line does, or one of them by the command line."""
    if number < len(RECIPES):
        return detection(bench, RECIPES[number], draw)
    turn, index = divmod(number - len(RECIPES), len(SCOPES))
    recipe, scope = RECIPES[turn % len(RECIPES)], list(SCOPES)[index]
    told = f"{recipe}, {scope}"
    try:
        return f"{told}: {SCOPES[scope](bench, recipe, draw)}"
    except Fault as fault:
        raise Fault(f"{told}: {fault}") from None


def detection(bench: Bench, recipe: str, draw: Random) -> str:
    """Every kind of damage on every file of the newest checkpoint, and every bit of its manifest."""
    run_dir = only_run(killed(bench, recipe))
    scratch = bench.new("scratch")
    silent, wrong, count = [], [], 0
    newest, older = (path.name for path in checkpoints(run_dir)[:2])
    for name, kind in cases(run_dir / newest):
        copy = scratch / str(count)
        shutil.copytree(run_dir, copy)
        do(name, kind, copy / newest, copy / older, draw)
        try:
            found, rejected = Checkpoints(copy, None).newest()
        except Exception as error:
            wrong.append(f"{name}, {kind}: {error!r}")
        else:
            if found is not None and found.name == newest:
                silent.append(f"{name}, {kind}")
            elif found is None or found.name != older or newest not in " ".join(rejected):
                wrong.append(f"{name}, {kind}: {found}, {rejected}")
        count += 1
        shutil.rmtree(copy)
    bits = silent_bits(run_dir / newest / "manifest.json")
    told = f"{recipe}: {count} kinds of damage on {len(files(run_dir / newest))} files"
    check(
        not (silent or wrong or bits), f"{told}: silent {silent}; wrong {wrong}; bits of the manifest {bits}"
    )
    return f"{told}, and each bit of the manifest: all found"


def silent_bits(path: Path) -> list[tuple[int, int]]:
    """The bits of a checkpoint's file, as (byte, bit), that can turn without being found."""
    before, silent = path.read_bytes(), []
    for place in range(len(before)):
        for bit in range(8):
            flip(path, place, bit)
            if verify(path.parent) is None:
                silent.append((place, bit))
            path.write_bytes(before)
    return silent


def killed(bench: Bench, recipe: str, at: str = "third last save") -> Path:
    """The root of a run that was killed at its third last save, or at its `end`, when its model was due."""
    words, outputs = (f"+recipe={recipe}", *PLAIN), bench.new("damaged")
    whole = bench.whole(*words)
    saves = [number for number, operation in enumerate(whole.operations) if "checkpoint-" in operation]
    number = saves[-1] + 1
    if at != "end":
        name = f"checkpoint-{step_of(checkpoints(whole.run_dir)[0]) - 2 * INTERVAL}"
        number = next(number for number in saves if name in whole.operations[number])
    bench.start_counted(words, outputs, number).wait()
    check(len(checkpoints(only_run(outputs))) >= 3, "too few checkpoints")
    return outputs


PLAIN = ("checkpoint.async_save=false",)
"""So that the number of an operation says which one it is."""


def checkpoints(run_dir: Path) -> list[Path]:
    """All of them, newest first."""
    return sorted(run_dir.glob("checkpoint-*"), key=step_of, reverse=True)


def damage(run_dir: Path, count: int, draw: Random) -> list[str]:
    """Damage so many of the newest checkpoints, each in a way that is drawn; returns what was done."""
    there, done = checkpoints(run_dir), []
    kept = shutil.copytree(there[0], run_dir.parent / f"kept-{there[0].name}")
    for index, path in enumerate(there[:count]):
        older = there[index + 1] if index + 1 < len(there) else kept
        name, kind = draw.choice(
            [case for case in cases(path) if "older" not in case[1] or older != there[0]]
        )
        do(name, kind, path, older, draw)
        done.append(f"{path.name}/{name}: {kind}")
    shutil.rmtree(kept)
    return done


def go_on(bench: Bench, recipe: str, outputs: Path, *words: str) -> Started:
    """The same command again."""
    started = bench.start([f"+recipe={recipe}", *PLAIN, "resume=auto", *words], outputs)
    started.wait()
    return started


def falls_back(bench: Bench, recipe: str, draw: Random, count: int, at: str = "third last save") -> str:
    """With so many of the newest damaged, the next one serves, and what was rejected is said."""
    outputs = killed(bench, recipe, at)
    run_dir = only_run(outputs)
    names = [path.name for path in checkpoints(run_dir)]
    done = damage(run_dir, count, draw)
    started = go_on(bench, recipe, outputs)
    told = "; ".join(done)
    check(started.process.returncode == 0, f"{told}: exit code {started.process.returncode}: {started.tail}")
    check(Path(record(run_dir)["resume_from"]).name == names[count], f"{told}: not from {names[count]}")
    for name in names[:count]:
        check(name in started.err, f"{told}: {name} is not named in {started.err!r}")
    try:
        check_same_end(only_run(outputs), bench.whole(f"+recipe={recipe}", *PLAIN).run_dir)
    except Fault as fault:
        raise Fault(f"{told}: {fault}") from None
    return told


def newest(bench: Bench, recipe: str, draw: Random) -> str:
    """The newest checkpoint is damaged."""
    return falls_back(bench, recipe, draw, 1)


def newest_two(bench: Bench, recipe: str, draw: Random) -> str:
    """The two newest are damaged."""
    return falls_back(bench, recipe, draw, 2)


def last(bench: Bench, recipe: str, draw: Random) -> str:
    """The checkpoint of the run's last step is damaged: it must be written again."""
    return falls_back(bench, recipe, draw, 1, at="end")


def refused(bench: Bench, recipe: str, draw: Random, count: int | None, *words: str) -> str:
    """With so many damaged the run is refused, and nothing on the disk is changed."""
    outputs = killed(bench, recipe)
    run_dir = only_run(outputs)
    names = [path.name for path in checkpoints(run_dir)][:count]
    told = "; ".join(damage(run_dir, len(names), draw))
    before = outputs.with_name(f"{outputs.name}-before")
    shutil.copytree(outputs, before, symlinks=True)
    started = go_on(bench, recipe, outputs, *words)
    check(started.process.returncode == 2, f"{told}: exit code {started.process.returncode}: {started.tail}")
    check_block(started.err)
    for name in names:
        check(name in started.err, f"{told}: {name} is not named in {started.err!r}")
    ours, theirs = (
        {name: path for name, path in files(folder).items() if path.name != LOCK}
        for folder in (outputs, before)
    )
    changed = sorted(ours.keys() ^ theirs.keys())
    both = (name for name in ours.keys() & theirs.keys() if ours[name].is_file())
    changed += [name for name in both if not same(ours[name], theirs[name])]
    check(not changed, f"{told}: refused, and yet changed {changed}")
    return f"{told}: refused"


def best(bench: Bench, recipe: str, draw: Random) -> str:
    """The best model's weights are damaged, that are to be put in place at the end."""
    outputs = killed(bench, recipe)
    run_dir = only_run(outputs)
    kept = checkpoints(run_dir)[-1]
    kind = draw.choice(BROKEN)
    ANY_FILE[kind](kept / "model.safetensors", kept / "model.safetensors", draw)
    started = go_on(bench, recipe, outputs, "args.load_best_model_at_end=true")
    told = f"{kept.name}/model.safetensors: {kind}"
    check_block(started.err)
    check(
        kept.name in started.err, f"{told}: exit code {started.process.returncode}, saying {started.tail!r}"
    )
    return told


def every(bench: Bench, recipe: str, draw: Random) -> str:
    """All are damaged."""
    return refused(bench, recipe, draw, None)


def refuse_any(bench: Bench, recipe: str, draw: Random) -> str:
    """The newest is damaged, and the user wants to be asked."""
    return refused(bench, recipe, draw, 1, "checkpoint.on_damage=fail")


def other_file(bench: Bench, recipe: str, draw: Random, name: str) -> str:
    """A file of the run that is in no checkpoint: gone on from to the same end, or refused by its name."""
    outputs = killed(bench, recipe)
    run_dir = only_run(outputs)
    kind = draw.choice(BROKEN)
    ANY_FILE[kind](run_dir / name, run_dir / name, draw)
    started = go_on(bench, recipe, outputs)
    code, told = started.process.returncode, f"{kind}: "
    check(code in (0, 2), f"{told}exit code {code}: {started.tail}")
    if code == 2:
        check_block(started.err)
        check(name in started.err, f"{told}{name} is not named in {started.err!r}")
        return f"{told}refused"
    found = list(outputs.glob("*/*"))
    check(found == [run_dir], f"{told}began anew, saying {started.err!r}")
    try:
        check_same_end(run_dir, bench.whole(f"+recipe={recipe}", *PLAIN).run_dir)
    except Fault as fault:
        raise Fault(f"{told}{fault}, saying {started.err!r}") from None
    return f"{told}gone on with"


def run_json(bench: Bench, recipe: str, draw: Random) -> str:
    """The run's record is damaged."""
    return other_file(bench, recipe, draw, "run.json")


def config_yaml(bench: Bench, recipe: str, draw: Random) -> str:
    """Its configuration is damaged."""
    return other_file(bench, recipe, draw, "config.yaml")


def metrics(bench: Bench, recipe: str, draw: Random) -> str:
    """Its rows are damaged: the model is the same, and rows that are lost are spoken of."""
    outputs = killed(bench, recipe)
    run_dir, whole = only_run(outputs), bench.whole(f"+recipe={recipe}", *PLAIN).run_dir
    kind, rows = draw.choice(BROKEN), run_dir / "metrics.jsonl"
    ANY_FILE[kind](rows, rows, draw)
    started = go_on(bench, recipe, outputs)
    check(started.process.returncode == 0, f"{kind}: exit code {started.process.returncode}: {started.tail}")
    check(
        same(run_dir / "model" / "model.safetensors", whole / "model" / "model.safetensors"), "other weights"
    )
    steps = [row_steps(of / "metrics.jsonl") for of in (run_dir, whole)]
    lost = steps[0] != steps[1]
    check(not lost or "metrics.jsonl" in started.err, f"{kind}: rows lost, saying {started.err!r}")
    return f"{kind}: {'rows lost, and said' if lost else 'no row lost'}"


def row_steps(path: Path) -> list[int]:
    """The step of each row that can be read."""
    steps = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            steps.append(json.loads(line)["step"])
    return steps


SCOPES: dict[str, Callable[[Bench, str, Random], str]] = {
    "the newest": newest,
    "the newest two": newest_two,
    "the last": last,
    "all": every,
    "on_damage=fail": refuse_any,
    "the best": best,
    "run.json": run_json,
    "config.yaml": config_yaml,
    "metrics.jsonl": metrics,
}

PART = Part("damage", len(RECIPES) + 6 * len(SCOPES), trial)
