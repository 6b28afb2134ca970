"""Checkpoint directories of a run: commit by rename, manifest, verification, rotation; imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"
NAME = re.compile(r"checkpoint-(\d+)")
UNFINISHED = ".unfinished-"


class Checkpoints:
    """The checkpoints below a run's directory; one process of a run writes them.

    `limit` is how many of the newest are kept (None: all).
    """

    def __init__(self, run_dir: Path, limit: int | None) -> None:
        self.run_dir = run_dir
        self.limit = limit

    def path(self, step: int) -> Path:
        """Where the checkpoint of this step stands."""
        return self.run_dir / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """Steps of all committed checkpoints, ascending."""
        names = (NAME.fullmatch(path.name) for path in self.run_dir.glob("checkpoint-*"))
        return sorted(int(match[1]) for match in names if match)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Have `write` fill a directory, then commit it under its final name.

        A crash at any moment leaves either no checkpoint of this step or a whole one. A step that is
        committed already is left as it is.
        """
        final = self.path(step)
        if final.exists():
            return final
        unfinished = self.run_dir / f"{UNFINISHED}{final.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            write(unfinished)
            write_manifest(unfinished)
            os.rename(unfinished, final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(self.run_dir)
        return final

    def rotate(self, protected: int | None) -> None:
        """Delete the oldest beyond the limit, but neither the newest nor the protected step."""
        steps = self.steps()
        if self.limit is None or len(steps) <= self.limit:
            return
        old = [step for step in steps[:-1] if step != protected]
        for step in old[: len(steps) - self.limit]:
            shutil.rmtree(self.path(step))

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint that is whole, and why each newer one was rejected."""
        rejected: list[str] = []
        for step in reversed(self.steps()):
            reason = verify(self.path(step))
            if reason is None:
                return self.path(step), rejected
            rejected.append(f"{self.path(step).name}: {reason}")
        return None, rejected

    def discard_unfinished(self) -> None:
        """Remove what a save that died has left."""
        for path in self.run_dir.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path)


def write_manifest(directory: Path) -> None:
    """Size and SHA-256 of every file, written last; everything is on the disk when this returns."""
    files = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        sync(path)
        name = path.relative_to(directory).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": digest(path)}
    manifest = directory / MANIFEST
    manifest.write_text(json.dumps({"format": 1, "files": files}, indent=1), encoding="utf-8")
    sync(manifest)
    sync(directory)


def verify(directory: Path) -> str | None:
    """Why the checkpoint cannot be used, in a few words; None when every file is as it was written."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files = [(name, entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()]
    except OSError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    for name, expected_size, expected_digest in files:
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != expected_size:
            return f"{name} has {size} bytes, not {expected_size}"
        if digest(path) != expected_digest:
            return f"{name} has changed since it was written (SHA-256)"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
