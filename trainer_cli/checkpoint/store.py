"""Checkpoint directories of a run: commit by rename, manifest, verification, rotation; imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.config.errors import DiskFull, UserError
from trainer_cli.durable import UNFINISHED, remove

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 3
"""Of state.json; a checkpoint of another one is refused."""

MANIFEST_FORMAT = 2

PIECE = 4 << 20
"""Bytes that are read at a time: some milliseconds of work."""

NAME = re.compile(r"checkpoint-(\d+)")


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

    def save(
        self, step: int, size: int, write: Callable[[Path], None], pause: Callable[[], None] = lambda: None
    ) -> Path:
        """Have `write` fill a directory with about `size` bytes, then commit it under its final name.

        A crash at any moment leaves either no checkpoint of this step or a whole one. A step that is
        committed already is left as it is, but for a damaged one. `pause` comes between pieces of the work.
        """
        final = self.path(step)
        if os.path.lexists(final):
            if verify(final) is None:
                return final
            self._discard(final)
        with self._unfinished(final.name, size) as unfinished:
            write(unfinished)
            write_manifest(unfinished, step, pause)
            os.rename(unfinished, final)
        sync(self.run_dir)
        return final

    def replace(self, name: str, size: int, write: Callable[[Path], None]) -> Path:
        """Have `write` fill a directory that then stands in the place of an older one of this name."""
        final = self.run_dir / name
        with self._unfinished(name, size) as unfinished:
            write(unfinished)
            for path in unfinished.rglob("*"):
                sync(path)
            self._discard(final)
            os.rename(unfinished, final)
        sync(self.run_dir)
        return final

    def rotate(self, newest: int, protected: int | None) -> None:
        """Delete the oldest beyond the limit, but neither the `newest` nor the protected step.

        What seems to be newer still is damaged, and is no reason to delete a whole one.
        """
        steps = [step for step in self.steps() if step <= newest]
        if self.limit is None or len(steps) <= self.limit:
            return
        old = [step for step in steps[:-1] if step != protected]
        for step in old[: len(steps) - self.limit]:
            self._discard(self.path(step))

    def room(self) -> int:
        """Bytes that a checkpoint may take."""
        return shutil.disk_usage(self.run_dir).free

    @contextlib.contextmanager
    def _unfinished(self, name: str, size: int) -> Iterator[Path]:
        """A new directory to be filled, of which an error leaves nothing; raises DiskFull for a full disk."""
        path, final = self.run_dir / f"{UNFINISHED}{name}", self.run_dir / name
        remove(path)
        if (room := self.room()) < size:
            raise DiskFull.at(final, size, room)
        try:
            with durable.naming(final):
                path.mkdir()
                yield path
        except BaseException as error:
            # Looked at before what was written goes, and makes room for the question itself.
            full = DiskFull.at(final, size, self.room()) if durable.is_disk_full(error) else None
            with contextlib.suppress(OSError):  # the error that counts is the first one
                remove(path)
            if full is not None:
                raise full from error
            raise

    def _discard(self, path: Path) -> None:
        """Delete what stands there, of which a crash leaves nothing that looks like a checkpoint."""
        if path.is_dir() and not path.is_symlink():
            doomed = self.run_dir / f"{UNFINISHED}old-{path.name}"
            remove(doomed)
            os.rename(path, doomed)
            remove(doomed)
        else:
            path.unlink(missing_ok=True)

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
        durable.discard_unfinished(self.run_dir)


def write_manifest(directory: Path, step: int, pause: Callable[[], None] = lambda: None) -> None:
    """Size and SHA-256 of every file, written last; everything is on the disk when this returns."""
    files = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        sync(path)
        name = path.relative_to(directory).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": digest(path, pause)}
    content = {"format": MANIFEST_FORMAT, "step": step, "files": files}
    manifest = directory / MANIFEST
    manifest.write_text(as_written(content), encoding="utf-8")
    sync(manifest)
    sync(directory)


def verify(directory: Path) -> str | None:
    """Why the checkpoint cannot be used, in a few words; None when every file is as it was written."""
    try:
        text = durable.read_text(directory / MANIFEST)
        manifest = durable.parse_json(text)
        del manifest["sha256"]
        step, files = manifest["step"], manifest["files"]
        is_sound = all(is_file_of(name, entry) for name, entry in files.items())
    except (FileNotFoundError, NotADirectoryError):
        return f"{MANIFEST} is missing"
    except OSError as error:
        return f"{MANIFEST} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    if manifest.get("format") != MANIFEST_FORMAT:
        return f"{MANIFEST} is of format {manifest.get('format')}, which this release does not read"
    if not is_sound or text != as_written(manifest):
        return f"{MANIFEST} is damaged"
    if NAME.fullmatch(directory.name) and directory.name != f"checkpoint-{step}":
        return f"it is checkpoint-{step} under another name"
    for name, entry in files.items():
        path = directory / name
        try:
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != entry["size"]:
                return f"{name} has {size} bytes, not {entry['size']}"
            if digest(path) != entry["sha256"]:
                return f"{name} has changed since it was written (SHA-256)"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def is_file_of(name: str, entry: Any) -> bool:
    """Whether a manifest's entry is one of a file below its directory."""
    is_below = not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))
    return is_below and isinstance(entry["size"], int) and isinstance(entry["sha256"], str)


def as_written(content: Mapping[str, Any]) -> str:
    """The text of a manifest, with a checksum of its own."""
    return json.dumps({**content, "sha256": digest_of(content)}, indent=1)


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object's values, in hex."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_format(found: int, directory: Path) -> None:
    """Raise UserError for a state.json of another format than this release reads."""
    if found != FORMAT:
        release = "a newer" if found > FORMAT else "an older"
        raise UserError(
            f"{directory} was written by {release} release: its state is of format {found},"
            f" and this one reads format {FORMAT}",
            right=f"trainer-cli as {directory.parent / 'run.json'} names it goes on from it;\n"
            f"model.pretrained={directory} starts a run with its weights",
        )


def digest(path: Path, pause: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file, in hex; calls `pause` after each piece of the work."""
    sha256, piece = hashlib.sha256(), bytearray(PIECE)
    with durable.opened(path) as file:
        while count := file.readinto(piece):
            sha256.update(memoryview(piece)[:count])
            pause()
    return sha256.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or directory is on the disk."""
    with durable.naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
