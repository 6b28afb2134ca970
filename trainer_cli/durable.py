"""Files written whole or not at all, and what a disk answers that does not take them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put the text in the file's place; a crash at any moment leaves the old text or the new one.

    A file that was there keeps its permissions. Bytes that are no UTF-8 stand in the text as surrogates.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        with naming(path):
            _put(path, temporary, text)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that counts is the first one
            temporary.unlink()
        raise


def _put(path: Path, temporary: Path, text: str) -> None:
    with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
        if path.exists():
            shutil.copymode(path, temporary)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the disk name this file: not none, as where it syncs one, and no temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
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
