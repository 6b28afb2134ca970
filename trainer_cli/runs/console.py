"""The terminal, as every table of this program is printed on it."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH_OF_A_PIPE = 160


def console() -> Console:
    """Standard output; a pipe or file, which has no width, is taken to be wide."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)
