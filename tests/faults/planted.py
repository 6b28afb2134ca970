"""Run directories that others have prepared: links that lead out, and files that are not what they say.

A run that is resumed in one writes nothing outside of it, and ends as ever or is refused in one block. What
looks at runs shows those that are whole, and of the others nothing but text reaches the terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import IO

from .bench import (
    INTERVAL,
    PROJECT,
    RECIPES,
    Bench,
    Fault,
    Part,
    check,
    check_block,
    check_same_end,
    only_run,
    step_of,
)
from .damage import PLAIN, checkpoints, go_on, killed

SECONDS = 60
"""Far more than any of them takes: what waits for a pipe waits for ever."""

OUTSIDE = "of the user's\n"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"


class Kept:
    """The killed run of each recipe, made once and copied for each trial."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.outputs: dict[tuple[int, str], Path] = {}

    def copy(self, bench: Bench, recipe: str) -> Path:
        """The folder of a killed run, to be changed at will."""
        with self.lock:
            key = id(bench), recipe
            if key not in self.outputs:
                self.outputs[key] = killed(bench, recipe)
        copy = bench.new("planted") / "outputs"
        shutil.copytree(self.outputs[key], copy)
        return copy


KEPT = Kept()


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def hard_link(path: Path, target: Path) -> None:
    os.link(target, path)


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def loose(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("made"))


def folder(path: Path, target: Path) -> None:
    path.symlink_to(target.parent / "folder")


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "a link": link,
    "a link to nowhere": loose,
    "a hard link": hard_link,
    "a pipe": pipe,
    "a link to a folder": folder,
}
NEW = (
    "train.log",
    "nonfinite-{next}.jsonl",
    ".run.json",
    ".config.yaml",
    ".unfinished-run.json",
    "report.html",
)
FOLDERS = ("model", "ranks", ".unfinished-checkpoint-{next}", ".unfinished-model", "checkpoint-{next}")
PLANTS = (
    *((name, kind) for name in (*NEW, "metrics.jsonl") for kind in KINDS),
    *((name, kind) for name in ("run.json", "config.yaml") for kind in KINDS),
    *((name, kind) for name in FOLDERS for kind in KINDS),
)


def outside_of(outputs: Path) -> Path:
    """A file of the user's beside which there is a folder of his."""
    outside = outputs.parent / "outside" / "file"
    (outside.parent / "folder").mkdir(parents=True)
    outside.write_text(OUTSIDE)
    (outside.parent / "folder" / "kept").write_text(OUTSIDE)
    return outside


def check_outside(outside: Path, told: str, text: bytes) -> None:
    """Raise Fault unless all is there as it was, and nothing more."""
    found = {str(path.relative_to(outside.parent)): path for path in outside.parent.rglob("*")}
    check(sorted(found) == ["file", "folder", "folder/kept"], f"{told}: outside there is {sorted(found)}")
    check(outside.read_bytes() == text, f"{told}: the file outside is another")
    check(found["folder/kept"].read_text() == OUTSIDE, f"{told}: what is in the folder outside is another")


def plant(bench: Bench, recipe: str, draw: Random, name: str, kind: str) -> str:
    """Something planted in the place of a file or folder of a run, which then goes on."""
    outputs = KEPT.copy(bench, recipe)
    run_dir, outside = only_run(outputs), outside_of(outputs)
    path = run_dir / name.format(next=step_of(checkpoints(run_dir)[0]) + INTERVAL)
    if path.is_file() and not path.is_symlink() and kind != "a link to nowhere":
        shutil.copyfile(path, outside)  # so that what is read through the link is the run's own
    if path.exists():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    text = outside.read_bytes()
    KINDS[kind](path, outside)
    started = go_on(bench, recipe, outputs)
    code, told = started.process.returncode, f"{path.name} is {kind}: "
    check_outside(outside, told + f"exit code {code}, {started.tail}", text)
    check(code in (0, 1, 2), f"{told}exit code {code}: {started.tail}")
    if code:
        check_block(started.err)
        check(path.name in started.err, f"{told}{path.name} is not named in {started.err!r}")
        return f"{told}refused"
    fresh = [path for path in outputs.glob("*/*") if path != run_dir]
    check(not fresh, f"{told}began anew, saying {started.err!r}")
    if os.path.lexists(path) and path.name.startswith((".", "nonfinite-", "report", "ranks")):
        path.unlink()  # nobody wrote there
    try:
        check_same_end(run_dir, bench.whole(f"+recipe={recipe}", *PLAIN).run_dir)
    except Fault as fault:
        raise Fault(f"{told}{fault}, saying {started.err!r}") from None
    return f"{told}resumed"


def fields(**more: object) -> str:
    """A record that says more than it should."""
    known = {"id": "20990101-000000-abcd", "created": "2099-01-01", "status": "finished", "name": "x"}
    return json.dumps({**known, **more})


