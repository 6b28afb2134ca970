"""From a command line to a run's directory: a fresh one, or the one of a run to go on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import Composition, apply, choices, compose, dump, load
from trainer_cli.config.errors import UserError
from trainer_cli.runs.find import Found, find
from trainer_cli.runs.record import CONFIG, FILE, Record, identity, provenance
from trainer_cli.tracker.jsonl import FILE as METRICS


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
    found: Found, overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str]
) -> Prepared:
    """The run that was found, under its own configuration with today's values on top."""
    record, fields = found.record, found.record.fields
    before = load(record.run_dir / CONFIG, folders=[Path(folder) for folder in fields["project"]])
    today = without_resume(overrides)
    config = apply(before, today, chosen=fields["choices"], config_dirs=config_dirs)
    values = [word for word in today if word.lstrip("+").partition("=")[0] not in fields["choices"]]
    words = [word for word in fields["overrides"] if word not in values] + values
    changes = [f"changed {key}: {old!r} -> {new!r}" for key, old, new in differences(before, config)]
    if record.status == "finished" and not changes and found.newest:
        return Prepared(record.run_dir, config, False, [f"{record.run_dir} is finished"], done=True)
    at = f"at {found.checkpoint.name}" if found.checkpoint else "from its start"
    notes = [
        f"resuming {record.run_dir} {at}",
        *(f"rejected {reason}" for reason in found.rejected),
        *changes,
        *(
            f"not applied: the recipe or a default now says {key}={new!r}, the run keeps {old!r}"
            for key, old, new in edits(config, words, config_dirs)
        ),
    ]
    place = in_place if found.newest else branch
    prepared = place(found, config, argv)
    checkpoint = None if found.checkpoint is None else str(found.checkpoint.resolve())
    Record.load(prepared.run_dir).update(resume_from=checkpoint, overrides=words)
    prepared.notes = notes + prepared.notes
    return prepared


def in_place(found: Found, config: dict[str, Any], argv: Sequence[str]) -> Prepared:
    """Go on in the run's own directory; the texts of what that changes are kept."""
    run_dir = found.record.run_dir
    before = {path: path.read_text(encoding="utf-8") for path in (run_dir / CONFIG, run_dir / FILE)}
    dump(config, run_dir / CONFIG, f"run {found.record.fields['id']}: trainer-cli {' '.join(argv)}")
    return Prepared(run_dir, config, fresh=False, before=before)


def branch(found: Found, config: dict[str, Any], argv: Sequence[str]) -> Prepared:
    """Go on from an older checkpoint as a run of its own: the newer ones stay what they are."""
    fields = found.record.fields
    folders = [Path(folder) for folder in fields["project"]]
    record = create(config, fields["choices"], folders, argv, parent=fields["id"])
    shutil.copy(found.record.run_dir / METRICS, record.run_dir)
    note = f"a newer checkpoint exists there, so this goes on as a run of its own: {record.run_dir}"
    return Prepared(record.run_dir, config, fresh=True, notes=[note])


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


def take_back(prepared: Prepared) -> None:
    """Remove the directory of a fresh run, and leave that of an old one as it was."""
    if prepared.fresh:
        discard(prepared.run_dir)
    for path, text in prepared.before.items():
        path.write_text(text, encoding="utf-8")


def discard(run_dir: Path) -> None:
    """Remove the directory of a run that never began, and those above it that it alone was in."""
    shutil.rmtree(run_dir, ignore_errors=True)
    for folder in (run_dir.parent, run_dir.parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
