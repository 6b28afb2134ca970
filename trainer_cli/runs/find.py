"""Which run, and which checkpoint of it, `resume` means."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer_cli import durable
from trainer_cli.checkpoint.store import MANIFEST, STATE, Checkpoints, check_format, verify
from trainer_cli.config.errors import DiskFailed, UserError
from trainer_cli.runs.lock import Holder, Lock, still_running, take
from trainer_cli.runs.record import CONFIG, FILE, Record
from trainer_cli.runs.sweeps import FILE as SWEEP

HOW = ("strategy", "checkpoint", "tracker")
"""Groups that say how a run is carried out, not what it is: a run goes on under any options of theirs."""


@dataclass
class Found:
    """The run to go on with.

    `checkpoint` is the one to go on from, `step` where that is; it is None where the run has none that can
    be used. `rejected` says why newer ones cannot, `passed` why newer runs were passed over. `refusal` is an
    error that no older checkpoint makes good. `lock` is held since before any of this was read.
    """

    record: Record
    lock: Lock
    checkpoint: Path | None = None
    step: int = 0
    newest: bool = True
    rejected: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    refusal: UserError | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there is more of it than a start that came to nothing."""
        return self.checkpoint is not None or bool(self.rejected) or self.refusal is not None

    def summary(self) -> list[str]:
        """Which run goes on, from where, and what it could not go on from."""
        fields, run_dir = self.record.fields, self.record.run_dir
        head = f"starting {run_dir} again from its start: it ended before its first checkpoint"
        if self.checkpoint is not None:
            total = f" of {fields['total_steps']}" if "total_steps" in fields else ""
            ended = self.record.status
            ended = f"last seen running on {fields['host']}" if ended == "running" else ended
            head = f"resuming {run_dir} at step {self.step}{total} ({self.checkpoint.name}; {ended})"
        return [
            head,
            *([f"  {FREE.format(host=fields['host'])}"] if self.record.status == "running" else []),
            *(f"  passed over {reason}" for reason in self.passed),
            *(f"  rejected {reason}" for reason in self.rejected),
        ]


FREE = "its lock is free: it has ended on {host}, or that machine does not share the locks of this disk"
"""What is known of a run that another machine was carrying out."""


def all_runs(root: Path, unread: list[str] | None = None) -> list[Record]:
    """Every run in or below a directory, oldest first; hidden directories are not looked into.

    Each run.json that cannot be read is added to `unread`, and why.
    """
    records = []
    directories = [str(root)]
    while directories:
        directory = directories.pop()
        try:
            records.append(Record.load(Path(directory)))
        except (OSError, ValueError) as error:
            if unread is not None and not isinstance(error, FileNotFoundError | NotADirectoryError):
                unread.append(f"{os.path.join(directory, FILE)} cannot be read: {said(error)}")
            # Only what is no run is looked into: a run's checkpoints and model hold many files.
            directories += directories_in(directory)
    return sorted(records, key=lambda record: (str(record.fields["created"]), str(record.fields["id"])))


