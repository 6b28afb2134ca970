"""What a user can put right, and the short block in which it is said."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from trainer_cli.durable import has_no_inodes, is_disk_full


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it was set, and what would be right; `key` is what it is wrong with.

    `unset` says that nothing is wrong but that a value is still to be given.
    """

    what: str
    where: str = ""
    right: str = ""
    key: str = field(default="", compare=False)
    unset: bool = field(default=False, compare=False)

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


class Misfit(UserError):
    """A row of the data does not fit: the one at `row` of its batch, from 0."""

    def __init__(self, what: str, where: str = "", right: str = "", row: int = 0) -> None:
        super().__init__(what, where, right)
        self.row = row

    def of(self, rows: Sequence[int]) -> UserError:
        """The same, of a batch whose rows have these numbers in the data."""
        problem = self.problems[0]
        return UserError(f"row {rows[self.row]} of the data: {problem.what}", problem.where, problem.right)


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
        what = f"the disk has no room for {path}{counts}"
        if has_no_inodes(path.parent):
            what = f"the disk has no inode left for {path}: it holds too many files, however small"
            right = right.replace("with more room", "with some of them deleted (df -i counts them)")
        if path.name.startswith("checkpoint-"):
            right += ";\ncheckpoint.on_full=continue trains on without the checkpoints that find no room"
        return cls(what, right=right)


class DiskFailed(RunFailed):
    """The disk refused a file of the run, for a reason other than its room."""

    @classmethod
    def of(cls, error: BaseException, run_dir: Path) -> RunFailed | None:
        """The error for what the system answered; None where that was not about a file below `run_dir`."""
        if is_disk_full(error):
            return DiskFull.at(run_dir)
        if not isinstance(error, OSError) or not isinstance(error.filename, str | os.PathLike):
            return None
        path, number = Path(error.filename), error.errno or 0
        if not path.absolute().is_relative_to(run_dir.absolute()):
            return None
        if number in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE) and not run_dir.is_dir():
            return cls(
                f"the run's directory {run_dir} is gone: it was deleted or moved while the run used it",
                right="if it was moved, resume=ITS_NEW_PLACE continues from its newest checkpoint",
            )
        return cls(f"{path}: {error.strerror}", right=RIGHT.get(number, RIGHT[0]).format(run_dir=run_dir))


RIGHT = {
    errno.EIO: "the disk may be failing: copy {run_dir} to another, and resume=THE_COPY continues there",
    errno.EROFS: "the file system is read-only now; made writable again, resume={run_dir} continues",
    errno.EACCES: "the directory has to be writable; then resume={run_dir} continues",
    errno.EPERM: "the directory has to be writable; then resume={run_dir} continues",
    errno.EMFILE: "a higher limit of open files (ulimit -n), or fewer args.dataloader_num_workers",
    errno.EEXIST: "something is in its way: with that moved, resume={run_dir} continues",
    errno.EISDIR: "something is in its way: with that moved, resume={run_dir} continues",
    errno.ENOTDIR: "something is in its way: with that moved, resume={run_dir} continues",
    0: "with that put right, resume={run_dir} continues from the newest checkpoint",
}
"""What helps, by the system's number of the error; 0 is any other."""


def megabytes(size: int) -> str:
    """Bytes as people count them."""
    return f"{size / 1e6:,.1f} MB"


def missing_extra(module: str, extra: str) -> UserError:
    """The error for a package that an optional part needs and that is not installed."""
    return UserError(f"{module} is not installed", right=f"pip install 'trainer-cli[{extra}]' adds it")
