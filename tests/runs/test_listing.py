"""`trainer-cli runs`."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer_cli.config.errors import UserError
from trainer_cli.runs.compare import print_comparison
from trainer_cli.runs.listing import ago, print_runs, span
from trainer_cli.runs.record import FILE, Record
from trainer_cli.runs.show import print_run
from trainer_cli.runs.sweeps import FILE as SWEEP


def table(*words: str, sort: str | None = None) -> None:
    print_runs(words, sort=sort, as_json=False, plot=False)


def listed(capsys: pytest.CaptureFixture[str], *words: str, sort: str | None = None) -> list[dict[str, Any]]:
    print_runs(words, sort=sort, as_json=True, plot=False)
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def make_sweep(root: Path, *scores: float | None, waiting: int = 0) -> Path:
    """A sweep over the learning rate; a job without a score has failed."""
    sweep_dir = root / "glue" / "sweep-ab12cd"
    jobs = []
    for number in range(1, len(scores) + waiting + 1):
        values = {"optim.lr": number / 1000}
        directory = f"lr-{number / 1000}_{number:012x}"
        jobs.append(
            {"id": str(number), "number": number, "values": values, "words": [], "directory": directory}
        )
        if number > len(scores):
            continue
        score = scores[number - 1]
        fields = {
            "name": "glue",
            "sweep": {"name": sweep_dir.name, "number": number, "values": values},
            "metric": {"name": "eval/accuracy", "greater_is_better": True},
            "results": {} if score is None else {"eval/accuracy": score},
        }
        record = Record.at(sweep_dir / directory, fields)
        record.end("failed" if score is None else "finished")
    (sweep_dir / SWEEP).write_text(json.dumps({"jobs": jobs, "asked": [job["id"] for job in jobs]}))
    return sweep_dir


def test_the_table_has_a_row_for_each_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = {"eval/accuracy": 0.97531, "step": 40}
    results = {"eval/accuracy": 0.97531, "eval/loss": 0.123456, "train/seconds": 3.0}
    first = Record.create(tmp_path, "glue", {})
    first.end("finished", step=50, total_steps=50, best=best, results=results)
    second = Record.create(tmp_path, "lm", {})
    second.end("preempted", step=7, total_steps=100)
    third = Record.create(tmp_path, "lm", {})
    third.end("failed", error="error: no memory is left\nmore of it")
    table(str(tmp_path))
    title, heading, *lines = capsys.readouterr().out.splitlines()
    assert title == f"3 runs below {tmp_path}"
    assert heading.split() == ["run", "status", "steps", "best", "at", "the", "end", "took", "age"]
    row = [f"glue/{first.run_dir.name}", "finished", "50/50", "accuracy", "0.9753", "loss", "0.1235"]
    assert lines[0].split() == [*row, "0", "s", "0", "s"]
    assert lines[1].split()[:3] == [f"lm/{second.run_dir.name}", "preempted", "7/100"]
    assert lines[2].split("  ")[0] == f"lm/{third.run_dir.name}"
    assert "no memory is left" in lines[2]


def test_a_run_that_was_killed_before_it_said_anything_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record.create(tmp_path, "glue", {})
    table(str(tmp_path))
    assert record.fields["id"] in capsys.readouterr().out


def test_a_running_run_shows_the_steps_of_its_last_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record.create(tmp_path, "glue", {"total_steps": 100})
    (record.run_dir / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n{"st')
    table(str(tmp_path))
    assert "20/100" in capsys.readouterr().out


def test_json_has_every_record_with_its_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.create(tmp_path, "glue", {"seed": 3})
    record.end("finished", best={"eval/loss": 0.25, "step": 4})
    (row,) = listed(capsys, str(tmp_path))
    assert row == {**record.fields, "status": "finished", "dir": str(record.run_dir)}
    assert listed(capsys, str(record.run_dir)) == [row]


def test_filters_and_order_hold_for_the_table_and_for_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 3, 2):
        record = Record.create(tmp_path, "glue", {"seed": seed})
        record.end("failed" if seed == 1 else "finished")
    words = [str(tmp_path), "status=finished"]
    assert [row["seed"] for row in listed(capsys, *words, sort="-seed")] == [3, 2]
    table(*words, sort="-seed")
    title, heading, *lines = capsys.readouterr().out.splitlines()
    assert title == f"2 of 3 runs below {tmp_path}: status=finished"
    # A key that is no column becomes one.
    assert heading.split()[:3] == ["run", "status", "seed"]
    assert [line.split()[2] for line in lines] == ["3", "2"]


def test_filters_that_none_passes_say_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Record.create(tmp_path, "glue", {}).end("finished")
    table(str(tmp_path), "status=finish")
    out = capsys.readouterr().out
    assert out == f"none of the 1 run below {tmp_path} has status=finish\n  status is finished\n"
    assert listed(capsys, str(tmp_path), "status=finish") == []


def test_the_jobs_of_a_sweep_are_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Record.create(tmp_path, "glue", {})
    sweep_dir = make_sweep(tmp_path, 0.5, 0.875, None, waiting=2)
    last = Record.create(tmp_path, "lm", {})
    table(str(tmp_path))
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert title == f"5 runs below {tmp_path}"
    assert [line.split()[0] for line in lines[:3]] == [
        f"glue/{first.run_dir.name}",
        "glue/sweep-ab12cd",
        f"lm/{last.run_dir.name}",
    ]
    for part in ("unfinished", "2/5 jobs", "accuracy 0.875", "optim.lr=0.002; 2 waiting, 1 failed"):
        assert part in lines[1]
    assert lines[-1] == f"trainer-cli runs {sweep_dir} has its leaderboard"
    assert len(listed(capsys, str(tmp_path))) == 5


def test_jobs_that_are_filtered_or_sorted_are_rows_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_dir = make_sweep(tmp_path, 0.5, 0.875, None)
    table(str(tmp_path), "sweep=sweep-ab12cd", sort="-eval/accuracy")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].rpartition("/")[2].split("_")[0] for line in lines[2:]] == [
        "lr-0.002",
        "lr-0.001",
        "lr-0.003",
    ]
    assert [row["status"] for row in listed(capsys, str(sweep_dir), "status=failed")] == ["failed"]


@pytest.mark.slow
def test_a_thousand_runs_are_listed_within_a_second(tmp_path: Path) -> None:
    packages = {f"package-{number}": "1.2.3" for number in range(120)}
    for number in range(1000):
        record = Record.at(tmp_path / "glue" / f"{number:04}", {"packages": packages})
        fields = {**record.fields, "status": "finished", "results": {"eval/loss": number}, "step": 10}
        (record.run_dir / "run.json").write_text(json.dumps(fields, indent=1))
        for step in (5, 10):
            (record.run_dir / f"checkpoint-{step}").mkdir()
    before = os.times()
    command = [sys.executable, "-m", "trainer_cli", "runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = os.times()
    assert len(done.stdout.splitlines()) == 1002
    # Of the processor's time: a machine that is busy with other things has others' on the clock.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1


def test_a_directory_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, str(tmp_path)) == []
    table(str(tmp_path))
    assert capsys.readouterr().out.startswith(f"there are no runs below {tmp_path}; ")


def test_a_run_is_shown_by_its_directory_or_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record = Record.create(Path("outputs"), "glue", {"argv": ["+recipe=glue"]})
    for word in (str(record.run_dir), record.fields["id"]):
        table(word)
        assert "trainer-cli +recipe=glue" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "there are no runs yet: no directory outputs here"),
        (["missing"], "there is no directory missing, and no run of this id below outputs"),
        (["a", "b"], "runs takes one directory, not 2: a b"),
    ],
)
def test_what_cannot_be_listed_is_the_users_error(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        table(*words)
    assert says in caught.value.problems[0].what
    assert "trainer-cli" in caught.value.problems[0].right


def test_a_directory_whose_name_looks_like_a_filter_is_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Record.create(Path("lr=1"), "glue", {})
    assert len(listed(capsys, "lr=1")) == 1


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (1, "1 s", "1 s"),
        (150, "2 min", "2 min 30 s"),
        (84600, "23 h", "23 h 30 min"),
        (1047600, "12 d", "12 d 3 h"),
        (None, "-", "-"),
    ],
)
def test_times_are_in_the_largest_units(seconds: float | None, short: str, long: str) -> None:
    assert ago(seconds) == short
    assert span(seconds) == long


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Record.create(tmp_path, "glue", {})
    texts = {"half": '{"id": "a", "crea', "list": "[]", "types": '{"id": "a", "created": "b", "best": 3}'}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    table(str(tmp_path))
    out, err = capsys.readouterr()
    assert out.startswith("1 run below")
    assert {line.partition(" cannot be read: ")[0] for line in err.splitlines()} == {
        f"left out: {tmp_path / name / 'run.json'}" for name in texts
    }
    assert "its best is 3" in err


def test_json_has_no_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.create(tmp_path, "glue", {"sweep": {"values": {"optim.lr": math.inf}}})
    record.end("finished", best={"eval/odd": -math.inf, "step": 3})
    (run,) = listed(capsys, str(tmp_path))
    assert run["best"] == {"eval/odd": "-inf", "step": 3} and run["sweep"]["values"] == {"optim.lr": "inf"}


def test_a_score_that_is_no_number_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Record.create(tmp_path, "glue", {}).end("finished", results={"eval/loss": 0.5, "eval/odd": None})
    table(str(tmp_path))
    assert "loss 0.5, odd nan" in capsys.readouterr().out


def test_of_a_run_that_was_killed_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.create(tmp_path, "glue", {})
    record.update(pid=2**30)
    table(str(tmp_path))
    assert "its process ended without a word" in capsys.readouterr().out


def test_a_long_name_leaves_the_others_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr("trainer_cli.runs.listing.console", lambda: out)
    record = Record.create(tmp_path, "a" * 100, {})
    record.end("finished", step=5, best={"eval/loss": 0.5, "step": 5})
    table(str(tmp_path))
    assert isinstance(out.file, io.StringIO)
    *_, line = out.file.getvalue().splitlines()
    assert len(line) <= 80 and "loss 0.5" in line
    assert line.startswith("…aa") and line.split()[0].endswith(f"a/{record.fields['id']}")


def test_names_and_errors_of_others_move_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x1b[2Jb\u202ec\nd"
    fields = {"argv": [f"run.name={evil}"], "choices": {"model": evil}, "metric": {"name": evil}}
    record = Record.create(tmp_path, f"x{evil}".replace("\n", ""), {**fields, "summary": {evil: evil}})
    record.end("failed", error=evil, results={f"eval/{evil}": 0.5}, best={f"eval/{evil}": 0.5})
    other = Record.create(tmp_path, "other\udcff", fields)
    (tmp_path / f"bad{evil}").mkdir()
    (tmp_path / f"bad{evil}" / FILE).write_text("{")
    (tmp_path / "run" / "\x1b[31m").mkdir(parents=True)
    os.mkfifo(tmp_path / "run" / "\x1b[31m" / FILE)
    table(str(tmp_path))
    print_run(str(record.run_dir), as_json=False)
    print_comparison([str(record.run_dir), str(other.run_dir)], as_json=False)
    said = capsys.readouterr()
    assert "a\\x1b[2Jbc" in said.out and "a\\x1b[2Jbc" in said.err and "it is no file" in said.err
    for text in (said.out, said.err):
        assert "\x1b" not in text and "\u202e" not in text
