"""The record of a sweep."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from made_sweep import ACCURACY, LOSS, finished, made_sweep

from trainer_cli import durable
from trainer_cli.runs.sweeps import FILE, Entry, SweepRecord, score_of, swept_keys


def entry(number: int, **values: Any) -> Entry:
    return Entry(f"{number:016x}", number, values, [], f"job-{number}")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = made_sweep(tmp_path, {"optim.lr": [1e-5, 3e-5], "a": [None, [1, "é"]]}, lambda _: None)
    made.update(argv=["-m", "a=[1,é]"])
    found = SweepRecord.load(tmp_path)
    assert found == made
    assert [one.values for one in found.entries] == [
        {"optim.lr": lr, "a": a} for lr in (1e-5, 3e-5) for a in (None, [1, "é"])
    ]


def test_jobs_are_asked_for_in_the_commands_order(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, {"a": [1, 2, 3]}, lambda _: None)
    record.update(asked=record.fields["asked"][:0:-1])
    assert [one.number for one in record.asked] == [3, 2]
    assert [one.number for one in record.entries] == [1, 2, 3]


def test_a_job_has_its_run_where_there_is_one(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, {"a": [1, 2, 3]}, lambda values: finished(0.5) if values["a"] < 3 else None)
    (tmp_path / "job-2" / "run.json").write_text('{"id": "run-2", "crea')
    runs = [record.record(one) for one in record.entries]
    assert [run and run.fields["id"] for run in runs] == ["run-1", None, None]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, FileNotFoundError),
        ("", ValueError),
        ('{"jobs": [], "asked": [', ValueError),
        ("[]", ValueError),
        ('{"jobs": []}', ValueError),
        ('"jobs asked"', ValueError),
        ("\xff", ValueError),
    ],
)
def test_what_is_no_record_of_a_sweep_is_not_taken_for_one(
    tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text, encoding="latin-1")
    with pytest.raises(error):
        SweepRecord.load(tmp_path)


def test_an_update_that_fails_leaves_the_record_that_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made_sweep(tmp_path, {"a": [1]}, lambda _: None)
    before = (tmp_path / FILE).read_bytes()

    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        record.update(refused={"x": "y"})
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        (finished(0.5), 0.5),
        (finished(2.0, LOSS), 2.0),
        ({"metric": ACCURACY, "results": {"eval/accuracy": 0.5}, "best": {"eval/accuracy": 0.9}}, 0.5),
        ({"metric": ACCURACY, "best": {"eval/accuracy": 0.9, "step": 3}}, 0.9),
        ({"metric": ACCURACY, "results": {"eval/loss": 0.5}, "best": {"eval/accuracy": 1}}, 1.0),
        # What was evaluated at the end and gave no number is not made up for by an earlier one.
        ({"metric": ACCURACY, "results": {"eval/accuracy": None}, "best": {"eval/accuracy": 0.9}}, None),
        ({"metric": ACCURACY, "results": {}, "best": None}, None),
        ({"metric": ACCURACY}, None),
        ({"metric": None, "results": {"eval/accuracy": 0.5}}, None),
        ({}, None),
    ],
)
def test_the_score_is_that_of_the_model_that_was_kept(fields: dict[str, Any], score: float | None) -> None:
    assert score_of(fields) == score
    assert score is None or type(score_of(fields)) is float


def test_a_score_that_is_no_number_is_said_as_it_is() -> None:
    score = score_of(json.loads(json.dumps(finished(math.nan))))
    assert score is not None and math.isnan(score)


def test_jobs_are_told_apart_by_the_keys_of_all_of_them() -> None:
    entries = [entry(1, a=1, b=2), entry(2, b=2, c=3), entry(3)]
    assert swept_keys(entries) == ["a", "b", "c"]
    assert [one.label for one in entries] == ["a=1 b=2", "b=2 c=3", "the one job"]


JOB = {"id": "a", "number": 1, "values": {"optim.lr": 0.1}, "words": ["optim.lr=0.1"], "directory": "1_a"}


@pytest.mark.parametrize(
    "fields",
    [
        {"jobs": [JOB]},
        {"jobs": "x", "asked": []},
        {"jobs": [1], "asked": []},
        {"jobs": [{**JOB, "more": 1}], "asked": []},
        {"jobs": [{**JOB, "words": [1]}], "asked": []},
        {"jobs": [{**JOB, "number": "1"}], "asked": []},
        {"jobs": [{**JOB, "values": None}], "asked": []},
        {"jobs": [JOB], "asked": ["b"]},
        {"jobs": [JOB], "asked": [{}]},
        {"jobs": [JOB], "asked": ["a"], "fixed": 1},
        *(
            {"jobs": [{**JOB, "directory": name}], "asked": ["a"]}
            for name in ("/etc", "..", ".", "../x", "a/b")
        ),
        {"jobs": [{**JOB, "directory": "../../../home/x"}], "asked": ["a"]},
    ],
    ids=str,
)
def test_a_record_that_is_not_what_it_says_is_damaged(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / FILE).write_text(json.dumps(fields))
    with pytest.raises(ValueError):
        SweepRecord.load(tmp_path)


@pytest.mark.parametrize("directory", ["1_a", "../other/1_a"])
def test_a_job_is_in_its_sweep_or_in_one_beside_it(tmp_path: Path, directory: str) -> None:
    fields = {"jobs": [{**JOB, "directory": directory}], "asked": ["a"], "search": {}, "refused": {}}
    (tmp_path / FILE).write_text(json.dumps(fields))
    (entry,) = SweepRecord.load(tmp_path).asked
    assert entry.directory == directory
