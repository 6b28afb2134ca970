"""Which run, and which checkpoint of it, `resume` means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer_cli.checkpoint.store import Checkpoints, verify
from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import FILE, Record


@dataclass
class Found:
    """The run to go on with; `checkpoint` is None where it has none that is whole, `rejected` says why."""

    record: Record
    checkpoint: Path | None
    newest: bool
    rejected: list[str] = field(default_factory=list)


def all_runs(root: Path) -> list[Record]:
    """Every run below a directory, oldest first."""
    records = []
    for path in root.rglob(FILE):
        try:
            records.append(Record.load(path.parent))
        except (OSError, ValueError):
            continue
    return sorted(records, key=lambda record: (record.fields.get("created", ""), record.fields.get("id", "")))


def find(resume: str, root: Path, choices: Mapping[str, str]) -> Found | None:
    """What `resume` names: latest, auto, a run (directory or id) or a checkpoint.

    `choices` are the recipe and options chosen on today's command line, which `latest` and `auto` must agree
    with. None: `auto` found nothing. Raises UserError where nothing usable is found.
    """
    if resume in ("latest", "auto"):
        return find_latest(resume, root, choices)
    path = Path(resume).expanduser()
    if path.is_dir() and path.name.startswith("checkpoint-") and (path.parent / FILE).is_file():
        return at_checkpoint(path)
    if (path / FILE).is_file():
        return at_newest(Record.load(path))
    for record in all_runs(root):
        if record.fields.get("id") == resume:
            return at_newest(record)
    raise UserError(
        f"resume={resume} is neither a run nor a checkpoint",
        right=f"latest, auto, RUN/checkpoint-N, a run's directory or id (trainer-cli runs {root})",
    )


def find_latest(resume: str, root: Path, choices: Mapping[str, str]) -> Found | None:
    """The newest run that agrees with the choices and has a checkpoint or is finished."""
    rejected = []
    for record in reversed(all_runs(root)):
        of_run = record.fields.get("choices", {})
        if any(of_run.get(group) != option for group, option in choices.items()):
            continue
        found = at_newest(record)
        rejected += found.rejected
        if found.checkpoint is not None:
            found.rejected = rejected
            return found
        rejected.append(f"{record.run_dir}: no checkpoint in it is whole")
    if resume == "auto":
        return None
    wanted = " ".join(f"{group}={option}" for group, option in choices.items())
    raise UserError(
        f"resume=latest: no run below {root}" + (f" with {wanted}" if wanted else "") + " has a checkpoint",
        right="\n".join([*rejected[:5], "resume=auto starts a fresh run where there is none to go on with"]),
    )


def at_newest(record: Record) -> Found:
    """The run with its newest checkpoint that is whole."""
    checkpoint, rejected = Checkpoints(record.run_dir, None).newest()
    return Found(record, checkpoint, True, [f"{record.run_dir}/{reason}" for reason in rejected])


def at_checkpoint(path: Path) -> Found:
    """The run of a checkpoint that was named itself; it must be whole."""
    reason = verify(path)
    if reason is not None:
        raise UserError(f"resume={path}: {reason}", right="another checkpoint of the run, or the run itself")
    record = Record.load(path.parent)
    steps = Checkpoints(record.run_dir, None).steps()
    return Found(record, path, path.name == f"checkpoint-{steps[-1]}")
