"""From a command line to a run's directory: a fresh one, or the one of a run to go on with."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.compose import Composition, Unset, apply, choices, compose, dump, without
from trainer_cli.config.environment import Configuration
from trainer_cli.config.errors import DiskFailed, UserError
from trainer_cli.config.overrides import SEARCH_PATH
from trainer_cli.config.received import Trusted, Untrusted, check_remote_code, received
from trainer_cli.config.resume import FROM_START, Setup, block, differences, explain, text
from trainer_cli.runs.code import FILE as DIFF
from trainer_cli.runs.find import NO_RECORD, Found, at_newest, check, find, forbidden, why_afresh
from trainer_cli.runs.lock import Lock, only_looking, still_running, take
from trainer_cli.runs.record import CONFIG, FILE, Record, cannot_be_made, identity, now, provenance
from trainer_cli.tracker.jsonl import FILE as METRICS


@dataclass
class Prepared:
    """A run that is ready to be started; `notes` is what to say before, `done` that nothing is left to do.

    `before` holds the texts of an old run's files that going on with it has changed; None: it had none.
    `lock` holds the run's directory.
    """

    run_dir: Path
    config: Configuration
    fresh: bool
    notes: list[str] = field(default_factory=list)
    done: bool = False
    before: dict[Path, str | None] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


def prepare(overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str]) -> Prepared:
    """Compose, check, and make the run's directory or find the one to go on in; raises UserError."""
    composition = compose(overrides, config_dirs=config_dirs, strict=False)
    if misplaced := [
        problem for problem in composition.problems if problem.key in ("resume", "args.output_dir")
    ]:
        raise UserError.many(misplaced)
    resume = composition.config.get("resume")
    notes: list[str] = []
    if resume is not None:
        today = today_of(composition, config_dirs, argv)
        root = Path(composition.config["args"]["output_dir"])
        found = find(today.resume, root, today.choices)
        if found is not None:
            with found.lock.released_by_errors():
                return go_on(found, today)
        notes = why_afresh(root, today.choices)
    if composition.problems:
        raise UserError.many(composition.problems)
    prepared = begin(composition, argv)
    prepared.notes = notes + prepared.notes
    return prepared


@dataclass(frozen=True)
class Looked:
    """What would be run: its composition, what is said before, and the checkpoint to go on from if any."""

    composition: Composition
    notes: list[str]
    checkpoint: Path | None = None
    done: bool = False


def look(overrides: Sequence[str], config_dirs: Sequence[str]) -> Looked:
    """What `prepare` would start; nothing is written or held. Raises UserError for what it would refuse."""
    composition = compose(overrides, config_dirs=config_dirs, strict=False)
    notes: list[str] = []
    if composition.config.get("resume") is not None:
        today = today_of(composition, config_dirs, ())
        root = Path(composition.config["args"]["output_dir"])
        with only_looking():
            found = find(today.resume, root, today.choices)
            if found is not None:
                again = understand(found, today)
                chosen = {**found.record.fields.get("choices", {}), **today.choices}
                composition = replace(
                    composition, config=again.config, choices=chosen, folders=tuple(today.trusted.folders)
                )
                return Looked(composition, again.notes, found.checkpoint, again.done)
        notes = why_afresh(root, today.choices)
    if composition.problems:
        raise UserError.many(composition.problems)
    return Looked(composition, [*notes, *composition.warnings])


def today_of(composition: Composition, config_dirs: Sequence[str], argv: Sequence[str]) -> Today:
    """What today's command line asks of a run to go on with; raises UserError for what names none."""
    unclear = [problem for problem in composition.problems if problem.key == "resume"]
    if unclear:
        raise UserError.many(unclear)
    overrides = composition.overrides
    trusted = Trusted(composition.config, overrides, composition.folders)
    chosen = choices(overrides, config_dirs=config_dirs)
    return Today(str(composition.config["resume"]), overrides, config_dirs, argv, trusted, chosen)


def begin(composition: Composition, argv: Sequence[str]) -> Prepared:
    """A fresh run."""
    words = without_resume(composition.overrides)
    config, folders = composition.config, composition.folders
    prepared = create(config, composition.choices, folders, argv, overrides=words, **provenance())
    prepared.notes = list(composition.warnings)
    return prepared


