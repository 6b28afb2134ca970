"""A sweep while it runs, with jobs that are played."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer_cli.sweep import view as module
from trainer_cli.sweep.state import JobState
from trainer_cli.sweep.view import View, last_rows

METRIC = {"name": "eval/accuracy", "greater_is_better": True}


def played(number: int, root: Path, status: str = "running", seconds: float = 10.0, **more: Any) -> JobState:
    """A job with a directory of its own, as it starts."""
    run_dir = root / str(number)
    run_dir.mkdir(parents=True, exist_ok=True)
    label = f"optim.lr={number}e-05 args.seed=1"
    return JobState(number, label, status, run_dir=run_dir, seconds=seconds, **more)


def knows(state: JobState, **fields: Any) -> None:
    assert state.run_dir is not None
    (state.run_dir / "run.json").write_text(json.dumps({"total_steps": 100, "metric": METRIC, **fields}))


def logs(state: JobState, *rows: Mapping[str, Any]) -> None:
    assert state.run_dir is not None
    with (state.run_dir / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"epoch": 0.5, **row}) + "\n" for row in rows)


def sweep(tmp_path: Path) -> list[JobState]:
    """One of each kind."""
    done, failed, running, fresh = (
        played(1, tmp_path, "finished", 42.0),
        played(
            2, tmp_path, "failed", 3.0, error="the weights of step 3 are not all finite, and are not saved"
        ),
        played(3, tmp_path),
        played(4, tmp_path, seconds=2.0),
    )
    knows(done, step=100, results={"eval/accuracy": 0.9123})
    logs(done, {"step": 100, "train/loss": 0.1})
    knows(running)
    logs(running, {"step": 30, "train/loss": 0.25}, {"step": 40, "eval/loss": 0.3, "eval/accuracy": 0.75})
    return [
        done,
        failed,
        running,
        fresh,
        JobState(5, "optim.lr=5e-05 args.seed=1"),
        JobState(6, "optim.lr=6e-05"),
    ]


def view_of(interactive: bool = False, total: int = 0) -> tuple[View, io.StringIO]:
    view, file = View(total), io.StringIO()
    view.console = Console(
        markup=False,
        file=file,
        width=200,
        force_interactive=interactive,
        force_terminal=interactive,
        highlight=False,
    )
    return view, file


def shown(view: View, width: int = 140, height: int = 30) -> list[str]:
    return [line.plain for line in view.lines(width, height)]


def test_a_line_a_job(tmp_path: Path) -> None:
    view, _ = view_of()
    view.update(sweep(tmp_path))
    header, *lines = shown(view)
    assert "2/6 done · 1 failed · 0 s · ETA" in header
    assert [line.split()[0] for line in lines] == list("123456")
    for line, parts in zip(
        lines,
        (
            ("finished", "100/100", "loss 0.1", "42 s", "accuracy 0.9123"),
            ("failed", "the weights of step 3 are not all finite"),
            ("running", "━", "40/100", "loss 0.25", "10 s", "accuracy 0.75"),
            ("running", "2 s"),
            ("waiting",),
            ("waiting",),
        ),
        strict=True,
    ):
        assert all(part in line for part in parts), line


@pytest.mark.parametrize("width", [30, 60, 80, 120, 200])
def test_no_line_is_longer_than_the_terminal_is_wide(tmp_path: Path, width: int) -> None:
    view, _ = view_of()
    view.update(sweep(tmp_path))
    lines = shown(view, width)
    assert len(lines) == 7 and all(len(line) <= width for line in lines)
    if width >= 60:
        assert "accuracy 0.9123" in lines[1] and "accuracy 0.75" in lines[3]
    for line in lines[1:]:
        assert line.rstrip()[-1] != ","  # no number is cut


def test_where_there_are_more_jobs_than_lines_those_that_matter_are_shown(tmp_path: Path) -> None:
    states = [played(n, tmp_path, "finished", kept=True) for n in range(1, 21)]
    states += [played(21, tmp_path, "failed", error="broken"), played(22, tmp_path), played(23, tmp_path)]
    states += [JobState(n, f"optim.lr={n}") for n in range(24, 41)]
    view, _ = view_of(total=50)
    view.update(states)
    header, *lines, rest = shown(view, height=7)
    assert "21/50 done" in header
    assert [line.split()[0] for line in lines] == ["19", "20", "21", "22", "23"]
    assert rest.strip() == "and 45 more: 18 finished, 27 waiting"
    assert [line.split()[0] for line in shown(view, height=4)[1:3]] == ["22", "23"]
    assert len(shown(view, height=1)) == 1


def test_what_is_left_of_it(tmp_path: Path) -> None:
    view, _ = view_of()
    running = played(1, tmp_path, seconds=5.0)
    states = [running, JobState(2, "b"), JobState(3, "c")]
    view.update(states)
    assert "ETA" not in shown(view)[0]
    knows(running)
    logs(running, {"step": 10, "train/loss": 1.0})
    view.update(states)  # what it took to start is no part of its pace
    logs(running, {"step": 20, "train/loss": 1.0})
    running.seconds = 15.0
    view.update(states)
    assert "ETA 1 min 20 s" in shown(view)[1]
    assert "ETA 4 min 30 s" in shown(view)[0]  # 80 s, and twice 95 s
    running.status, running.seconds = "finished", 60.0
    view.update(states)
    assert "ETA 2 min 0 s" in shown(view)[0]


def test_a_job_that_starts_again_is_read_anew(tmp_path: Path) -> None:
    view, _ = view_of()
    state = played(1, tmp_path, "failed", error="broken")
    knows(state, step=40)
    view.update([state])
    state.status, state.error = "running", None
    logs(state, {"step": 50, "train/loss": 0.5})
    view.update([state])
    assert "50/100" in shown(view)[1] and "loss 0.5" in shown(view)[1]


def test_elsewhere_a_plain_line_when_a_job_starts_and_when_it_ends(tmp_path: Path) -> None:
    view, file = view_of()
    states = [played(n, tmp_path, "finished", kept=True) for n in (1, 2)]
    states += [played(3, tmp_path), JobState(4, "optim.lr=4e-05 args.seed=1")]
    view.update(states)
    view.update(states)
    knows(states[2], results={"eval/accuracy": 0.9123}, step=100)
    states[2].status, states[2].seconds = "finished", 42.3
    states[3] = played(4, tmp_path)
    view.update(states)
    states[3].status, states[3].error = "failed", "the disk is full"
    view.update(states)
    view.note("a [word]")
    view.close()
    assert file.getvalue().splitlines() == [
        "2 of 4 jobs were done before",
        "job 3/4 started: optim.lr=3e-05 args.seed=1",
        "job 3/4 finished in 42 s: eval/accuracy 0.9123",
        "job 4/4 started: optim.lr=4e-05 args.seed=1",
        f"job 4/4 failed: the disk is full; its output: {tmp_path / '4' / 'output.log'}",
        "a [word]",
    ]


def test_on_a_terminal_a_failure_stays_in_what_was_printed(tmp_path: Path) -> None:
    view, file = view_of(interactive=True)
    states = sweep(tmp_path)
    view.update(states)
    view.note("a note")
    view.close()
    said = file.getvalue()
    assert "job 2/6 failed: the weights" in said and "a note" in said and "job 1/6" not in said
    assert "2/6 done" in said[said.rindex("a note") :]
    assert view.screen is None


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_BYTES", 100)
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": n}) + "\n" for n in range(1000)) + '{"step": 10')
    rows = last_rows(path)
    assert rows[-1] == {"step": 999} and 1 < len(rows) < 10
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    assert last_rows(path) == [{"step": 1}, {"step": 2}]


def test_a_directory_without_files_is_a_job_that_has_not_begun(tmp_path: Path) -> None:
    view, _ = view_of()
    (tmp_path / "1").mkdir()
    state = played(1, tmp_path)
    (tmp_path / "1" / "run.json").write_text("{")
    view.update([state])
    assert "running" in shown(view)[1]


def test_a_loss_that_is_not_finite_is_shown_as_it_is(tmp_path: Path) -> None:
    view, _ = view_of()
    state = played(1, tmp_path)
    knows(state)
    logs(state, {"step": 5, "train/loss": "nan"})
    view.update([state])
    assert "loss nan" in shown(view)[1]
