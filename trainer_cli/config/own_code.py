"""The user's own code in an error: the line that raised it, and whether that is a refusal of values."""

from __future__ import annotations

import dis
import linecache
import sysconfig
from functools import lru_cache
from pathlib import Path
from traceback import format_exception
from types import TracebackType

from trainer_cli.config.places import short

_PACKAGE = Path(__file__).resolve().parents[1]
_PYTHON = tuple(Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib"))


def is_refusal(error: BaseException) -> bool:
    """Whether the values that a target was called with are wrong, rather than the user's code below it.

    So it is where no code of the user's is on the way to the error, and where the function or constructor
    that was called raises it itself, by a `raise` of its own.
    """
    own = _own(error.__traceback__)
    if not own:
        return isinstance(error, ValueError | TypeError | AssertionError)
    last = _last(error.__traceback__)
    raises = last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return isinstance(error, ValueError | TypeError) and own == [last] and raises


def raised_in(error: BaseException) -> str:
    """The line of the user's own code that raised it, as `raised in: FILE:LINE, in FUNCTION`; else empty."""
    own = _own(error.__traceback__)
    function = ""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and _is_own(error.filename):
        file, line = error.filename, error.lineno
    elif own:
        code, line = own[-1].tb_frame.f_code, own[-1].tb_lineno
        file, function = code.co_filename, "" if code.co_name == "<module>" else f", in {code.co_qualname}"
    else:
        return ""
    source = linecache.getline(file, line).strip()
    return f"raised in: {short(Path(file))}:{line}{function}" + (f"\n    {source}" if source else "")


def failure(error: BaseException, traceback: bool) -> str:
    """What is said of an error that nobody foresaw: where the user's own code raised it, or the traceback."""
    head = f"the run failed: {headline(error)}"
    where = raised_in(error)
    if traceback or not where:
        return "".join(format_exception(error)) + head
    notes = getattr(error, "__notes__", ())
    return "\n  ".join([head, *where.splitlines(), *notes, "--traceback shows the calls that led there"])


def headline(error: BaseException) -> str:
    """The error's kind and text."""
    return f"{type(error).__name__}: {text}" if (text := str(error).strip()) else type(error).__name__


def _own(start: TracebackType | None) -> list[TracebackType]:
    """The steps of a traceback in the user's own code, the innermost last; without those that called us."""
    steps, step = [], start
    while step is not None and _is_own(step.tb_frame.f_code.co_filename):
        step = step.tb_next
    while step is not None:
        if _is_own(step.tb_frame.f_code.co_filename):
            steps.append(step)
        step = step.tb_next
    return steps


def _last(start: TracebackType | None) -> TracebackType:
    assert start is not None
    while start.tb_next is not None:
        start = start.tb_next
    return start


@lru_cache(maxsize=1024)
def _is_own(file: str) -> bool:
    """Whether a source file is the user's: not trainer_cli's, not installed, not Python's own."""
    if file.startswith("<"):  # made at run time, or frozen into Python
        return False
    path = Path(file).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(_PACKAGE):
        return False
    return not any(path.is_relative_to(folder) for folder in _PYTHON)
