"""`trainer-cli rerun RUN`: the same run again, from its own record, and whether it comes to the same."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import apply, choices, compose, without
from trainer_cli.config.errors import UserError
from trainer_cli.config.printable import say
from trainer_cli.config.received import Trusted, check_remote_code, received
from trainer_cli.config.resume import FROM_START, Setup, block, commit, explain
from trainer_cli.prepare import (
    Prepared,
    create,
    edits,
    processes,
    recorded_folders,
    without_search_path,
)
from trainer_cli.runs.named import runs_named
from trainer_cli.runs.record import CONFIG, Record, provenance
from trainer_cli.start import carry_out
from trainer_cli.tracker.jsonl import FILE as METRICS
from trainer_cli.tracker.jsonl import read

MEASURED = ("seconds", "_per_second", "seconds_per_step", "_mb")
"""How the names of numbers end that are another each time."""

ENVIRONMENT = ("git", "packages", "machine", "processes")


def run_again(words: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str], traceback: bool) -> int:
    """Run it once more as a fresh run, with overrides on top, and compare the two; returns the exit code."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "rerun starts the processes of a run itself",
            right="trainer-cli rerun RUN, without torchrun or another launcher",
        )
    original, overrides = asked_for(words)
    made: list[Prepared] = []

    def make() -> Prepared:
        made.append(again(original, overrides, config_dirs, argv))
        return made[0]

    code = carry_out(make, traceback)
    if code in (0, 1):
        say("\n".join(comparison(original, Record.load(made[0].run_dir))), sys.stdout)
    return code


def asked_for(words: Sequence[str]) -> tuple[Record, list[str]]:
    """The run that is meant, and the overrides on top of it."""
    names = [word for word in words if Path(word).exists() or not ("=" in word or word.startswith("~"))]
    if len(names) != 1:
        raise UserError(
            f"rerun takes one run, not {len(names)}",
            right="trainer-cli rerun RUN, a run's directory or id; trainer-cli runs lists them",
        )
    overrides = [word for word in words if word not in names]
    records = runs_named(names)
    if len(records) > 1:
        raise UserError(
            f"{names[0]} holds {len(records)} runs, and rerun takes one",
            right=f"trainer-cli rerun {records[0].run_dir}, or another of them",
        )
    for word in overrides:
        key = word.lstrip("+").partition("=")[0]
        if key in ("recipe", "resume"):
            right = (
                "trainer-cli +recipe=… is a run of a recipe" if key == "recipe" else "trainer-cli resume=RUN"
            )
            raise UserError(f"a rerun has no {key}: it is the run itself, from its start", word, right)
    if records[0].status == "running":
        raise UserError(f"{records[0].run_dir} still runs", right="rerun it when it has ended")
    return records[0], overrides


def again(
    original: Record, overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str]
) -> Prepared:
    """A fresh run of the original's configuration; raises UserError where that is damaged."""
    fields = original.fields
    now = compose(overrides, config_dirs=config_dirs, strict=False)
    trusted = Trusted(now.config, overrides, now.folders)
    before = received(original.run_dir / CONFIG, trusted, recorded_folders(fields))
    made_of, chosen = without_search_path(fields.get("overrides", [])), fields.get("choices", {})
    count = fields.get("processes", before["strategy"]["num_processes"])
    if before["strategy"]["name"] != "single" and before["strategy"]["num_processes"] is None:
        before["strategy"]["num_processes"] = count
    # A sweep's study is over for this job.
    before["callbacks"].pop("pruning", None)
    config = apply(before, overrides, chosen=chosen, made_of=made_of, config_dirs=config_dirs, afresh=True)
    check_remote_code(original.run_dir / CONFIG, config, trusted)

    today = choices(overrides, config_dirs=config_dirs)
    others = [group for group, option in today.items() if option != chosen.get(group, "")]
    words = [*without(made_of, others), *overrides]
    now_is = provenance()
    diff = now_is.pop("diff")
    was = {name: fields.get(name, value) for name, value in now_is.items()}
    notes = [
        f"running {original.run_dir} again ({original.status})",
        *history(fields),
        *code_of(original, now_is["git"]),
        *changes(Setup(before, count, **was), Setup(config, processes(config), **now_is)),
        *edits(config, words, config_dirs),
    ]
    prepared = create(
        config,
        {group: option for group, option in {**chosen, **today}.items() if option},
        trusted.folders,
        argv,
        diff=diff,
        overrides=words,
        rerun_of=fields["id"],
        **now_is,
    )
    prepared.notes = notes
    return prepared


