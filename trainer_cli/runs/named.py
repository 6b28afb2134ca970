"""Which runs the words of a command line mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.runs.find import all_runs, said
from trainer_cli.runs.record import FILE, Record

OUTPUTS = Path("outputs")
"""Where a run is looked for by its id."""

LATEST = "latest"
"""The newest run there, as in resume=latest."""


def runs_named(words: Sequence[str]) -> list[Record]:
    """The runs in the order of the words, each once; raises UserError for a word that names none.

    A word is a run's directory, a directory that holds runs (a sweep's, too), or the id of a run below
    `outputs`, or `latest`, the newest of these; a directory below `outputs` can go without that.
    """
    found = {record.run_dir.resolve(): record for word in words for record in runs_of(word)}
    return list(found.values())


def runs_of(word: str) -> list[Record]:
    """The runs that one word names, oldest first."""
    for path in (Path(word).expanduser(), OUTPUTS / word):
        if os.path.isdir(path):
            return runs_in(path)
    below = all_runs(OUTPUTS)
    by_id = below[-1:] if word == LATEST else [record for record in below if record.fields["id"] == word]
    if by_id:
        return by_id
    raise UserError(why_none(word), right=instead(word, below))


def runs_in(directory: Path) -> list[Record]:
    """The run of a directory, or those below it."""
    if (directory / FILE).exists():
        try:
            return [Record.load(directory)]
        except (OSError, ValueError) as error:
            raise UserError(f"{directory / FILE} cannot be read: {said(error)}") from error
    records = all_runs(directory)
    if not records and (directory.parent / FILE).exists():
        raise UserError(f"{directory} is a part of a run", right=f"the run: {directory.parent}")
    if not records:
        raise UserError(f"there are no runs in {directory}", right=instead(str(directory), all_runs(OUTPUTS)))
    return records


def why_none(word: str) -> str:
    """Why a word that is no directory and no id names no run."""
    if word == LATEST:
        return f"there is no run below {OUTPUTS}"
    path = Path(word).expanduser()
    if os.path.islink(path) and not os.path.exists(path):
        return f"{word} is a symbolic link to {path.readlink()}, where there is nothing"
    if os.path.exists(path):
        run = f"; its run is {path.parent}" if (path.parent / FILE).exists() else ""
        return f"{word} is a file{run}"
    return f"there is no directory {word}, and no run of this id below {OUTPUTS}"


def instead(word: str, records: Sequence[Record]) -> str:
    """What the word may have been meant for."""
    names = [name for record in records for name in (record.fields["id"], str(record.run_dir))]
    usual = f"trainer-cli runs lists the runs below {OUTPUTS}, trainer-cli runs DIR those below DIR"
    return did_you_mean(word, names) or usual
