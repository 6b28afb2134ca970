"""From a command line to a run: its configuration, its directory, what it goes on from, its processes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import Composition, apply, choices, compose, dump, load
from trainer_cli.config.errors import UserError
from trainer_cli.runs.find import Found, find
from trainer_cli.runs.record import CONFIG, FILE, Record, identity, provenance


@dataclass
class Prepared:
    """A run that is ready to be started; `notes` is what to say before, `done` that nothing is left to do.

    `before` holds the texts of an old run's files that going on with it has changed.
    """

    run_dir: Path
    config: dict[str, Any]
    fresh: bool
    notes: list[str] = field(default_factory=list)
    done: bool = False
    before: dict[Path, str] = field(default_factory=dict)


def prepare(overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str]) -> Prepared:
    """Compose, check, and make the run's directory or find the one to go on in; raises UserError."""
    composition = compose(overrides, config_dirs=config_dirs, strict=False)
    resume = composition.config.get("resume")
    if resume is not None:
        chosen = choices(overrides, config_dirs=config_dirs)
        root = Path(composition.config["args"]["output_dir"])
        found = find(str(resume), root, chosen)
        if found is not None:
            return go_on(found, overrides, config_dirs, argv)
    if composition.problems:
        raise UserError.many(composition.problems)
    return begin(composition, argv)


def begin(composition: Composition, argv: Sequence[str]) -> Prepared:
    """A fresh run."""
    words = without_resume(composition.overrides)
    record = create(composition.config, composition.choices, composition.folders, argv, overrides=words)
    return Prepared(record.run_dir, composition.config, fresh=True, notes=list(composition.warnings))


def create(
    config: dict[str, Any],
    chosen: Mapping[str, str],
    folders: Sequence[Path],
    argv: Sequence[str],
    **fields: Any,
) -> Record:
    """The directory of a new run, with its record and its configuration."""
    config["resume"] = None
    name = config["run"]["name"] or chosen.get("recipe", "run").replace(",", "-")
    record = Record.create(
        Path(config["args"]["output_dir"]),
        name,
        {
            "identity": identity(config),
            "choices": dict(chosen),
            "argv": list(argv),
            "project": [str(folder) for folder in folders],
            "seed": config["args"]["seed"],
            "resume_from": None,
            **provenance(),
            **fields,
        },
    )
    dump(config, record.run_dir / CONFIG, f"run {record.fields['id']}: trainer-cli {' '.join(argv)}")
    return record


def go_on(
    found: Found,
    overrides: Sequence[str],
    config_dirs: Sequence[str],
    argv: Sequence[str],
) -> Prepared:
    """The run that was found, under its own configuration with today's values on top."""
    record, fields = found.record, found.record.fields
    folders = [Path(folder) for folder in fields["project"]]
    before = load(record.run_dir / CONFIG, folders=folders)
    today = without_resume(overrides)
    config = apply(before, today, chosen=fields["choices"], config_dirs=config_dirs)
    notes = [
        f"resuming {record.run_dir}"
        + (f" at {found.checkpoint.name}" if found.checkpoint else " from its start")
    ]
    notes += [f"rejected {reason}" for reason in found.rejected]
    changes = [f"{key}: {old!r} -> {new!r}" for key, old, new in differences(before, config)]
    notes += [f"changed {change}" for change in changes]
    values = [word for word in today if word.lstrip("+").partition("=")[0] not in fields["choices"]]
    words = [word for word in fields["overrides"] if word not in values] + values
    notes += [
        f"not applied: the recipe or a default now says {key}={new!r}, the run keeps {old!r}"
        for key, old, new in edits(config, words, config_dirs)
    ]
    if record.status == "finished" and not changes and found.newest:
        return Prepared(record.run_dir, config, False, [f"{record.run_dir} is finished"], done=True)
    changed = [record.run_dir / CONFIG, record.run_dir / FILE] if found.newest else []
    texts = {path: path.read_text(encoding="utf-8") for path in changed}
    if not found.newest:
        record = create(config, fields["choices"], folders, argv, overrides=words, parent=fields["id"])
        shutil.copy(found.record.run_dir / "metrics.jsonl", record.run_dir)
        notes.append(
            f"a newer checkpoint exists there, so this goes on as a run of its own: {record.run_dir}"
        )
    else:
        dump(config, record.run_dir / CONFIG, f"run {fields['id']}: trainer-cli {' '.join(argv)}")
    checkpoint = None if found.checkpoint is None else str(found.checkpoint.resolve())
    record.update(resume_from=checkpoint, overrides=words)
    return Prepared(record.run_dir, config, fresh=not found.newest, notes=notes, before=texts)


