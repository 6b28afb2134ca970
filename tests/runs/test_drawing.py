"""`trainer-cli runs RUN --plot`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer_cli.config.errors import UserError
from trainer_cli.runs.drawing import MOST_RUNS, in_order, layout, print_curves
from trainer_cli.runs.listing import print_runs
from trainer_cli.runs.record import Record


def make_run(root: Path, rows: list[dict[str, Any]], **fields: Any) -> Record:
    record = Record.create(root, "glue", fields)
    record.end("finished")
    (record.run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return record


def rows_of(steps: int, start: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"step": step, "epoch": 1.0, "train/loss": start / step, "train/lr": 0.1, "train/lr/0": 0.1}
        for step in range(1, steps + 1)
    ]


def test_every_curve_of_a_run_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*rows_of(20), {"step": 10, "eval/loss": 0.5}, {"step": 20, "eval/loss": 0.25}]
    record = make_run(tmp_path, [*rows, {"step": 20, "eval/accuracy": 0.875}])
    print_runs([str(record.run_dir)], sort=None, as_json=False, plot=True)
    out = capsys.readouterr().out
    head, single, *lines = out.splitlines()
    assert head == f"{record.run_dir}  finished"
    assert single == "eval/accuracy 0.875 at step 20"
    titles = ["train/loss  0.05", "eval/loss  0.25", "train/lr  0.1"]
    assert [line for line in lines if line in titles] == titles
    assert "train/lr/0" not in out
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make_run(tmp_path, [*rows_of(5), {"step": 6, "train/loss": "nan"}])
    print_curves([record], tmp_path)
    assert "train/loss  nan  (1 not finite)" in capsys.readouterr().out


def test_losses_of_several_runs_are_on_one_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"optim.lr": 0.5}
    runs = [make_run(tmp_path, rows_of(10, 4.0)), make_run(tmp_path, rows_of(10), sweep={"values": values})]
    print_runs([str(tmp_path)], sort=None, as_json=False, plot=True)
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if "train/loss" in line]
    assert titles[0].startswith(f"glue/{runs[0].run_dir.name} train/loss")
    assert titles[1].startswith("optim.lr=0.5 train/loss")
    assert [line.split()[0] for line in lines if "┤" in line] == ["4", "2.05", "0.1"] * 2
    assert not any("train/lr " in line for line in lines)


def test_a_run_that_was_not_evaluated_stands_beside_one_that_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations = [{"step": 5, "eval/loss": 0.5}, {"step": 10, "eval/loss": 0.25}]
    print_curves(
        [make_run(tmp_path, rows_of(10)), make_run(tmp_path, [*rows_of(10), *evaluations])], tmp_path
    )
    lines = capsys.readouterr().out.splitlines()
    assert sum("eval/loss" in line for line in lines) == 2
    assert "nothing to draw" in lines


def test_what_cannot_be_drawn_says_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no runs below"):
        print_curves([], tmp_path)
    empty = make_run(tmp_path, [])
    with pytest.raises(UserError, match=r"has no rows in metrics\.jsonl"):
        print_curves([empty], tmp_path)
    with pytest.raises(UserError, match=f"up to {MOST_RUNS} runs") as caught:
        print_curves([empty] * (MOST_RUNS + 1), tmp_path)
    assert f"trainer-cli report {tmp_path}" in caught.value.problems[0].right


def test_plots_are_as_wide_as_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    monkeypatch.setattr("trainer_cli.runs.drawing.console", lambda: out)
    print_curves([make_run(tmp_path, rows_of(20))], tmp_path)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert lines[1].split() == ["train/loss", "0.05", "train/lr", "0.1"]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(("total", "columns"), [(20, 1), (80, 1), (120, 2), (200, 3), (400, 3)])
def test_plots_stand_side_by_side_where_there_is_room(total: int, columns: int) -> None:
    width, shown = layout(total)
    assert shown == columns
    assert total < 40 or (width + 12) * shown + 3 * (shown - 1) <= total


def test_losses_come_first_then_scores() -> None:
    names = [
        "train/loss",
        "train/lr",
        "train/lr/0",
        "train/grad_norm",
        "train/tokens",
        "eval/f1",
        "eval/loss",
    ]
    order = ["train/loss", "eval/loss", "eval/f1", "train/lr", "train/grad_norm", "train/tokens"]
    assert in_order(names) == order
