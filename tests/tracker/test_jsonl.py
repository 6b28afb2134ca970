"""metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from trainer_cli.tracker import jsonl
from trainer_cli.tracker.jsonl import FILE, JsonLines, read, stream


def row(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "epoch": step / 10, **values}


def write(run_dir: Path, *rows: dict[str, float], resumed_at: int = 0, kept: int = 0) -> bytes:
    tracker = JsonLines()
    tracker.start(run_dir, resumed_at, kept)
    for one in rows:
        tracker.log(one)
    tracker.close()
    return (run_dir / FILE).read_bytes()


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    tracker = JsonLines()
    tracker.start(tmp_path, 0, 0)
    tracker.log(row(1, **{"train/loss": 0.1}))
    assert read(tmp_path / FILE) == [{"step": 1, "epoch": 0.1, "train/loss": 0.1}]  # before it is closed
    tracker.close()


def test_rows_after_the_resumed_step_come_again(tmp_path: Path) -> None:
    rows = [row(step, **{"train/loss": 1 / (step + 1)}) for step in range(1, 8)]
    whole = write(tmp_path, *rows)
    assert write(tmp_path, *rows[5:], resumed_at=5, kept=5) == whole


def test_a_row_of_the_resumed_step_that_comes_again_is_there_once(tmp_path: Path) -> None:
    training, evaluation = row(4, **{"train/loss": 1.0}), row(4, **{"eval/loss": math.nan})
    whole = write(tmp_path, row(3), training, evaluation)
    assert write(tmp_path, evaluation, resumed_at=4, kept=3) == whole
    assert write(tmp_path, evaluation, resumed_at=4, kept=2) == whole
    other = row(4, **{"eval/loss": 2.0})
    again = write(tmp_path, other, resumed_at=4, kept=3)
    assert again == whole + b'{"step": 4, "epoch": 0.4, "eval/loss": 2.0}\n'


def test_a_fresh_start_drops_all_rows_of_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, row(1), row(2))
    assert write(tmp_path, row(1, x=1.0)) == b'{"step": 1, "epoch": 0.1, "x": 1.0}\n'


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    whole = write(tmp_path, row(1), row(2))
    (tmp_path / FILE).write_bytes(whole + b'{"step": 3, "epo')
    assert [one["step"] for one in read(tmp_path / FILE)] == [1, 2]
    assert write(tmp_path, row(3), resumed_at=2, kept=2) == whole + b'{"step": 3, "epoch": 0.3}\n'


def test_what_is_no_number_is_named_and_every_line_stays_json(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = write(tmp_path, row(1, a=math.nan, b=math.inf, c=-math.inf, d=1e-300)).decode()
    (line,) = text.splitlines()
    assert json.loads(line, parse_constant=refuse) == row(1) | {
        "a": "nan",
        "b": "inf",
        "c": "-inf",
        "d": 1e-300,
    }
    assert [float(value) for value in read(tmp_path / FILE)[0].values()][3:5] == [math.inf, -math.inf]
    assert write(tmp_path, resumed_at=1, kept=1).decode() == text


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    write(tmp_path, row(1, x=0.1 + 0.2))
    assert read(tmp_path / FILE)[0]["x"] == 0.1 + 0.2


def test_without_a_file_there_are_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / FILE) == []


def test_what_is_no_row_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE
    path.write_bytes(b'{"step": 1}\n{"step": 2, "tr\n[3]\n{"loss": 4}\n\xff\xfe\x00\n{"step": 5}\n{"step": 6')
    assert read(path) == [{"step": 1}, {"step": 5}]
    assert f"{path} is damaged: 2 of its 6 rows are left" in caplog.text


def test_rows_are_read_in_pieces_of_which_a_damaged_line_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "PIECE", 3)
    lines = [json.dumps({"step": step}) for step in range(10)]
    lines[4] = '{"step": 4}, {"step": 5}'
    lines[7] = "[1, 2]"
    (tmp_path / FILE).write_text("\n".join(lines) + '\n{"step": 1')
    assert [row["step"] for row in stream(tmp_path / FILE)] == [0, 1, 2, 3, 5, 6, 8, 9]


def test_the_first_rows_are_there_before_the_last_are_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("".join(f'{{"step": {step}}}\n' for step in range(2 * jsonl.PIECE)))
    rows = stream(tmp_path / FILE)
    assert next(rows) == {"step": 0}
    (tmp_path / FILE).write_text("")
    assert sum(1 for _ in rows) < 2 * jsonl.PIECE - 1
