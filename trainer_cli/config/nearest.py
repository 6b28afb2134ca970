"""The names that a misspelt one may stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """The names one edit away from `word`, then similar ones: three, or all that are one edit away.

    Where small letters for capitals, or underscores for hyphens, make it a name, it is that one.
    """
    names = [name for name in dict.fromkeys(names) if name != word]
    if same := [name for name in names if _plain(name) == _plain(word)]:
        return same
    close = [name for name in names if one_edit(word, name)]
    similar = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    return close + [name for name in similar if name not in close][: max(0, 3 - len(close))]


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def did_you_mean(word: str, names: Iterable[str], prefix: str = "") -> str:
    """`did you mean a or b?`, or nothing where no name is near."""
    found = [prefix + name for name in nearest(word, names)]
    return f"did you mean {' or '.join(found)}?" if found else ""


def one_edit(a: str, b: str) -> bool:
    """Whether one insertion, deletion, replacement or swap of neighbours makes `b` of `a`."""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    swapped = rest_a[:2] == rest_b[:2][::-1] and rest_a[2:] == rest_b[2:]
    return swapped or rest_a[1:] == rest_b[1:] or rest_a[1:] == rest_b or rest_a == rest_b[1:]
