"""By what a run can tell that its data is the same again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any


def fingerprint(columns: Iterable[Iterable[Any]]) -> str:
    """16 hex digits of the SHA-256 of every value of every column, in order."""
    digest = hashlib.sha256()
    for column in columns:
        for value in column:
            digest.update(f"{value!r},".encode())  # apart: 1 and 23 are not 12 and 3
        digest.update(b"\n")
    return digest.hexdigest()[:16]
