"""`trainer-cli show RUN`: what a run is, how it came about, and what it came to."""

from __future__ import annotations

import json
import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.errors import UserError
from trainer_cli.runs.columns import STATUS
from trainer_cli.runs.console import console
from trainer_cli.runs.listing import ago, as_object, as_text, span
from trainer_cli.runs.named import LATEST, runs_named
from trainer_cli.runs.record import CONFIG, FILE
from trainer_cli.runs.select import Run
from trainer_cli.tracker.jsonl import FILE as METRICS

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}|.+_[0-9a-f]{12}")
"""The id of a run, or of a sweep's job."""
FIRST = (CONFIG, METRICS, "train.log")
FEW = 5
"""Checkpoints that are named."""
COMMANDS = ("command", "go on", "again")
"""What is to be copied, and so left in one line."""


def is_run(word: str) -> bool:
    """Whether the word is meant for a run rather than a key of the configuration."""
    return (
        word == LATEST or ID.fullmatch(word) is not None or "/" in word or os.path.isfile(Path(word) / FILE)
    )


def print_run(word: str, as_json: bool) -> None:
    """One page on a run; raises UserError where there is none, or there are several."""
    records = runs_named([word])
    if len(records) > 1:
        names = [f"trainer-cli show {record.run_dir}" for record in records[-2:]]
        raise UserError(
            f"{word} holds {len(records)} runs, and show takes one",
            right="\n".join([f"trainer-cli runs {word} lists them", *names]),
        )
    run = Run(records[0])
    if as_json:
        print(json.dumps(as_object(run.record), indent=1, allow_nan=False))
        return
    out = console()
    head = Text(str(run.record.run_dir), "bold").append("  ").append(run.status, STATUS.get(run.status, ""))
    out.print(head, soft_wrap=True)
    for name, text in facts(run):
        width = out.width - MARGIN if out.is_terminal and name not in COMMANDS else 0
        lines = textwrap.wrap(text, width, break_on_hyphens=False) if width > 0 else [text]
        line = Text(f"{name:>{MARGIN - 2}}", "bold").append("  " + f"\n{'':{MARGIN}}".join(lines), "not bold")
        out.print(line, soft_wrap=True)


MARGIN = 13


def facts(run: Run) -> Iterator[tuple[str, str]]:
    """All that there is to say of a run, a name and a line each."""
    fields, run_dir = run.record.fields, run.record.run_dir
    command = shlex.join(["trainer-cli", *fields.get("argv", ())])
    yield "command", command
    sweep = fields.get("sweep")
    if sweep:
        values = " ".join(f"{key}={as_text(value)}" for key, value in (sweep.get("values") or {}).items())
        yield "sweep", f"{sweep.get('name')}, job {sweep.get('number')}: {values}"
    if fields.get("overrides") and fields["overrides"] != fields.get("argv"):
        yield "overrides", shlex.join(fields["overrides"])
    yield "started", started(run)
    yield "steps", f"{'none' if run.steps is None else run.steps} of {fields.get('total_steps', '?')}"
    if run.record.error:
        yield "error", " ".join(run.record.error.split())
    if fields.get("stopped"):
        yield "stopped", str(fields["stopped"])
    yield from results(run)
    yield from ((name, str(text)) for name, text in (fields.get("summary") or {}).items() if name != "steps")
    yield from provenance(fields)
    yield from contents(run_dir)
    if run.status in ("preempted", "failed") and sweep:
        yield "go on", "the sweep's own command again goes on with it"
    elif run.status in ("preempted", "failed") and Checkpoints(run_dir, None).steps():
        yield "go on", f"trainer-cli resume={shlex.quote(str(run_dir))}"
    yield "again", f"trainer-cli rerun {shlex.quote(str(run_dir))}"


def started(run: Run, now: bool = True) -> str:
    """When, where and for how long it ran; not how long ago, where that is not read `now`."""
    fields = run.record.fields
    text = f"{run.created:%Y-%m-%d %H:%M:%S}" if run.created else "?"
    text += f", {ago(run.age)} ago" if now and run.created else ""
    text += f", on {fields['host']}" if fields.get("host") else ""
    if run.seconds is not None:
        text += f"; {'runs for' if run.status == 'running' else 'took'} {span(run.seconds)}"
    sessions = fields.get("sessions") or ()
    if len(sessions) > 1:
        text += f"; resumed at step {', '.join(str(one.get('step')) for one in sessions[1:])}"
    if fields.get("parent"):
        text += f"; from {as_text(fields['parent'])}"
    elif fields.get("resume_from"):
        text += f"; from {fields['resume_from']}"
    return text


def results(run: Run) -> Iterator[tuple[str, str]]:
    """What it came to."""
    fields = run.record.fields
    if run.best is not None:
        yield "best", f"{run.best[0]} {run.best[1]:.5g} at step {fields['best'].get('step')}"
    numbers = fields.get("results") or {}
    if numbers:
        texts = [
            f"{name} {'nan' if value is None else format(value, '.5g')}" for name, value in numbers.items()
        ]
        yield "at the end", " · ".join(texts)


def provenance(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Code, packages, machine, seed and data."""
    git = fields.get("git")
    code = "no git repository"
    if git:
        code = f"commit {git['commit'][:12]}"
        code += (
            f", with uncommitted changes ({git['changes']})" if git.get("dirty") else ", nothing uncommitted"
        )
    yield "code", code
    packages = fields.get("packages") or {}
    if packages:
        yield "packages", " · ".join(f"{name} {packages[name]}" for name in packages if name in SHOWN)
    machine = dict(fields.get("machine") or {})
    if machine.get("memory"):
        machine["memory"] = f"{machine['memory'] / 2**30:.1f} GiB"
    if machine:
        yield "machine", " · ".join(f"{name} {as_text(value)}" for name, value in machine.items() if value)
    count = fields.get("processes")
    yield "seed", f"{fields.get('seed', '?')}" + (f", in {count} processes" if count and count > 1 else "")
    yield "identity", f"{fields.get('identity', '?')}, data {fields.get('data_fingerprint') or '?'}"


SHOWN = ("trainer-cli", "torch", "transformers", "datasets", "accelerate", "numpy")
"""Packages of the page; run.json has all."""


def contents(run_dir: Path) -> Iterator[tuple[str, str]]:
    """Checkpoints and files."""
    steps = Checkpoints(run_dir, None).steps()
    named = ", ".join(f"checkpoint-{step}" for step in steps[-FEW:])
    more = f"{len(steps) - FEW} older and " if len(steps) > FEW else ""
    yield "checkpoints", more + named if steps else "none"
    names = sorted(
        path.name + "/" * path.is_dir()
        for path in run_dir.iterdir()
        if not path.name.startswith((".", "checkpoint-")) and path.name != FILE
    )
    yield (
        "files",
        ", ".join([*(name for name in FIRST if name in names), *(n for n in names if n not in FIRST)]),
    )