RECORDS: dict[str, str | bytes | None] = {
    "nested deeply": "[" * 200_000,
    "objects nested deeply": fields()[:-1] + ', "more": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "a text for results": fields(results="text"),
    "a text for a score": fields(results={"eval/loss": "text"}),
    "a number of 5,000 digits": fields()[:-1] + ', "step": 1' + "0" * 5000 + "}",
    "a number of 400 digits": fields(results={"eval/loss": 10**400}),
    "escapes": fields(error=ESCAPES, status="failed", results={f"eval/{ESCAPES}": 1.0}),
    "no utf-8": b'{"id": "\xff"}',
    "a pipe": None,
    "cut off": fields()[:-9],
    "empty": "",
}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)
TEXTS: dict[str, str] = {
    "aliases": BOMB,
    "lists nested deeply": "a: " + "[" * 200_000,
    "dashes nested deeply": "a:\n  " + "- " * 200_000 + "x",
    "objects nested deeply": "{a: " * 200_000,
}


def look(bench: Bench, recipe: str, draw: Random, what: str) -> str:
    """A record that is not what it says beside a run that is whole: all that looks at runs shows this one."""
    outputs = KEPT.copy(bench, recipe)
    run_dir, text = only_run(outputs), RECORDS[what]
    other = run_dir.parent / f"20990101-000000-abcd{ESCAPES}"
    other.mkdir()
    if text is None:
        os.mkfifo(other / "run.json")
    else:
        (other / "run.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for verb in (("runs", str(outputs)), ("runs", str(outputs), "status=failed"), ("show", str(run_dir))):
        folder = bench.new("looked")
        with (folder / "said").open("wb") as said:
            code = spawn(verb, said)
        seen = (folder / "said").read_text(errors="replace")
        told = f"{what}, {verb[0]}: exit code {code}: {seen[-300:]!r}"
        check(code == 0 and run_dir.name in seen and "Traceback" not in seen, told)
        check(not set("\x1b\x07\u202e") & set(seen), told)
    started = go_on(bench, recipe, outputs)
    check(
        started.process.returncode == 0, f"{what}: resume=auto: {started.process.returncode} {started.tail}"
    )
    check(json.loads((run_dir / "run.json").read_text())["status"] == "finished", f"{what}: not resumed")
    return f"{what}: all others are shown, and the run goes on"


def spawn(words: tuple[str, ...], said: IO[bytes]) -> int:
    """`trainer-cli WORDS`, all that it says in one file; its exit code."""
    command = [sys.executable, "-m", "trainer_cli", *words]
    try:
        return subprocess.run(command, cwd=PROJECT, stdout=said, stderr=said, timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise Fault(f"{' '.join(words)} did not end") from None


def read(bench: Bench, recipe: str, draw: Random, what: str) -> str:
    """A configuration of few lines that would take minutes, or all memory: refused at once, in one block."""
    outputs = KEPT.copy(bench, recipe)
    run_dir = only_run(outputs)
    (run_dir / "config.yaml").write_text(TEXTS[what])
    started = bench.start([f"+recipe={recipe}", *PLAIN, "resume=auto"], outputs)
    started.wait(SECONDS)
    told = f"{what}: exit code {started.process.returncode}: {started.tail}"
    check(started.process.returncode == 2, told)
    check_block(started.err)
    check("config.yaml" in started.err and len(started.err) < 2000, told)
    return f"{what}: refused"


def verified(bench: Bench, recipe: str, draw: Random, name: str) -> str:
    """A pipe in the place of a checkpoint's file: verify names it, and the older checkpoint serves."""
    outputs = KEPT.copy(bench, recipe)
    run_dir = only_run(outputs)
    newest, older = checkpoints(run_dir)[:2]
    (newest / name).unlink()
    os.mkfifo(newest / name)
    folder = bench.new("looked")
    with (folder / "said").open("wb") as said:
        code = spawn(("verify", str(run_dir)), said)
    seen = (folder / "said").read_text()
    check(code == 1 and f"{name} " in seen, f"verify: exit code {code}: {seen}")
    started = go_on(bench, recipe, outputs)
    check(started.process.returncode == 0, f"exit code {started.process.returncode}: {started.tail}")
    resumed = Path(json.loads((run_dir / "run.json").read_text())["resume_from"]).name
    check(resumed == older.name, f"resumed from {resumed}, not {older.name}")
    return f"{name} is a pipe: found"


CASES: tuple[tuple[Callable[..., str], tuple[str, ...]], ...] = (
    *((plant, case) for case in PLANTS),
    *((look, (what,)) for what in RECORDS),
    *((read, (what,)) for what in TEXTS),
    *((verified, (name,)) for name in ("manifest.json", "state.json", "model.safetensors")),
)


def trial(bench: Bench, number: int, draw: Random) -> str:
    """One of the cases, on the run of one of the recipes."""
    case, words = CASES[number % len(CASES)]
    recipe = RECIPES[(number // len(CASES) + number) % len(RECIPES)]
    try:
        return f"{recipe}, {case(bench, recipe, draw, *words)}"
    except Fault as fault:
        raise Fault(f"{recipe}, {' '.join(words)}: {fault}") from None


PART = Part("planted", len(CASES), trial)
