"""What is said to a user: a block for one problem, one report for many."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trainer_cli.config.errors import (
    DiskFailed,
    DiskFull,
    Diverged,
    Problem,
    RunFailed,
    UserError,
    megabytes,
    missing_extra,
)


@pytest.mark.parametrize(
    ("problem", "block"),
    [
        (Problem("it is wrong"), "it is wrong"),
        (Problem("it is wrong", "a.yaml:3"), "it is wrong\n  set in: a.yaml:3"),
        (Problem("it is wrong", right="do this\nor that"), "it is wrong\n  do this\n  or that"),
        (Problem("it is wrong", "a.yaml:3", "do this"), "it is wrong\n  set in: a.yaml:3\n  do this"),
    ],
)
def test_what_is_known_of_a_problem_stands_below_it(problem: Problem, block: str) -> None:
    assert problem.block() == block
    assert UserError(problem.what, problem.where, problem.right).block() == f"error: {block}"


def test_several_problems_are_counted_and_kept_apart() -> None:
    one, other = Problem("one", "a.yaml:1"), Problem("other", right="do this")
    error = UserError.many([one, other])
    assert error.problems == (one, other)
    assert error.block() == "2 errors:\n\none\n  set in: a.yaml:1\n\nother\n  do this"
    assert str(error) == "one"
    assert UserError.many([other]).block() == "error: other\n  do this"


@pytest.mark.parametrize("kind", [UserError, RunFailed, Diverged, DiskFull])
def test_a_report_of_many_is_of_the_kind_that_was_asked_for(kind: type[UserError]) -> None:
    assert type(kind.many([Problem("one"), Problem("other")])) is kind


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MB"), (49_999, "0.0 MB"), (50_001, "0.1 MB"), (12_345_678_900, "12,345.7 MB")],
)
def test_bytes_are_counted_in_millions(size: int, text: str) -> None:
    assert megabytes(size) == text


def test_a_full_disk_says_what_it_needs_and_what_goes_on_without() -> None:
    block = DiskFull.at(Path("run/checkpoint-5"), need=3_000_000, free=1_500_000).block()
    assert block.startswith("error: the disk has no room for run/checkpoint-5: it needs 3.0 MB of 1.5 MB\n")
    assert "resume=latest" in block and "checkpoint.on_full=continue" in block
    # Without a count of both there is nothing to compare, and only a checkpoint can be left out.
    unknown = DiskFull.at(Path("run/model"), need=3_000_000)
    assert unknown.problems[0].what == "the disk has no room for run/model"
    assert "on_full" not in unknown.block()


def test_a_package_that_is_missing_comes_with_its_extra() -> None:
    block = missing_extra("optuna", "sweep").block()
    assert block == "error: optuna is not installed\n  pip install 'trainer-cli[sweep]' adds it"


@pytest.mark.parametrize(
    ("number", "right"),
    [
        (
            errno.EIO,
            "the disk may be failing: copy {run} to another, and resume=THE_COPY continues there",
        ),
        (errno.EROFS, "the file system is read-only now; made writable again, resume={run} continues"),
        (errno.EACCES, "the directory has to be writable; then resume={run} continues"),
        (errno.EMFILE, "a higher limit of open files (ulimit -n), or fewer args.dataloader_num_workers"),
        (errno.EFBIG, "with that put right, resume={run} continues from the newest checkpoint"),
    ],
    ids=errno.errorcode.get,
)
def test_what_a_disk_refuses_is_named_with_what_helps(tmp_path: Path, number: int, right: str) -> None:
    file = tmp_path / "metrics.jsonl"
    error = DiskFailed.of(OSError(number, os.strerror(number), str(file)), tmp_path)
    assert error is not None and isinstance(error, RunFailed)
    assert error.problems[0].what == f"{file}: {os.strerror(number)}"
    assert error.problems[0].right == right.format(run=tmp_path)


def test_a_directory_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(FileNotFoundError) as caught:
        (run_dir / "metrics.jsonl").open("ab")
    error = DiskFailed.of(caught.value, run_dir)
    assert error is not None and error.problems[0].what.startswith(f"the run's directory {run_dir} is gone")
    run_dir.mkdir()
    error = DiskFailed.of(caught.value, run_dir)
    assert (
        error is not None and error.problems[0].what == f"{run_dir}/metrics.jsonl: No such file or directory"
    )


def test_an_error_of_files_elsewhere_is_none_of_the_run_s_disk(tmp_path: Path) -> None:
    assert DiskFailed.of(OSError(errno.EIO, "bad", str(tmp_path / "rows.csv")), tmp_path / "run") is None
    assert DiskFailed.of(OSError(errno.EIO, "bad"), tmp_path) is None
    assert DiskFailed.of(ValueError("bad"), tmp_path) is None
    assert isinstance(DiskFailed.of(OSError(errno.ENOSPC, "full"), tmp_path), DiskFull)


def test_a_disk_with_room_but_no_inode_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")}
    played = type("Statvfs", (), {**fields, "f_files": 100, "f_favail": 0})
    monkeypatch.setattr(os, "statvfs", lambda path: played)
    problem = DiskFull.at(tmp_path / "checkpoint-5").problems[0]
    assert problem.what.startswith("the disk has no inode left for") and "df -i" in problem.right
