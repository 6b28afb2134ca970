"""Files written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put the text in the file's place; a crash at any moment leaves the old text or the new one.

    A file that was there keeps its permissions. Bytes that are no UTF-8 stand in the text as surrogates.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            if path.exists():
                shutil.copymode(path, temporary)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
