"""The terminal, as all of this program prints on it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from trainer_cli.config.printable import printable

WIDTH_OF_A_PIPE = 160


class Patient(Console):
    """Goes on in silence when its reader has gone (`trainer-cli list | head`): a run need not end with it."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(sys.stdout)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Only this program's own control characters go to the terminal, none that stand in a text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def show_cursor(self, show: bool = True) -> bool:
        """Never hide it: a process that is killed could not bring it back."""
        return super().show_cursor() if show else False


def silence(stream: TextIO) -> None:
    """Have what is still written to a closed pipe go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def console() -> Console:
    """Standard output; a pipe or file, which has no width and no cursor, is taken to be wide.

    Text is printed as it is: a path or a list has square brackets too, and `:key:` is no emoji.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a run does not end for a character that a terminal lacks
    if sys.stdout.isatty():
        return Patient(markup=False, emoji=False, highlight=False)
    wide = WIDTH_OF_A_PIPE
    return Patient(markup=False, emoji=False, highlight=False, width=wide, force_interactive=False)