def history(fields: Mapping[str, Any]) -> list[str]:
    """What of the original's way is not in its configuration."""
    lines = []
    first, *later = fields.get("sessions") or [{"step": 0}]
    if first["step"] > 0:
        lines.append(
            f"  it began at step {first['step']} of {fields.get('parent')}: this one begins at step 0"
        )
    if later:
        steps = ", ".join(str(session["step"]) for session in later)
        lines.append(f"  it was resumed at step {steps}; that changes nothing where nothing else did")
    told_apart = [(session.get("commit"), session.get("changes")) for session in (first, *later)]
    if len(set(told_apart)) > 1 or any("argv" in session for session in later):
        lines.append("  with other code or overrides at times: this is the run as it was started last")
    if fields.get("status") == "pruned":
        lines.append("  its sweep ended it early: this one goes to its end")
    folder = (fields.get("project") or [str(Path.cwd())])[0]
    if folder != str(Path.cwd()):
        lines.append(f"  it was started in {folder}: relative paths are now those of this folder")
    return lines


def code_of(original: Record, now: Mapping[str, Any] | None) -> list[str]:
    """The code of then and of now, and what would bring that of then back."""
    then: Mapping[str, Any] | None = original.fields.get("git")
    if commit(then) == commit(now):
        return [f"  code: {commit(then)}, as then"]
    lines = [f"  code: {commit(then)} then, {commit(now)} now"]
    if then is None:
        return lines
    commands = []
    if now is None or then["commit"] != now["commit"]:
        commands.append(f"git checkout {then['commit']}")
    file = original.run_dir / (then.get("diff") or "")
    if then["dirty"] and file.is_file():
        commands.append(f"git apply {shlex.quote(str(file.resolve()))}")
        first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        lines += [] if first.startswith("diff ") else [f"    of its changes: {first}"]
    elif then["dirty"]:
        lines.append("    its changes were not kept")
    if now is not None and now["dirty"]:
        lines.append("    yours are not committed: in a clean checkout,")
    return [*lines, "    that of then is brought back by", *(f"      {command}" for command in commands)]


def changes(was: Setup, is_now: Setup) -> list[str]:
    """What is other now but the code: overrides, packages, machine, processes."""
    found = [difference for difference in explain(was, is_now) if difference.key != "git"]
    about = [
        difference
        if difference.key.partition(".")[0] in ENVIRONMENT
        else replace(difference, effect=FROM_START, why="")
        for difference in found
    ]
    return block(about) or ["  configuration, packages and machine are those of then"]


def comparison(original: Record, new: Record) -> list[str]:
    """Whether the two came to the same numbers, number by number."""
    then, now = results(original), results(new)
    names = [name for name in then if name in now]
    differing = [name for name in names if repr(then[name]) != repr(now[name])]
    lines = [f"compared with {original.run_dir}"]
    for name in names:
        if name in differing:
            lines.append(f"  {name}  {then[name]} then, {now[name]} now{apart(then[name], now[name])}")
        else:
            lines.append(f"  {name}  {now[name]}, equal to the last bit")
    if not names:
        lines.append(f"  no results to compare: that one {original.status}, this one {new.status}")
    return [*lines, f"  {of_rows(read(original.run_dir / METRICS), read(new.run_dir / METRICS))}"]


def results(record: Record) -> dict[str, Any]:
    """What a run came to, less what is another each time."""
    found = record.fields.get("results") or {}
    return {name: value for name, value in found.items() if not name.endswith(MEASURED)}


def apart(then: Any, now: Any) -> str:
    """By how much two numbers differ."""
    if not all(isinstance(value, int | float) for value in (then, now)):
        return ""
    return f": {now - then:+.3g}"


def of_rows(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """Where the rows of two runs part."""
    for number, (old, new) in enumerate(zip(then, now, strict=False)):
        shared = [name for name in old if name in new and not name.endswith(MEASURED)]
        for name in shared:
            if repr(old[name]) != repr(new[name]):
                before = f"equal up to row {number}" if number else "the rows differ from the first on"
                return f"{before}; at step {new['step']} {name} is {new[name]}, and was {old[name]}"
    fewer = min(len(then), len(now))
    if len(then) != len(now):
        return f"the first {fewer} rows are equal; that one has {len(then)}, this one {len(now)}"
    return f"all rows of {METRICS} are equal: {fewer}"
