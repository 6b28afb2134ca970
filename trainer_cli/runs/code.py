"""The code that a run runs on: its commit, and what is not committed of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli.config.secrets import MASK, masked

FILE = "git.diff"
LARGEST = 1_000_000
"""Bytes of a diff that are kept."""
MOST_NEW = 500
"""Untracked Python files that a diff has: with more of them, they are those of something else."""

# As `git apply` reads it, whatever the user has git print.
DIFF = (
    *("diff", "HEAD", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"),
    *("--no-relative", "--src-prefix=a/", "--dst-prefix=b/"),
)


def state_of_code() -> tuple[dict[str, Any] | None, str | None]:
    """Commit of the current folder's repository and what its files differ by, and that as a diff.

    Of the first, `dirty` says whether tracked files were edited or Python files are untracked, `changes` is
    the digest of that, `diff` the name of the file for the second, which `git apply` makes changes of again.
    None outside of a repository, and where nothing differs.
    """
    try:
        commit, index = git("rev-parse", "HEAD", "--git-path", "index").decode().splitlines()
        new = git("ls-files", "--others", "--exclude-standard", "-z", "--", ":/*.py")
        count = new.count(b"\0")
        changes = diff_with(new, Path(index)) if 0 < count <= MOST_NEW else git(*DIFF)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, None
    if not changes and not new:
        return {"commit": commit, "dirty": False, "changes": None, "diff": None}, None
    notes = [f"{count} untracked Python files are not in it"] if count > MOST_NEW else []
    digest = hashlib.sha256(changes + new if notes else changes).hexdigest()[:8]
    state = {"commit": commit, "dirty": True, "changes": digest, "diff": FILE}
    return state, to_keep(changes, notes)


def diff_with(new: bytes, index: Path) -> bytes:
    """The diff with untracked files too, a NUL after each of their names; git's own index stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        # With its time: by that git knows which files may have changed since within the clock's resolution.
        other = {**os.environ, "GIT_INDEX_FILE": shutil.copy2(index, folder)}
        names = ("--pathspec-from-file=-", "--pathspec-file-nul")
        git("--literal-pathspecs", "add", "--intent-to-add", *names, given=new, environment=other)
        return git(*DIFF, environment=other)


def to_keep(changes: bytes, notes: list[str]) -> str:
    """A diff as it is kept: without secrets, not where it is huge, below what is to be said of it."""
    text = changes.decode("utf-8", "surrogateescape")
    kept = masked(text)
    if len(changes) > LARGEST:
        kept, notes = "", [*notes, f"not kept: the diff has {len(changes):,} bytes"]
    elif kept != text:
        notes = [*notes, f"secrets are {MASK} in it: it does not apply where one stood before"]
    return "".join(f"{note}\n" for note in notes) + kept


def git(*words: str, given: bytes | None = None, environment: Mapping[str, str] | None = None) -> bytes:
    """What git prints; raises SubprocessError where it fails."""
    done = subprocess.run(
        ["git", *words], input=given, env=environment, capture_output=True, timeout=10, check=True
    )
    return done.stdout