def directories_in(directory: str) -> list[str]:
    """Those that a run may be in or below; none where the directory cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return [
                entry.path
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    except OSError:
        return []


def find(resume: str, root: Path, choices: Mapping[str, str]) -> Found | None:
    """What `resume` names: latest, auto, a run (directory or id) or a checkpoint.

    `choices` are the recipe and options chosen on today's command line, which `latest` and `auto` must agree
    with. None: `auto` found nothing. Raises UserError where nothing usable is found.
    """
    if resume in ("latest", "auto"):
        return find_latest(resume, root, choices)
    given = Path(resume).expanduser()
    if given.is_symlink() and not os.path.exists(given):
        raise UserError(
            f"resume={resume} is a symbolic link to nowhere: it points to {os.readlink(given)}",
            right=usual(root),
        )
    if os.path.exists(given):
        return at_path(resume, given, root)
    for record in all_runs(root):
        if record.fields.get("id") == resume:
            return at_newest(record.run_dir)
    if given.name.startswith("checkpoint-") and os.path.isfile(given.parent / FILE):
        steps = Checkpoints(given.parent, None).steps()
        there = ", ".join(f"checkpoint-{step}" for step in steps[-FEW:]) or "none"
        raise UserError(f"there is no {given.name} in {given.parent}", right=f"its checkpoints: {there}")
    raise UserError(f"resume={resume} is neither a run nor a checkpoint", right=usual(root))


FEW = 5
"""Runs or checkpoints that a message lists."""


def usual(root: Path) -> str:
    """What resume can be."""
    return f"latest, auto, RUN/checkpoint-N, a run's directory or id (trainer-cli runs {root})"


def at_path(resume: str, given: Path, root: Path) -> Found:
    """The run or checkpoint at an existing path; raises UserError for anything else that stands there."""
    if not given.is_dir():
        raise UserError(
            f"resume={resume} is a file: a run and a checkpoint are directories", right=usual(root)
        )
    if not os.access(given, os.R_OK | os.X_OK):
        raise forbidden(given, "read")
    # What a link outside of a run leads to has the run beside it.
    path = given if given.name and not given.is_symlink() else given.resolve()
    if os.path.lexists(path / FILE):
        return at_newest(path)
    if not any(path.iterdir()):
        raise UserError(f"resume={resume} is an empty directory", right=usual(root))
    has_manifest = (path / MANIFEST).exists()
    if os.path.lexists(path.parent / FILE) and (has_manifest or path.name.startswith("checkpoint-")):
        return at_checkpoint(resume, path)
    if has_manifest:
        raise UserError(
            f"resume={resume} is a checkpoint outside of its run: there is no {FILE} beside it",
            right="a copy of the whole run's directory can be gone on with;\n"
            f"model.pretrained={given} starts a fresh run with its weights",
        )
    below = all_runs(path)
    if below:
        names = [f"resume={record.run_dir}" for record in reversed(below[-FEW:])]
        raise UserError(f"resume={resume} holds {len(below)} runs and is none itself", right="\n".join(names))
    if any(path.glob("*.safetensors")) or (path / "config.json").exists():
        raise UserError(
            f"resume={resume} is no checkpoint of trainer-cli: there is no {MANIFEST} in it",
            right=f"model.pretrained={given} starts a fresh run with a model",
        )
    raise UserError(f"resume={resume} is neither a run nor a checkpoint", right=usual(root))


def load(run_dir: Path) -> Record:
    """The record of a run that was named; raises UserError where it cannot be read."""
    try:
        return Record.load(run_dir)
    except (OSError, ValueError) as error:
        raise UserError(f"{run_dir / FILE} cannot be read: {said(error)}", right=NO_RECORD) from error


NO_RECORD = (
    "a run is gone on with by its run.json and config.yaml: put them back from a copy,\n"
    "or start afresh, with model.pretrained=RUN/checkpoint-N for its weights"
)


def find_latest(resume: str, root: Path, choices: Mapping[str, str]) -> Found | None:
    """The newest run that agrees with the choices; `latest` passes over those that never saved anything.

    A sweep's jobs are none of them: what goes on with a sweep is its own command.
    """
    passed: list[str] = []
    records = all_runs(root)
    for record in reversed(records):
        if is_job(record) or disagreement(record, choices):
            continue
        if resume == "latest" and not has_begun(record):
            passed.append(f"{record.run_dir}: it has no checkpoint")
            continue
        found = at_newest(record.run_dir)
        with found.lock.released_by_errors():
            refuse_unknown(root, record.fields["id"])
        found.passed = passed
        return found
    refuse_unknown(root, "")
    if resume == "auto":
        return None
    wanted = " ".join(f"{group}={option}" for group, option in choices.items() if group not in HOW)
    jobs = (
        ["a sweep's jobs are passed over: it goes on by its own command"] if any(map(is_job, records)) else []
    )
    raise UserError(
        f"resume=latest: no run below {root}" + (f" with {wanted}" if wanted else "") + " has a checkpoint",
        right="\n".join(
            [*passed[:FEW], *jobs, "resume=auto starts a fresh run where there is none to go on with"]
        ),
    )


def has_begun(record: Record) -> bool:
    """Whether there is something of the run to go on with."""
    begun = record.fields.get("resume_from") is not None or record.status == "finished"
    return begun or bool(Checkpoints(record.run_dir, None).steps())


def is_job(record: Record) -> bool:
    """Whether the run is a job of a sweep."""
    return record.fields.get("sweep") is not None


def disagreement(record: Record, choices: Mapping[str, str]) -> str:
    """What the run was made with, where that is not what the choices are."""
    of_run = record.fields.get("choices", {})
    others = [group for group in choices if group not in HOW and of_run.get(group, "") != choices[group]]
    return " ".join(f"{group}={of_run[group]}" if of_run.get(group) else f"no {group}" for group in others)


def why_afresh(root: Path, choices: Mapping[str, str]) -> list[str]:
    """Why `auto` starts a fresh run although there are others, or may be."""
    newest = [record for record in all_runs(root) if not is_job(record)][-1:]
    others = [f"a fresh run: {run.run_dir} was made with {disagreement(run, choices)}" for run in newest]
    closed: list[OSError] = []
    for _ in os.walk(root, onerror=closed.append):
        pass
    return others + [f"not looked into: {error.filename}, {said(error)}" for error in closed if root.exists()]


def refuse_unknown(root: Path, newest: str) -> None:
    """Raise UserError where a run may be newer than the one of this id, but its record cannot be read.

    A run whose run.json is gone still has its config.yaml; a checkpoint that was copied here has neither.
    """
    for run_dir in sorted({path.parent for name in (FILE, CONFIG) for path in root.rglob(name)}):
        if run_dir.name <= newest or (run_dir.parent / SWEEP).exists():
            continue
        if not Checkpoints(run_dir, None).steps():
            continue
        try:
            Record.load(run_dir)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{run_dir / FILE} cannot be read: {said(error)}",
                right=f"{NO_RECORD};\nresume=RUN goes on with another run",
            ) from error


FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def held(run_dir: Path) -> Found:
    """The run, which nobody else starts or changes from here on; raises UserError where it still runs."""
    try:
        lock = take(run_dir, still_running)
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise DiskFailed.of(error, run_dir) or error from error
        lock = Lock()  # it is not changed, either: that is refused, where it is what is asked for
    with lock.released_by_errors():
        return Found(load(run_dir), lock)


def at_newest(run_dir: Path) -> Found:
    """The run with its newest checkpoint that is whole, or else the one that it was to begin from."""
    found = held(run_dir)
    with found.lock.released_by_errors():
        for step in reversed(Checkpoints(run_dir, None).steps()):
            if use(found, run_dir / f"checkpoint-{step}"):
                return found
        begun_from = found.record.fields.get("resume_from")
        if begun_from is not None and not found.has_begun:
            use(found, Path(begun_from))
        return found


def at_checkpoint(resume: str, path: Path) -> Found:
    """The run of a checkpoint that was named itself; it must be whole."""
    found = held(path.parent)
    with found.lock.released_by_errors():
        if not use(found, path) and found.refusal is None:
            reason = found.rejected[0].partition(": ")[2]
            instead = "another checkpoint of the run, or the run itself"
            if reason == ALONE:
                instead = f"model.pretrained={path} starts a fresh run with its weights"
            raise UserError(f"resume={resume}: {reason}", right=instead)
        steps = Checkpoints(path.parent, None).steps()
        found.newest = bool(steps) and path.name == f"checkpoint-{steps[-1]}"
        return found


def use(found: Found, checkpoint: Path) -> bool:
    """Have the run go on from the checkpoint if it can be used; if not, note why."""
    if found.refusal is not None:
        return False
    try:
        reason = why_not(checkpoint)
    except UserError as error:
        found.refusal = error
        return False
    if reason is not None:
        found.rejected.append(f"{checkpoint.name}: {reason}")
        return False
    found.checkpoint, found.step = checkpoint, step_of(checkpoint)
    return True


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint; raises ValueError, KeyError or TypeError where its state is damaged."""
    step = durable.read_json(checkpoint / STATE)["run"]["step"]
    if not isinstance(step, int):
        raise TypeError("no number")
    return step


