"""Files of a run, written whole or not at all and through no link; and what a disk answers that refuses them.

A run's directory may have come from somebody else. Every write in one goes through here, and every read of a
file that is understood: what stands there may be a link, a pipe, or a text without end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from trainer_cli.config.errors import UserError

UNFINISHED = ".unfinished-"
"""What the name of a file or directory begins with that is being written, or taken away."""

MOST = 1 << 28
"""Bytes of a text that is read as a whole."""

DEEPEST = 100
"""Levels of lists and objects in JSON: a walk through more would run into Python's own limit."""


def unfinished(path: Path) -> Path:
    """A name beside `path` that nobody can foresee, for what will stand in its place."""
    return path.with_name(f"{UNFINISHED}{path.name}-{secrets.token_hex(4)}")


def write(path: Path, text: str) -> None:
    """Put the text in the file's place; a crash at any moment leaves the old text or the new one.

    A file that was there keeps its permissions. Bytes that are no UTF-8 stand in the text as surrogates.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file, which then stands in the place of `path`, a link's too; an error leaves nothing of it."""
    temporary = unfinished(path)
    try:
        with naming(path):
            with create(temporary) as file:
                with contextlib.suppress(FileNotFoundError):
                    old = path.lstat()
                    if stat.S_ISREG(old.st_mode):
                        os.fchmod(file.fileno(), old.st_mode & 0o777)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that counts is the first one
            temporary.unlink()
        raise


def create(path: Path) -> BinaryIO:
    """A new file of this name, to be written; raises FileExistsError where there is anything."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def append(path: Path) -> FileIO:
    """A file of a run, made where there is none, to be read, added to or cut; each write goes out at once.

    Raises UserError for a link, for a file that has another name elsewhere, and for what is no file.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise what_is_not_ours(path) or error from None
    if refused := what_is_not_ours(path, os.fstat(descriptor)):
        os.close(descriptor)
        raise refused
    return os.fdopen(descriptor, "a+b", buffering=0)


def what_is_not_ours(
    path: Path, found: os.stat_result | None = None, *, as_folder: bool = False
) -> UserError | None:
    """The error for what stands in the place of a run's file, if it is none of its own."""
    from trainer_cli.config.errors import UserError  # which imports this module

    try:
        found = found or path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(found.st_mode):
        what = f"a symbolic link to {os.readlink(path)}"
    elif as_folder:
        what = "no directory"
    elif not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        what = "no file"
    elif found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        what = "a file that has another name elsewhere (a hard link)"
    else:
        return None
    right = f"what the run writes there would go elsewhere: move {path} away, or put a copy in its place"
    return UserError(f"{path} is {what}", right=right)


def folder(path: Path) -> Path:
    """A directory within a run's, made where there is none; raises UserError for a link, and for a file."""
    check_folder(path)
    path.mkdir(exist_ok=True)
    return path


def check_folder(path: Path) -> None:
    """Raise UserError for a link, or a file, in the place of a directory within a run's."""
    if (path.is_symlink() or not path.is_dir()) and (error := what_is_not_ours(path, as_folder=True)):
        raise error


def whole_folder(path: Path) -> Path:
    """The same for one in which a package writes files by its own names: nothing in it is a link either."""
    for inner in folder(path).rglob("*"):
        if (inner.is_symlink() or not inner.is_dir()) and (error := what_is_not_ours(inner)):
            raise error
    return path


def remove(path: Path) -> None:
    """Take away what stands there, of a link the link alone."""
    with naming(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def discard_unfinished(directory: Path) -> None:
    """Remove from a directory what a write that died has left there."""
    for path in directory.glob(f"{UNFINISHED}*"):
        remove(path)


def opened(path: Path) -> BufferedReader:
    """A file to be read; raises OSError for a pipe or device, which would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(None, "it is no file", str(path))


def read(path: Path, most: int | None = None) -> bytes:
    """What a file holds; raises OSError for a pipe or device, and ValueError beyond so many bytes."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise ValueError(f"it has {size:,} bytes")
        with naming(path):
            return file.read()


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file that is read as a whole; raises OSError or ValueError."""
    return read(path, MOST).decode("utf-8", errors)


def read_json(path: Path) -> Any:
    """What a file of JSON says; raises OSError or ValueError."""
    return parse_json(read(path, MOST))


def parse_json(text: str | bytes) -> Any:
    """What a text of JSON says; raises ValueError for any that is none, or is nested beyond all sense."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the disk name this file: not none, as where it syncs one, and no temporary one."""
    try:
        yield
    except Exception as error:
        number = errno_of(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def errno_of(error: BaseException) -> int | None:
    """The number that the system gave an error, which safetensors has in words; None where it gave none."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def is_disk_full(error: BaseException) -> bool:
    """Whether the error is one of a disk, or of a quota, that is full."""
    return errno_of(error) in (errno.ENOSPC, errno.EDQUOT)


def has_no_inodes(folder: Path) -> bool:
    """Whether the folder's file system has no room for one more file, however small."""
    try:
        system = os.statvfs(folder)
    except OSError:
        return False
    return system.f_files > 0 and system.f_favail == 0