def without_resume(overrides: Sequence[str]) -> list[str]:
    """The overrides of a run itself."""
    return [override for override in overrides if not override.lstrip("+").startswith("resume=")]


def edits(
    config: Mapping[str, Any], words: Sequence[str], config_dirs: Sequence[str]
) -> list[tuple[str, Any, Any]]:
    """Where the run's configuration differs from what its overrides compose now: the files were edited."""
    try:
        now = compose(words, config_dirs=config_dirs)
    except UserError:  # the recipe may be gone; the run does not need it
        return []
    return list(differences(config, now.config))


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key whose value differs, with both values; None where a side lacks it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield key, old, new


def execute(prepared: Prepared, traceback: bool, apart: bool = False) -> int:
    """Run it in as many processes as its strategy asks for; returns the exit code.

    A single process is this one, or with `apart` one of its own. A run that is refused leaves no trace.
    """
    strategy = prepared.config["strategy"]
    try:
        if strategy["name"] != "single" and "RANK" not in os.environ:
            code = execute_ranks(prepared.run_dir, strategy, traceback)
        elif apart:
            code = execute_alone(prepared.run_dir, traceback)
        else:
            from trainer_cli import rank

            code = rank.execute(prepared.run_dir, traceback)
    except UserError:
        take_back(prepared)
        raise
    if code == 2:
        take_back(prepared)
    return code


def rank_command(run_dir: Path, traceback: bool) -> list[str]:
    """Python's arguments for one process of a run."""
    return ["-m", "trainer_cli.rank", str(run_dir), *(["--traceback"] if traceback else [])]


def take_back(prepared: Prepared) -> None:
    """Remove the directory of a fresh run, and leave that of an old one as it was."""
    if prepared.fresh:
        discard(prepared.run_dir)
    for path, text in prepared.before.items():
        path.write_text(text, encoding="utf-8")


def execute_under_launcher(
    overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str], traceback: bool
) -> int:
    """This process's part of a run that a launcher started: rank 0 prepares, the others follow."""
    from trainer_cli import rank
    from trainer_cli.strategy import join

    key = f"trainer-cli/run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if os.environ["RANK"] != "0":
        run_dir = join().get(key).decode()
        return rank.leave(rank.execute(Path(run_dir), traceback) if run_dir else 0)
    prepared = prepare(overrides, config_dirs, argv)
    for note in prepared.notes:
        print(note, file=sys.stderr)
    join().set(key, "" if prepared.done else str(prepared.run_dir.resolve()))
    return rank.leave(0 if prepared.done else execute(prepared, traceback))


def execute_ranks(run_dir: Path, strategy: Mapping[str, Any], traceback: bool) -> int:
    """Start the processes of a run and wait for them; the first failure is shown once."""
    from torch.distributed.elastic.multiprocessing.api import SignalException

    from trainer_cli.launch import launch

    command, count = rank_command(run_dir, traceback), process_count(strategy)
    try:
        failure = launch(command, count, strategy["max_restarts"], run_dir / "ranks")
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    if failure is None:
        return 0
    if failure.exit_code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return failure.exit_code
    code, text = failure.exit_code, failure.message
    if not text:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        text = f"the run failed: process {failure.rank} {how}; more is in {run_dir / 'ranks'}"
    report_failure(run_dir, text)
    return 2 if code == 2 else 1


def execute_alone(run_dir: Path, traceback: bool) -> int:
    """Run it in a process of its own and wait for it."""
    from trainer_cli.launch import run_alone

    code = run_alone(rank_command(run_dir, traceback))
    if code < 0 and -code in (signal.SIGINT, signal.SIGTERM):  # before it had begun
        return 128 - code
    if code < 0:
        report_failure(run_dir, f"the run failed: its process was killed by {signal.Signals(-code).name}")
        return 1
    return code


def report_failure(run_dir: Path, text: str) -> None:
    """Say it and note it, for a process that could not."""
    print(text, file=sys.stderr)
    Record.load(run_dir).end("failed", error=text.rstrip().splitlines()[-1])


def process_count(strategy: Mapping[str, Any]) -> int:
    """Processes to start on this machine: as many as asked for, else one per GPU."""
    if strategy["num_processes"] is not None:
        return int(strategy["num_processes"])
    import torch

    if torch.cuda.device_count() == 0:
        raise UserError(
            "strategy.num_processes is not set, and there is no GPU to count",
            right="strategy.num_processes=2",
        )
    return torch.cuda.device_count()


def discard(run_dir: Path) -> None:
    """Remove the directory of a run that never began, and those above it that it alone was in."""
    shutil.rmtree(run_dir, ignore_errors=True)
    for folder in (run_dir.parent, run_dir.parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
