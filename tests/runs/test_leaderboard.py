"""The leaderboard of sweeps whose jobs' records are made up."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from made_sweep import ACCURACY, LOSS, Values, failed, finished, made_sweep
from rich.cells import cell_len

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.runs.leaderboard import (
    Leaderboard,
    leaderboard,
    print_leaderboard,
    write_leaderboard,
)
from trainer_cli.runs.ranking import Ranking
from trainer_cli.runs.sweeps import SweepRecord

SCORES = {(1e-5, 1): 0.85, (1e-5, 2): 0.86, (3e-5, 1): 0.91, (3e-5, 2): 0.90, (3e-5, 3): 0.92}
SEEDED = {"optim.lr": [1e-5, 3e-5], "args.seed": [1, 2, 3]}


def seeded(values: Values) -> dict[str, Any]:
    """Two learning rates with three seeds each, of which one failed."""
    score = SCORES.get((values["optim.lr"], values["args.seed"]))
    return failed() if score is None else finished(score, f1=score - 0.1)


def printed(capsys: pytest.CaptureFixture[str], sweep_dir: Path) -> str:
    """What is printed of the sweep."""
    print_leaderboard(sweep_dir, as_json=False)
    return capsys.readouterr().out


def only(board: Leaderboard) -> Ranking:
    """The ranking of a sweep with one metric."""
    (standing,) = board.standings
    return standing.ranking


def test_seeds_are_folded_to_mean_and_deviation(tmp_path: Path) -> None:
    first, second = only(leaderboard(made_sweep(tmp_path, SEEDED, seeded))).groups
    assert (first.rank, first.setting, first.n, first.jobs) == (1, {"optim.lr": 3e-5}, 3, [4, 5, 6])
    assert first.mean == pytest.approx(0.91)
    assert first.sd == pytest.approx(0.01)
    assert (first.best, first.best_score, first.behind) == (6, 0.92, None)
    assert first.others == pytest.approx({"eval/f1": 0.81})
    assert (second.rank, second.n, len(second.jobs)) == (2, 2, 3)
    assert second.statuses == {"finished": 2, "failed": 1}
    assert second.behind is not None
    spread = math.sqrt((2 * 0.01**2 + statistics.variance([0.85, 0.86])) / 3)
    assert second.behind.spread == pytest.approx(spread)
    assert second.behind.ratio == pytest.approx(0.055 / spread)


def test_the_answer_is_in_words_with_the_command_and_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_sweep(tmp_path, SEEDED, seeded)
    lines = printed(capsys, tmp_path).splitlines()
    assert lines[0] == "s: 6 jobs, 5 finished, 1 failed"
    assert lines[-3] == (
        "optim.lr=3e-05 wins: accuracy 0.9100 ± 0.0100 (3 seeds), 0.0550 ahead of optim.lr=1e-05"
        " (0.8550 ± 0.0071, 2 seeds): 6.0 times the spread of the seeds (p = 0.0071)"
    )
    assert lines[-2] == "  trainer-cli +recipe=glue optim.lr=3e-05 args.seed=3"
    assert lines[-1] == f"  its model: {tmp_path / 'job-6' / 'model'}"
    at = lines.index("job 3 failed: optim.lr=1e-05 args.seed=3: CUDA out of memory")
    assert lines[at + 1] == f"  {tmp_path / 'job-3' / 'output.log'}"
    (row,) = [line for line in lines if line.startswith("│ 2 ")]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("2", "1e-05", "0.8550 ± 0.0071", "2 of 3", "0.0550 = 6.0 sd", "0.8600 (seed 2)", "0.755")
    ]


def test_jobs_that_did_not_come_to_their_end_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: dict[int, dict[str, Any] | None] = {
        1: finished(0.5),
        2: {**finished(0.9), "status": "pruned", "stopped": "pruned"},
        3: {"status": "diverged", "metric": ACCURACY, "error": "error: the loss is nan at step 3"},
        4: {"status": "preempted", "metric": ACCURACY, "best": {"eval/accuracy": 0.99, "step": 2}},
        5: {"status": "running"},
        6: None,
        7: finished(None),
    }
    record = made_sweep(tmp_path, {"optim.lr": list(ends)}, lambda values: ends[values["optim.lr"]])
    board = leaderboard(record)
    assert [group.rank for group in only(board).groups] == [1, *[None] * 6]
    text = printed(capsys, tmp_path)
    head = "s: 7 jobs, 2 finished, 1 pruned, 1 running, 1 waiting, 1 preempted, 1 diverged"
    assert text.splitlines()[0] == head
    assert "job 3 diverged: optim.lr=3: error: the loss is nan at step 3" in text
    assert "job 7 finished: optim.lr=7: its accuracy is not finite" in text
    assert "2 jobs not done: the same command goes on with what is missing" in text
    assert [job.score for job in board.jobs] == [0.5, 0.9, None, 0.99, None, None, None]


def test_unlike_scores_are_not_ranked_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(values: Values) -> dict[str, Any]:
        if values["recipe"] == "broken":
            return failed()
        return finished(0.9, ACCURACY) if values["recipe"] == "glue" else finished(3.0, LOSS)

    record = made_sweep(tmp_path, {"recipe": ["glue", "lm", "broken"], "args.seed": [1, 2]}, run)
    found = [standing.ranking for standing in leaderboard(record).standings]
    assert [ranking.metric for ranking in found] == ["eval/accuracy", "eval/loss", None]
    assert [[group.setting["recipe"] for group in ranking.groups] for ranking in found] == [
        ["glue"],
        ["lm"],
        ["broken"],
    ]
    text = printed(capsys, tmp_path)
    assert "eval/accuracy, greatest first" in text
    assert "eval/loss, least first" in text


def test_an_axis_called_as_the_metric_has_its_own_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_sweep(tmp_path, {"loss": ["model", "mse"]}, lambda values: finished(len(values["loss"]), LOSS))
    (row,) = [line for line in printed(capsys, tmp_path).splitlines() if line.startswith("│ 1")]
    assert [cell.strip() for cell in row.strip("│").split("│")][:3] == ["1", "mse", "3.000"]


def test_values_may_be_lists_and_look_like_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"model.hidden_features": [[16], [32, 16]], "optim.groups": ["[bold]", "[/x]"]}
    made_sweep(
        tmp_path, axes, lambda values: finished(len(values["model.hidden_features"])), fixed=("+recipe=a b",)
    )
    text = printed(capsys, tmp_path)
    assert "[32,16]" in text
    assert "optim.groups=[bold]" in text
    assert "trainer-cli '+recipe=a b' 'model.hidden_features=[32, 16]' 'optim.groups=[bold]'" in text


def test_a_long_value_folds_and_takes_no_column_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = f"models/{'日本' * 60}"
    made_sweep(tmp_path, {"model.pretrained": [long, "b"]}, lambda values: finished(len(values) / 2, f1=0.25))
    lines = printed(capsys, tmp_path).splitlines()
    header = next(line for line in lines if "pretrained" in line and "┃" in line)
    assert [word for word in ("accuracy", "behind", "f1") if word not in header] == []
    assert {cell_len(line) for line in lines if line[:1] in list("┏┡│└")} == {cell_len(header)}
    assert cell_len(header) <= 160


def test_a_job_of_a_sweep_beside_it_is_named_by_its_own_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_sweep(tmp_path / "other", {"optim.lr": [1, 2]}, lambda values: finished(values["optim.lr"]))
    (tmp_path / "other/job-1/run.json").write_text(json.dumps({"status": "failed", "id": "1", "created": ""}))
    record = made_sweep(tmp_path / "one", {"optim.lr": [1, 2]}, lambda _: None)
    jobs = [{**job, "directory": f"../other/{job['directory']}"} for job in record.fields["jobs"]]
    record.update(jobs=jobs)
    text = printed(capsys, tmp_path / "one")
    assert f"{tmp_path}/other/job-1/output.log" in text
    assert f"its model: {tmp_path}/other/job-2/model" in text


def test_the_command_has_the_folders_of_the_sweeps_own(tmp_path: Path) -> None:
    argv = ["-m", "--config-dir", "mine", "optim.lr=1,2", "-cd=yours"]
    record = made_sweep(tmp_path, {"optim.lr": [1, 2]}, lambda _: finished(0.5), argv=argv)
    (standing,) = leaderboard(record).standings
    assert standing.winner is not None
    assert standing.winner.command == (
        "trainer-cli --config-dir mine --config-dir yours +recipe=glue optim.lr=1"
    )


def test_only_the_last_commands_jobs_are_ranked_and_json_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made_sweep(tmp_path, {"optim.lr": [1, 2, 3]}, lambda values: finished(values["optim.lr"]))
    record.update(asked=record.fields["asked"][:2])
    board = leaderboard(record)
    assert [group.setting["optim.lr"] for group in only(board).groups] == [2, 1]
    assert "1 job of earlier commands: in leaderboard.json" in printed(capsys, tmp_path)
    print_leaderboard(tmp_path, as_json=True)
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [(job["number"], job["asked"]) for job in jobs] == [(1, True), (2, True), (3, False)]


def test_the_files_have_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_sweep(tmp_path, SEEDED, seeded)
    write_leaderboard(tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    assert [row["optim.lr"] for row in rows] == ["3e-05", "1e-05"]
    assert float(rows[0]["mean"]) == pytest.approx(0.91)
    assert (rows[1]["rank"], rows[1]["n"], rows[1]["jobs"]) == ("2", "2", "3")
    written = json.loads((tmp_path / "leaderboard.json").read_text())
    print_leaderboard(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == written
    (standing,) = written["standings"]
    assert standing["winner"] == {
        "number": 6,
        "command": "trainer-cli +recipe=glue optim.lr=3e-05 args.seed=3",
        "directory": "job-6",
        "model": "job-6/model",
    }
    assert str(tmp_path) not in json.dumps(written)


def test_the_files_do_not_depend_on_the_order_of_the_record(tmp_path: Path) -> None:
    record = made_sweep(tmp_path, SEEDED, seeded)
    board = leaderboard(record)
    record.update(jobs=record.fields["jobs"][::-1], asked=record.fields["asked"][::-1])
    again = leaderboard(SweepRecord.load(tmp_path))
    assert (again.as_json(), again.as_csv()) == (board.as_json(), board.as_csv())


def test_a_full_disk_is_said_and_not_raised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_sweep(tmp_path, SEEDED, seeded)

    def write(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write", write)
    write_leaderboard(tmp_path)
    error = capsys.readouterr().err
    assert f"{tmp_path / 'leaderboard.csv'} was not written: No space left on device" in error


def test_what_is_no_sweep_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no sweep"):
        print_leaderboard(tmp_path, as_json=False)
