"""trainer-cli verify: whether every file of a run's checkpoints is as it was written; imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer_cli.checkpoint.store import MANIFEST, NAME, Checkpoints, verify
from trainer_cli.config.errors import UserError, megabytes
from trainer_cli.config.printable import say
from trainer_cli.runs.find import all_runs
from trainer_cli.runs.named import OUTPUTS
from trainer_cli.runs.record import FILE


@dataclass(frozen=True)
class Verdict:
    """A checkpoint, its step where its name has one, what it holds, and why it cannot be used, if so."""

    checkpoint: str
    step: int | None
    files: int
    bytes: int
    damage: str | None


def verify_checkpoints(words: Sequence[str], as_json: bool) -> int:
    """Check those of each run or checkpoint, a line each as it is done; exit code 1 where one is damaged.

    One that its run takes away meanwhile is left out. Raises UserError where there is nothing to check.
    """
    if not words:
        raise UserError("verify needs a run or a checkpoint", right="trainer-cli runs lists the runs")
    checkpoints = [path for word in words for path in checkpoints_of(word)]
    verdicts = []
    width = max(len(str(path)) for path in checkpoints)
    for path in checkpoints:
        verdict = examine(path)
        if verdict is None:
            continue
        verdicts.append(verdict)
        if not as_json:
            held = f"{verdict.files:>3} files {megabytes(verdict.bytes):>12}"
            say(f"{verdict.checkpoint:<{width}}  {held}  {verdict.damage or 'ok'}", sys.stdout)
    if not verdicts:
        raise UserError(
            f"{' '.join(words)}: the checkpoints were taken away while they were read",
            right="a run that still trains keeps args.save_total_limit of them: verify it again",
        )
    if as_json:
        print(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    return 1 if any(verdict.damage for verdict in verdicts) else 0


def checkpoints_of(word: str) -> list[Path]:
    """The checkpoints that a run's directory or id, or the path of one, stands for; raises UserError."""
    path = Path(word).expanduser()
    if path.is_symlink() and not path.exists():
        raise UserError(f"{word} is a symbolic link to {path.readlink()}, where there is nothing")
    if path.is_dir() and (NAME.fullmatch(path.name) or (path / MANIFEST).is_file()):
        return [path]
    found = [path] if (path / FILE).is_file() else list(runs_by_id(word))
    if not found:
        raise UserError(
            f"{word} is neither a run nor a checkpoint",
            right=f"RUN/checkpoint-N, a run's directory, or the id of one below {OUTPUTS} (trainer-cli runs)",
        )
    checkpoints = Checkpoints(found[0], None)
    if not checkpoints.steps():
        raise UserError(f"{found[0]} has no checkpoints")
    return [checkpoints.path(step) for step in checkpoints.steps()]


def runs_by_id(name: str) -> Iterator[Path]:
    """The directory of the run of this id, if it is there."""
    return (record.run_dir for record in all_runs(OUTPUTS) if record.fields["id"] == name)


def examine(checkpoint: Path) -> Verdict | None:
    """What the checkpoint holds, every file of it read; None where it is taken away meanwhile.

    One that another has taken the place of is read again.
    """
    name = NAME.fullmatch(checkpoint.name)
    step = int(name[1]) if name else None
    while (before := identity(checkpoint)) is not None:
        sizes = list(sizes_below(checkpoint))
        damage = verify(checkpoint)
        if damage is None or identity(checkpoint) == before:
            return Verdict(str(checkpoint), step, len(sizes), sum(sizes), damage)
    return None


def identity(directory: Path) -> tuple[int, int, int] | None:
    """What tells a directory from another one in its place; None where there is nothing."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns  # a number that is free is soon given again


def sizes_below(directory: Path) -> Iterator[int]:
    """The bytes of each file."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):  # it is taken away, or a link to nowhere
                if path.is_file():
                    yield path.stat().st_size