def begin_job(
    composition: Composition, run_dir: Path, argv: Sequence[str], words: Sequence[str], **fields: Any
) -> Prepared:
    """A fresh run of a sweep, in its own directory; `fields` are of its record, provenance among them."""
    return create(
        composition.config,
        composition.choices,
        composition.folders,
        argv,
        run_dir=run_dir,
        overrides=list(words),
        **fields,
    )


def go_on_with_job(
    run_dir: Path, composition: Composition, config_dirs: Sequence[str], argv: Sequence[str]
) -> Prepared:
    """A run of a sweep that was started before; raises UserError where it runs, or cannot be gone on with."""
    words = [word for word in composition.overrides if not word.startswith("sweep.")]
    trusted = Trusted(composition.config, words, composition.folders)
    today = Today("auto", words, config_dirs, argv, trusted, composition.choices)
    found = at_newest(run_dir)
    with found.lock.released_by_errors():
        return go_on(found, today)


def create(
    config: Configuration,
    chosen: Mapping[str, str],
    folders: Sequence[Path],
    argv: Sequence[str],
    metrics: Path | None = None,
    run_dir: Path | None = None,
    diff: str | None = None,
    **fields: Any,
) -> Prepared:
    """The directory of a new run: its configuration, the rows that it goes on from if any, its record.

    `run_dir` is where it is to be; None: in one named after the time. `diff` is what is not committed.
    """
    config["resume"] = None
    name = config["run"]["name"] or chosen.get("recipe", "run").replace(",", "-")
    about = {
        "name": name,
        "identity": identity(config),
        "choices": dict(chosen),
        "argv": list(argv),
        "project": [str(folder) for folder in folders],
        "seed": config["args"]["seed"],
        "data_seed": config["args"]["data_seed"],
        "processes": processes(config),
        "resume_from": None,
        "sessions": [session(0, argv, fields["git"], first=argv)],
        **fields,
    }
    if run_dir is None:
        record = Record.make(Path(config["args"]["output_dir"]), name, about)
    else:
        record = Record.at(run_dir, about)
    try:
        lock = take(record.run_dir, still_running)
        dump(config, record.run_dir / CONFIG, f"run {record.fields['id']}: trainer-cli {' '.join(argv)}")
        if metrics is not None:
            (record.run_dir / METRICS).write_bytes(durable.read(metrics))
        if diff is not None:
            durable.write(record.run_dir / DIFF, diff)
        record.start()
    except OSError as error:
        discard(record.run_dir)
        raise cannot_be_made(record.run_dir, str(error.strerror)) from error
    return Prepared(record.run_dir, config, fresh=True, lock=lock)


SESSIONS = 100
"""Starts of a run that its record remembers."""


def session(
    step: int, argv: Sequence[str], git: Mapping[str, Any] | None, first: Sequence[str]
) -> dict[str, Any]:
    """A start of a run as its record remembers it; the words only where they are not those of the first."""
    state = {} if git is None else git
    code = {name: state.get(name) for name in ("commit", "changes")}
    words = {} if argv == first else {"argv": list(argv)}
    return {"at": now().isoformat(timespec="seconds"), "step": step, **code, **words}


def processes(config: Mapping[str, Any]) -> int | None:
    """How many processes a run has: a launcher's, or as many as are asked for; None: one per GPU."""
    if "RANK" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    count: int | None = config["strategy"]["num_processes"]
    return count


@dataclass(frozen=True)
class Today:
    """What today's command line asks of a run to go on with."""

    resume: str
    overrides: Sequence[str]
    config_dirs: Sequence[str]
    argv: Sequence[str]
    trusted: Trusted
    choices: Mapping[str, str]


@dataclass(frozen=True)
class Again:
    """A run to go on with: its configuration with today's values on top, the overrides that make it, and what
    is to be said; `done` that nothing is left to do."""

    config: Configuration
    words: list[str]
    notes: list[str]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False


