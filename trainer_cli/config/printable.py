"""Text from files, names and errors as a terminal may have it: it moves no cursor, and turns no letters."""

from __future__ import annotations

import re
import sys
from typing import TextIO

from trainer_cli.config.secrets import masked

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""All but a tab and the end of a line; surrogates are bytes of a name that are no UTF-8."""

TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks by which what follows runs from right to left, or from left to right."""

BYTES = 0xDC00
"""What surrogates stand for begins here: the byte."""


def printable(text: str) -> str:
    """The text with its control characters as escapes and without marks of direction."""
    return CONTROL.sub(escape, TURNING.sub("", text))


def in_a_line(text: str) -> str:
    """The same, the ends of lines among what is escaped."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def escape(match: re.Match[str]) -> str:
    """A character as Python writes it."""
    code = ord(match[0])
    code = code - BYTES if BYTES <= code < BYTES + 0x100 else code
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def say(text: str, file: TextIO | None = None) -> None:
    """Print text that may have come from elsewhere, without secrets; to standard error if not to a file."""
    print(printable(masked(text)), file=file or sys.stderr, flush=True)
