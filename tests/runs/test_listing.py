"""`trainer-cli runs`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs.listing import age, print_runs
from trainer_cli.runs.record import Record, now


def test_the_table_has_a_row_for_each_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = {"eval/accuracy": 0.97531, "step": 40}
    first = Record.create(tmp_path, "glue", {})
    first.end("finished", step=50, total_steps=50, best=best)
    second = Record.create(tmp_path, "lm", {})
    second.end("preempted", step=7, total_steps=100)
    print_runs(str(tmp_path), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if first.fields["id"] in line]
    assert all(part in row for part in ("glue/", "finished", "50/50", "eval/accuracy 0.9753", "0 s"))
    assert "step" not in row
    (row,) = [line for line in lines if second.fields["id"] in line]
    assert all(part in row for part in ("lm/", "preempted", "7/100"))
    assert f"2 runs below {tmp_path}" in "".join(lines)


def test_a_run_that_was_killed_before_it_said_anything_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record.create(tmp_path, "glue", {})
    print_runs(str(tmp_path), as_json=False)
    assert record.fields["id"] in capsys.readouterr().out


def test_json_has_every_record_with_its_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.create(tmp_path, "glue", {"seed": 3})
    record.end("finished", best={"eval/loss": 0.25, "step": 4})
    print_runs(str(tmp_path), as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {**record.fields, "status": "finished", "dir": str(record.run_dir)}


def test_an_empty_directory_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs(str(tmp_path), as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_missing_directory_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no directory"):
        print_runs(str(tmp_path / "missing"), as_json=False)


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        ({"seconds": 1}, "1 s"),
        ({"minutes": 2, "seconds": 30}, "2 min"),
        ({"hours": 23, "minutes": 30}, "23 h"),
        ({"days": 12, "hours": 3}, "12 d"),
    ],
)
def test_ages_are_in_the_largest_whole_unit(ago: dict[str, int], text: str) -> None:
    created = now() - datetime.timedelta(**ago)
    assert age(created.isoformat()) == text