def understand(found: Found, today: Today) -> Again:
    """What going on with the run comes to; raises UserError where it cannot be."""
    record, fields = found.record, found.record.fields
    before = stored_config(record.run_dir, today.trusted, recorded_folders(fields))
    chosen, made_of = fields.get("choices", {}), without_search_path(fields.get("overrides", []))
    words = without_resume(today.overrides)
    config = apply(before, words, chosen=chosen, made_of=made_of, config_dirs=today.config_dirs)
    check_remote_code(record.run_dir / CONFIG, config, today.trusted)
    if record.status == "finished" and found.newest and identity(before) == identity(config):
        return Again(config, words, [f"{record.run_dir} is finished"], done=True)
    check(found, today.resume, config["checkpoint"]["on_damage"])

    others = [group for group, option in today.choices.items() if option != chosen.get(group, "")]
    words = [word for word in words if key_of(word) in others or key_of(word) not in today.choices]
    words = [word for word in without(made_of, others) if word not in words] + words
    now_is = provenance()
    known = {name: value for name, value in now_is.items() if name != "diff"}
    was = {name: fields.get(name, value) for name, value in known.items()}
    count = fields.get("processes", before["strategy"]["num_processes"])
    notes = [
        *found.summary(),
        *read_again(before, fields.get("identity")),
        *explained(Setup(before, count, **was), Setup(config, processes(config), **known), found),
        *edits(config, words, today.config_dirs),
    ]
    return Again(config, words, notes, now_is)


def go_on(found: Found, today: Today) -> Prepared:
    """The run that was found, under its own configuration with today's values on top."""
    again = understand(found, today)
    record, fields, config = found.record, found.record.fields, again.config
    if again.done:
        found.lock.release()
        return Prepared(record.run_dir, config, False, again.notes, done=True)
    now_is = dict(again.provenance)
    diff = now_is.pop("diff")
    checkpoint = None if found.checkpoint is None else str(found.checkpoint.resolve())
    chosen = {**fields.get("choices", {}), **today.choices}
    news = {
        "identity": identity(config),
        "choices": {group: option for group, option in chosen.items() if option},
        "project": [str(folder) for folder in today.trusted.folders],
        "seed": config["args"]["seed"],
        "data_seed": config["args"]["data_seed"],
        "processes": processes(config),
        "resume_from": checkpoint,
        "overrides": again.words,
        **now_is,
    }
    first = fields.get("argv", ()) if found.newest else today.argv
    began = session(found.step, today.argv, now_is["git"], first)
    prepared = (in_place if found.newest else branch)(
        found, config, today.argv, {**news, "sessions": [began]}, diff
    )
    prepared.notes = again.notes + prepared.notes
    return prepared


def stored_config(run_dir: Path, trusted: Trusted, then: Sequence[Path]) -> Configuration:
    """A run's own configuration; raises UserError where its file is missing, damaged or not to be trusted."""
    try:
        return received(run_dir / CONFIG, trusted, then)
    except (Untrusted, Unset):
        raise
    except UserError as error:
        *others, last = error.problems
        right = "\n".join(filter(None, [last.right, NO_RECORD]))
        raise UserError.many([*others, replace(last, right=right)]) from error


def read_again(config: Configuration, identity_then: str | None) -> list[str]:
    """Which values the environment may give otherwise than when the run was last started."""
    if not config.read or identity_then in (None, identity(config)):
        return []
    keys = ", ".join(f"{'.'.join(map(str, path))}={text}" for path, (text, _) in config.read.items())
    return [f"  read from the environment, and perhaps not what it was: {keys}"]


def explained(was: Setup, is_now: Setup, found: Found) -> list[str]:
    """What is other now, and what that does to the run."""
    changes = explain(was, is_now)
    if found.checkpoint is None:
        changes = [replace(difference, effect=FROM_START, why="") for difference in changes]
    return block(changes)


