"""The leaderboard of sweeps whose jobs' records are made up."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import random
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.runs.effects import Level, effects, spearman
from trainer_cli.runs.leaderboard import (
    Leaderboard,
    leaderboard,
    print_leaderboard,
    write_leaderboard,
)
from trainer_cli.runs.ranking import Digits, Ranking, Result, rankings
from trainer_cli.runs.seeds import lead, student
from trainer_cli.runs.sweeps import SweepRecord

Values = Mapping[str, Any]
ACCURACY = {"name": "eval/accuracy", "greater_is_better": True}
LOSS = {"name": "eval/loss", "greater_is_better": False}


def finished(score: float | None, metric: Mapping[str, Any] = ACCURACY, **others: float) -> dict[str, Any]:
    """What run.json has of a run that came to its end."""
    results = {metric["name"]: score, **{f"eval/{name}": value for name, value in others.items()}}
    return {"status": "finished", "metric": metric, "results": results}


def failed(error: str = "CUDA out of memory") -> dict[str, Any]:
    """What it has of one that failed while it was built."""
    return {"status": "failed", "error": error}


def sweep(
    sweep_dir: Path,
    axes: Mapping[str, Sequence[Any]],
    run: Callable[[Values], dict[str, Any] | None],
    fixed: Sequence[str] = ("+recipe=glue",),
    argv: Sequence[str] = (),
) -> SweepRecord:
    """A sweep over all combinations whose jobs came to what `run` says; None: the job was never started."""
    jobs = []
    for number, combination in enumerate(itertools.product(*axes.values()), start=1):
        values = dict(zip(axes, combination, strict=True))
        words = [*fixed, *(f"{key}={value}" for key, value in values.items())]
        job = {"id": f"{number:016x}", "number": number, "values": values, "words": words}
        jobs.append({**job, "directory": f"job-{number}"})
        fields = run(values)
        if fields is not None:
            run_dir = sweep_dir / f"job-{number}"
            run_dir.mkdir(parents=True)
            own = {"id": f"run-{number}", "created": "2026-01-01", "host": "another", **fields}
            (run_dir / "run.json").write_text(json.dumps(own))
            if fields["status"] == "finished":
                (run_dir / "model").mkdir()
    sweep_dir.mkdir(exist_ok=True)
    record = SweepRecord(sweep_dir, {"name": "s", "argv": list(argv), "fixed": list(fixed), "search": "grid"})
    record.update(jobs=jobs, asked=[job["id"] for job in jobs])
    return record


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
    first, second = only(leaderboard(sweep(tmp_path, SEEDED, seeded))).groups
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
    sweep(tmp_path, SEEDED, seeded)
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


def test_what_seeds_cannot_tell_apart_is_not_called_a_winner(tmp_path: Path) -> None:
    noise = {1: 0.0, 2: 0.02, 3: 0.01}
    record = sweep(
        tmp_path, SEEDED, lambda values: finished(values["optim.lr"] * 100 + noise[values["args.seed"]])
    )
    (standing,) = leaderboard(record).standings
    assert standing.answer == (
        "optim.lr=3e-05 is best: accuracy 0.01300 ± 0.01000 (3 seeds), 0.00200 ahead of optim.lr=1e-05"
        " (0.01100 ± 0.01000): 0.2 times the spread of the seeds, by which 3 seeds cannot tell the two apart"
        " (p = 0.82)"
    )


def test_one_seed_says_nothing_of_the_spread(tmp_path: Path) -> None:
    record = sweep(tmp_path, {"optim.lr": [1, 2]}, lambda values: finished(values["optim.lr"] / 10, LOSS))
    (standing,) = leaderboard(record).standings
    assert standing.answer == (
        "optim.lr=1 is best: loss 0.1000 (one seed), 0.1000 ahead of optim.lr=2 (0.2000);"
        " one seed says nothing of the spread: args.seed=1,2,3 would"
    )


@pytest.mark.parametrize(
    ("axes", "run", "answer"),
    [
        (
            {"optim.lr": [1, 2]},
            lambda _: finished(0.5),
            "optim.lr=1: accuracy 0.5000 (one seed), and equal to it",
        ),
        (
            {"optim.lr": [1]},
            lambda _: finished(0.5),
            "0.5000 (one seed); there is nothing to compare it with",
        ),
        (
            {"args.seed": [1, 2]},
            lambda _: finished(0.5),
            "the one setting: accuracy 0.5000 ± 0.0000 (2 seeds)",
        ),
        ({"optim.lr": [1, 2]}, lambda _: failed(), "no job has come to a score"),
        ({"optim.lr": [1, 2]}, lambda _: None, "no job has come to a score"),
        ({"optim.lr": [1, 2]}, lambda _: finished(None), "no job has come to a score"),
        (
            {"optim.lr": [1, 2]},
            lambda _: {"status": "finished", "metric": None, "results": {"train/seconds": 1.0}},
            "nothing was evaluated, so there is nothing to rank by",
        ),
        (
            {"optim.lr": [1, 2]},
            lambda values: finished(0.5) if values["optim.lr"] == 1 else failed(),
            "no other setting came to a score",
        ),
        (
            {"optim.lr": [1, 2], "args.seed": [1, 2]},
            lambda values: finished(values["optim.lr"]),
            "(2 seeds), 1.000 ahead of optim.lr=1 (1.000 ± 0.000); the seeds make no difference",
        ),
        (
            {"optim.lr": [1, 2]},
            lambda values: finished(0.5) if values["optim.lr"] == 1 else None,
            "so far, optim.lr=1: accuracy",
        ),
    ],
)
def test_what_there_is_to_say_of_other_sweeps(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    axes: dict[str, list[Any]],
    run: Callable[[Values], dict[str, Any] | None],
    answer: str,
) -> None:
    sweep(tmp_path, axes, run)
    assert answer in printed(capsys, tmp_path)


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
    record = sweep(tmp_path, {"optim.lr": list(ends)}, lambda values: ends[values["optim.lr"]])
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

    record = sweep(tmp_path, {"recipe": ["glue", "lm", "broken"], "args.seed": [1, 2]}, run)
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
    sweep(tmp_path, {"loss": ["model", "mse"]}, lambda values: finished(len(values["loss"]), LOSS))
    (row,) = [line for line in printed(capsys, tmp_path).splitlines() if line.startswith("│ 1")]
    assert [cell.strip() for cell in row.strip("│").split("│")][:3] == ["1", "mse", "3.000"]


def test_values_may_be_lists_and_look_like_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"model.hidden_features": [[16], [32, 16]], "optim.groups": ["[bold]", "[/x]"]}
    sweep(
        tmp_path, axes, lambda values: finished(len(values["model.hidden_features"])), fixed=("+recipe=a b",)
    )
    text = printed(capsys, tmp_path)
    assert "[32, 16]" in text
    assert "optim.groups=[bold]" in text
    assert "trainer-cli '+recipe=a b' 'model.hidden_features=[32, 16]' 'optim.groups=[bold]'" in text


def test_the_command_has_the_folders_of_the_sweeps_own(tmp_path: Path) -> None:
    argv = ["-m", "--config-dir", "mine", "optim.lr=1,2", "-cd=yours"]
    record = sweep(tmp_path, {"optim.lr": [1, 2]}, lambda _: finished(0.5), argv=argv)
    (standing,) = leaderboard(record).standings
    assert standing.winner is not None
    assert standing.winner.command == (
        "trainer-cli --config-dir mine --config-dir yours +recipe=glue optim.lr=1"
    )


def test_only_the_last_commands_jobs_are_ranked_and_json_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = sweep(tmp_path, {"optim.lr": [1, 2, 3]}, lambda values: finished(values["optim.lr"]))
    record.update(asked=record.fields["asked"][:2])
    board = leaderboard(record)
    assert [group.setting["optim.lr"] for group in only(board).groups] == [2, 1]
    assert "1 job of earlier commands: in leaderboard.json" in printed(capsys, tmp_path)
    print_leaderboard(tmp_path, as_json=True)
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [(job["number"], job["asked"]) for job in jobs] == [(1, True), (2, True), (3, False)]


def test_the_files_have_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(tmp_path, SEEDED, seeded)
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
    record = sweep(tmp_path, SEEDED, seeded)
    board = leaderboard(record)
    record.update(jobs=record.fields["jobs"][::-1], asked=record.fields["asked"][::-1])
    again = leaderboard(SweepRecord.load(tmp_path))
    assert (again.as_json(), again.as_csv()) == (board.as_json(), board.as_csv())


def test_a_full_disk_is_said_and_not_raised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(tmp_path, SEEDED, seeded)

    def write(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write", write)
    write_leaderboard(tmp_path)
    error = capsys.readouterr().err
    assert f"{tmp_path / 'leaderboard.csv'} was not written: No space left on device" in error


def test_what_is_no_sweep_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no sweep"):
        print_leaderboard(tmp_path, as_json=False)


def test_the_effect_of_an_axis_is_the_mean_over_the_others(tmp_path: Path) -> None:
    axes = {"optim": ["sgd", "adamw"], "optim.lr": [1e-2, 1e-3, 1e-4], "args.seed": [1, 2]}
    rate = {1e-4: 0.1, 1e-3: 0.2, 1e-2: 0.3}

    def run(values: Values) -> dict[str, Any]:
        if values["optim"] == "sgd" and values["optim.lr"] == 1e-2:
            return failed()
        return finished(rate[values["optim.lr"]] + 0.01 * (values["optim"] == "adamw"))

    optim, lr = only(leaderboard(sweep(tmp_path, axes, run))).effects
    assert (optim.key, [level.label for level in optim.levels]) == ("optim", ["sgd", "adamw"])
    assert [(level.n, level.jobs) for level in optim.levels] == [(4, 6), (6, 6)]
    assert [level.mean for level in optim.levels] == pytest.approx([0.15, 0.21])
    assert [level.label for level in lr.levels] == ["0.0001", "0.001", "0.01"]
    assert [level.mean for level in lr.levels] == pytest.approx([0.105, 0.205, 0.31])
    assert lr.range == pytest.approx(0.205)
    assert lr.advice == "the best optim.lr is the largest tried: widen the grid"
    assert optim.advice is None


@pytest.mark.parametrize(
    ("values", "best", "end"),
    [
        ([1, 2, 3], 1, "smallest"),
        ([1, 2, 3], 3, "largest"),
        ([1, 2, 3], 2, None),
        ([0, 1, 2], 0, None),
        ([-1, 0, 1], -1, "smallest"),
        ([1, 2], 2, None),
        ([1, 2, None], 2, None),
        ([False, True], True, None),
    ],
)
def test_a_grid_whose_best_value_lies_at_its_end_should_be_wider(
    values: list[Any], best: Any, end: str | None
) -> None:
    (effect,) = effects([({"a.b": value}, 1.0) for value in values], ["a.b"], {"a.b": best})
    assert effect.advice == (end and f"the best a.b is the {end} tried: widen the grid")


def test_an_axis_of_many_numbers_is_shown_by_quarters() -> None:
    trials = [({"optim.lr": value / 100}, None if value == 3 else -float(value)) for value in range(1, 13)]
    (effect,) = effects(trials, ["optim.lr"], {"optim.lr": 0.01})
    assert effect.levels == [
        Level("0.01 … 0.03", -1.5, 2, 3),
        Level("0.04 … 0.06", -5.0, 3, 3),
        Level("0.07 … 0.09", -8.0, 3, 3),
        Level("0.1 … 0.12", -11.0, 3, 3),
    ]
    assert effect.correlation == pytest.approx(-1)
    assert effect.advice is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 101])
def test_student_is_students(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for t in (0.0, 0.3, 1.0, 2.5, 12.7, 1e3):
        assert student(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-12)


scores = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 6)), min_size=1, max_size=6)


@given(scores, scores)
@settings(max_examples=50)
def test_the_lead_is_students_test_of_two_means(first: list[float], second: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = lead(first, second)
    assert found.difference == pytest.approx(abs(statistics.fmean(first) - statistics.fmean(second)))
    if len(first) + len(second) > 2 and found.spread and found.spread > 1e-6:
        with warnings.catch_warnings(action="ignore"):  # scipy's, where the scores of one are equal
            assert found.p == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=1e-9)


def test_equal_settings_are_rarely_told_apart() -> None:
    drawn, wrong = random.Random(0), 0
    for _ in range(2000):
        settings = sorted(([drawn.gauss(0, 1) for _ in range(3)] for _ in range(5)), key=statistics.fmean)
        wrong += lead(settings[-1], settings[-2]).is_told
    assert wrong / 2000 < 0.05


@given(st.lists(st.integers(0, 5), min_size=2, max_size=20), st.randoms())
def test_rank_correlation_is_spearmans(values: list[int], drawn: random.Random) -> None:
    stats = pytest.importorskip("scipy.stats")
    others = [drawn.randrange(6) for _ in values]
    found = spearman(values, others)
    if found is None:
        assert len(set(values)) == 1 or len(set(others)) == 1
    else:
        assert found == pytest.approx(stats.spearmanr(values, others).statistic)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 4)), unique_by=lambda x: x[:2]
    ),
    st.booleans(),
    st.randoms(),
)
def test_the_order_is_that_of_the_scores_whatever_the_order_of_the_jobs(
    drawn: list[tuple[str, int, int]], greater: bool, order: random.Random
) -> None:
    jobs = [
        Result(
            number=number,
            values={"optim": name, "args.seed": seed},
            words=[],
            directory="",
            asked=True,
            status="finished" if score else "failed",
            metric="eval/x",
            greater_is_better=greater,
            score=float(score) or None,
            others={},
            cause=None,
        )
        for number, (name, seed, score) in enumerate(drawn, start=1)
    ]
    shuffled = list(jobs)
    order.shuffle(shuffled)
    found = rankings(jobs)
    again = rankings(sorted(shuffled, key=lambda job: job.number))
    assert again == found
    for ranking in found:
        means = [group.mean for group in ranking.groups if group.mean is not None]
        assert means == sorted(means, reverse=greater)
        assert [group.rank for group in ranking.groups if group.rank] == list(range(1, len(means) + 1))
        assert sorted(number for group in ranking.groups for number in group.jobs) == [
            job.number for job in jobs
        ]
        for group in ranking.groups:
            own = [job.counts for job in jobs if job.number in group.jobs and job.counts is not None]
            assert group.mean == (pytest.approx(statistics.fmean(own)) if own else None)
            assert group.sd == (pytest.approx(statistics.stdev(own)) if len(own) > 1 else None)


@pytest.mark.parametrize(
    ("means", "texts"),
    [
        ([0.91234, 0.9], ["0.9123", "0.9000"]),
        ([87.3, 87.2999], ["87.30000", "87.29990"]),
        ([1e-6, 2e-6], ["2e-06", "1e-06"]),
        ([12345.678, 1.0], ["12346", "1"]),
        ([0.0, 0.0], ["0", "0"]),
        ([1e30, 1.0], ["1e+30", "1"]),
    ],
)
def test_scores_have_the_digits_that_tell_them_apart(
    tmp_path: Path, means: list[float], texts: list[str]
) -> None:
    run = dict(enumerate(means))
    record = sweep(tmp_path, {"a": list(run)}, lambda values: finished(run[values["a"]]))
    groups = only(leaderboard(record)).groups
    digits = Digits.of(groups)
    assert [digits.text(group.mean) for group in groups if group.mean is not None] == texts
