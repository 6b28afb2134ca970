"""What a user can put right, and the short block in which it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it was set, and what would be right; `key` is what it is wrong with."""

    what: str
    where: str = ""
    right: str = ""
    key: str = field(default="", compare=False)

    def block(self) -> str:
        """The problem in two or three lines, each part that is known on its own."""
        lines = [self.what]
        if self.where:
            lines.append(f"  set in: {self.where}")
        if self.right:
            lines.append("  " + self.right.replace("\n", "\n  "))
        return "\n".join(lines)


class UserError(Exception):
    """The user's configuration or input is wrong: shown as a short block, exit code 2."""

    def __init__(self, what: str, where: str = "", right: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, right),)
        super().__init__(what)

    @classmethod
    def many(cls, problems: Sequence[Problem]) -> Self:
        """One report of everything that is wrong; needs at least one problem."""
        first = problems[0]
        error = cls(first.what, first.where, first.right)
        error.problems = tuple(problems)
        return error

    def block(self) -> str:
        """The report as it is printed."""
        count = len(self.problems)
        head = "error: " if count == 1 else f"{count} errors:\n\n"
        return head + "\n\n".join(problem.block() for problem in self.problems)


class RunFailed(UserError):
    """The run came to an end that the user can understand: shown as a short block, exit code 1."""

    @classmethod
    def late(cls, error: UserError) -> UserError:
        """The same report, of a run that has trained: it has failed, and is not one that was refused."""
        return error if isinstance(error, RunFailed) else cls.many(error.problems)


class Diverged(RunFailed):
    """Training met values that are not finite."""


class DiskFull(RunFailed):
    """There is no room for what the run must write."""

    @classmethod
    def at(cls, path: Path, need: int | None = None, free: int | None = None) -> DiskFull:
        """The error for a file or directory, with what it needs and what there is in bytes where known."""
        counts = "" if need is None or free is None else f": it needs {megabytes(need)} of {megabytes(free)}"
        right = "what was saved before is whole: with more room, resume=latest goes on from it"
        if path.name.startswith("checkpoint-"):
            right += ";\ncheckpoint.on_full=continue trains on without the checkpoints that find no room"
        return cls(f"the disk has no room for {path}{counts}", right=right)


def megabytes(size: int) -> str:
    """Bytes as people count them."""
    return f"{size / 1e6:,.1f} MB"


def missing_extra(module: str, extra: str) -> UserError:
    """The error for a package that an optional part needs and that is not installed."""
    return UserError(f"{module} is not installed", right=f"pip install 'trainer-cli[{extra}]' adds it")