def in_place(
    found: Found, config: Configuration, argv: Sequence[str], fields: Mapping[str, Any], diff: str | None
) -> Prepared:
    """Go on in the run's own directory; the texts of what that changes are kept.

    Changes of the code that were not there at the last start are written beside those that were.
    """
    record, run_dir = found.record, found.record.run_dir
    if not os.access(run_dir, os.W_OK | os.X_OK):
        raise forbidden(run_dir, "written to")
    files = (run_dir / CONFIG, run_dir / FILE)
    before: dict[Path, str | None] = {path: path.read_text(encoding="utf-8") for path in files}
    prepared = Prepared(run_dir, config, fresh=False, before=before, lock=found.lock)
    git, was = fields["git"], record.fields.get("git") or {}
    if diff is not None and git["changes"] == was.get("changes") and was.get("diff"):
        git, diff = {**git, "diff": was["diff"]}, None
    elif diff is not None:
        git = {**git, "diff": f"git-{git['changes']}.diff"}
    past = [*record.fields.get("sessions", ())]
    past[-1:] = [{**last, "ended": record.fields.get("ended")} for last in past[-1:]]
    sessions = [*past, *fields["sessions"]][-SESSIONS:]
    try:
        if diff is not None and not (run_dir / git["diff"]).exists():
            before[run_dir / git["diff"]] = None
            durable.write(run_dir / git["diff"], diff)
        dump(config, run_dir / CONFIG, f"run {record.fields['id']}: trainer-cli {' '.join(argv)}")
        record.start(**{**fields, "git": git, "sessions": sessions})
    except OSError as error:
        with contextlib.suppress(OSError):  # what the disk takes is put back
            take_back(prepared)
        raise DiskFailed.of(error, run_dir) or error from error
    return prepared


def branch(
    found: Found, config: Configuration, argv: Sequence[str], fields: Mapping[str, Any], diff: str | None
) -> Prepared:
    """Go on from an older checkpoint as a run of its own: the newer ones stay what they are."""
    folders = [Path(folder) for folder in fields["project"]]
    parent, rows = found.record.fields["id"], found.record.run_dir / METRICS
    prepared = create(config, fields["choices"], folders, argv, rows, diff=diff, **fields, parent=parent)
    found.lock.release()
    prepared.notes = [f"  as a run of its own, for there is a newer checkpoint: {prepared.run_dir}"]
    return prepared


def recorded_folders(fields: Mapping[str, Any]) -> list[Path]:
    """The folders that a run's record names for its modules; a received record may name any."""
    return [Path(folder) for folder in fields.get("project", ()) if Path(folder).is_dir()]


def without_search_path(overrides: Sequence[str]) -> list[str]:
    """The overrides of a run's record less those that name folders to find files in."""
    return [override for override in overrides if key_of(override) != SEARCH_PATH]


def without_resume(overrides: Sequence[str]) -> list[str]:
    """The overrides of a run itself."""
    return [override for override in overrides if not override.lstrip("+").startswith("resume=")]


def key_of(word: str) -> str:
    """The key that an override sets, or the group that it chooses an option of."""
    return word.lstrip("+").partition("=")[0]


def edits(config: Mapping[str, Any], words: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """Where the run's configuration differs from what its overrides compose now: the files were edited."""
    try:
        now_says = compose(words, config_dirs=config_dirs).config
    except UserError:  # the recipe may be gone; the run does not need it
        return []
    return [
        f"  not applied: the recipe or a default now says {key}={text(new)}, the run keeps {text(old)}"
        for key, old, new in differences(config, now_says)
    ]


def take_back(prepared: Prepared) -> None:
    """Remove the directory of a fresh run, and leave that of an old one as it was.

    Nothing is done to a fresh run that has saved anything: no error deletes what was trained.
    """
    if prepared.fresh and has_trained(prepared.run_dir):
        return
    if prepared.fresh:
        discard(prepared.run_dir)
    for path, before in prepared.before.items():
        if before is None:
            path.unlink(missing_ok=True)
        else:
            durable.write(path, before)


def has_trained(run_dir: Path) -> bool:
    """Whether a checkpoint or a model stands in the run's directory."""
    return (run_dir / "model").exists() or bool(Checkpoints(run_dir, None).steps())


def newest_saved(run_dir: Path) -> str:
    """A line for the end of an error that says what the run has saved; empty where that is nothing."""
    steps = Checkpoints(run_dir, None).steps()
    return f"\n  saved: {run_dir / f'checkpoint-{steps[-1]}'} (resume=latest)" if steps else ""


def discard(run_dir: Path) -> None:
    """Remove the directory of a run that never began, and those above it that it alone was in."""
    shutil.rmtree(run_dir, ignore_errors=True)
    for folder in (run_dir.parent, run_dir.parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