ALONE = "it holds the model alone (args.save_only_model=true)"


def why_not(checkpoint: Path) -> str | None:
    """Why no run can go on from the checkpoint; None if one can.

    Raises UserError for what is no damage: another release's, or one that may not be read.
    """
    try:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            durable.opened(checkpoint / MANIFEST),
        ):
            pass
        reason = verify(checkpoint)
        if reason is not None or not (checkpoint / STATE).exists():
            return reason or ALONE
        check_format(durable.read_json(checkpoint / STATE)["format"], checkpoint)
        step_of(checkpoint)
    except PermissionError as error:
        raise forbidden(Path(error.filename), "read") from error
    except OSError as error:
        return f"{Path(error.filename or checkpoint).name} cannot be read: {said(error)}"
    except (ValueError, KeyError, TypeError):
        return f"{STATE} is damaged"
    return None


def check(found: Found, resume: str, on_damage: str) -> None:
    """Raise UserError for a run that still runs, or whose checkpoints are not what is asked for."""
    record, run_dir = found.record, found.record.run_dir
    if record.status == "running" and record.is_here:
        fields = record.fields
        raise still_running(run_dir, Holder(fields["pid"], fields.get("pid_start"), platform.node()))
    if record.status == "running" and not found.lock.is_sure:
        host = record.fields["host"]
        raise UserError(
            f"{run_dir} may still be running: run.json names {host}, its disk has no locks, and"
            f" {platform.node()} cannot tell whether it has ended there",
            right=f"the same command on {host} can tell;\n"
            'where it has ended, put "status": "failed" in run.json',
        )
    if found.refusal is not None:
        raise found.refusal
    others = "resume=null starts afresh; resume=RUN goes on with another run (trainer-cli runs lists them)"
    if found.checkpoint is None and found.rejected:
        count = len(found.rejected)
        which = "the only checkpoint" if count == 1 else f"none of the {count} checkpoints"
        end = "cannot be used" if count == 1 else "can be used"
        raise UserError(f"{which} of {run_dir} {end}", right="\n".join([*found.rejected, others]))
    if found.checkpoint is None and record.status == "finished":
        raise UserError(f"{run_dir} is finished, and has no checkpoint to go on from", right=others)
    if found.checkpoint is None and resume != "auto":
        raise UserError(
            f"{run_dir} has no checkpoint",
            right=f"resume=auto starts this run again from its start;\n{others}",
        )
    if found.rejected and on_damage == "fail":
        assert found.checkpoint is not None
        raise UserError(
            f"the newest checkpoint of {run_dir} cannot be used, and checkpoint.on_damage is fail",
            right="\n".join(
                [*found.rejected, f"checkpoint.on_damage=fallback goes on at {found.checkpoint.name}"]
            ),
        )


def said(error: Exception) -> str:
    """An error's own words, in a line."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]


def forbidden(path: Path, verb: str) -> UserError:
    """The error for a file or directory that this user may not read, or write to."""
    return UserError(
        f"{path} cannot be {verb}: permission denied",
        right="go on as the user whose run it is, or with a copy of the run's directory",
    )
