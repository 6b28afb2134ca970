"""The parts of a page, one by one."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from long_run import long_run
from made_sweep import finished, made_sweep

from trainer_cli.report import parts
from trainer_cli.report.markup import Html, joined
from trainer_cli.report.page import axes_of
from trainer_cli.report.shown import DASHES, Shown, tell_apart
from trainer_cli.runs.leaderboard import leaderboard
from trainer_cli.runs.record import Record

EVIL = "</script></td><img src=x onerror=alert(1)>\"'&"


def shown(run_dir: Path, rows: int = 0, **fields: Any) -> Shown:
    return Shown(Record.load(long_run(run_dir, rows, **fields)))


def text(made: Html | Iterable[Html]) -> str:
    """What a reader sees of it, in one line."""
    whole = made if isinstance(made, Html) else joined(*made)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", whole)).split())


def table(made: Html) -> list[list[str]]:
    """The cells of a table, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", made)
    return [[text(Html(cell)) for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in rows]


# ---- elements


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nan"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (0.0, "0"),
        (0.123456789, "0.12346"),
        (-0.5, "-0.5"),
        (999.994, "999.99"),
        (1000.4, "1,000"),
        (-21362.4, "-21,362"),
        (1e12, "1e+12"),
        (1e-7, "1e-07"),
    ],
)
def test_a_number_in_five_digits(value: float | None, said: str) -> None:
    assert parts.short(value) == said


def test_facts_that_are_not_there_are_not_named() -> None:
    made = parts.facts([("run", "a"), ("sweep", None), ("code", ""), ("started", "<today>")])
    assert text(made) == "run a started <today>"


def test_a_command_is_one_that_a_shell_reads() -> None:
    made = parts.command("trainer-cli", "run.name=it's", "a=[1, 2]", EVIL)
    assert "<img" not in made
    assert text(made).startswith("trainer-cli 'run.name=it'\"'\"'s' 'a=[1, 2]'")


def test_numbers_stand_under_headings_to_the_right() -> None:
    made = parts.table(["name", "#steps"], [[parts.cell("a"), parts.number("3")]])
    assert table(made) == [["name", "steps"], ["a", "3"]]
    assert '<th>name</th><th class="number">steps</th>' in made
    assert "<thead>" not in parts.pairs_table([("a", "b")])
    assert table(parts.pairs_table([("a", "b")])) == [["a", "b"]]


@pytest.mark.parametrize(("count", "said"), [(0, ""), (-3, ""), (1200, "1,200 older runs are left out.")])
def test_what_is_left_out_is_said(count: int, said: str) -> None:
    assert text(parts.left_out(count, "older runs")) == said


# ---- one run


def test_every_text_of_a_run_stays_text(tmp_path: Path) -> None:
    run = shown(
        tmp_path / "a",
        3,
        id=EVIL,
        name=EVIL,
        error=EVIL,
        stopped=EVIL,
        parent=EVIL,
        choices={"optim": EVIL},
        overrides=[f"optim.lr={EVIL}"],
        packages={EVIL: EVIL},
        sweep={"name": EVIL, "number": 1},
        summary={EVIL: EVIL},
        results={EVIL: 1.0, f"eval/{EVIL}": 2.0},
        best={f"eval/{EVIL}": 1.0, "step": 3},
        metric={"name": f"eval/{EVIL}", "greater_is_better": True},
    )
    run.values = {EVIL: EVIL, "optim.lr": EVIL}
    (run.record.run_dir / "config.yaml").write_text(json.dumps({"optim": {"lr": EVIL, EVIL: {EVIL: EVIL}}}))
    with (run.record.run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "epoch": 1, EVIL: 1.0}) + "\n")
    axes = [{"key": EVIL, "kind": "log"}]
    made = [
        parts.facts(parts.about(run)),
        *parts.trouble(run),
        parts.tiles(run),
        *parts.summary(run),
        *parts.configuration(run),
        *parts.provenance(run),
        parts.table_of([run, run]),
        *parts.axis_plots(axes, [run]),
        *parts.curves([run]),
    ]
    whole = joined(*made)
    assert "<img" not in whole
    assert "</script" not in whole
    # No attribute ends where a text has a quotation mark.
    assert html.escape(EVIL) in whole
    assert "x onerror" not in re.sub(r'"[^"]*"', "", re.sub(r">[^<]*<", "><", whole))


def test_the_few_numbers_that_matter_most(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", 200, best={"eval/accuracy": 0.875, "step": 100}, step=150)
    found = text(parts.tiles(run))
    assert found.startswith(
        "best accuracy, at step 100 0.875 evaluation loss 0.25 steps 150 / 200 ran for 1 d 1 h"
    )
    middle = sorted(run.curves["train/samples_per_second"].values)[99]
    assert f"median {parts.short(middle)}" in found
    assert "most 12,000" in found
    assert found.count("accuracy") == 1


def test_more_scores_than_there_is_room_for_are_in_the_results_below(tmp_path: Path) -> None:
    results = {f"eval/s{number}": number / 10 for number in range(9)} | {"eval/none": None, "train/x": 2.0}
    run = shown(tmp_path / "a", results=results, summary={"model": "MLP, 3 parameters"})
    assert [f"s{number}" in text(parts.tiles(run)) for number in range(9)] == [True] * 4 + [False] * 5
    assert text(parts.summary(run)) == (
        "Summary model MLP, 3 parameters Results at the end "
        + " ".join(f"eval/s{number} {parts.short(number / 10)}" for number in range(9))
        + " eval/none nan train/x 2"
    )


def test_a_run_of_which_nothing_is_known_yet_has_no_part_about_it(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", results=None, best=None, summary=None, step=None, status="failed", ended=None)
    assert text(parts.tiles(run)) == ""
    assert text(parts.summary(run)) == ""
    assert text(parts.trouble(run)) == ""
    assert text(parts.curves([run])) == "Curves No numbers have been logged yet."


def test_the_whole_configuration_with_what_was_set(tmp_path: Path) -> None:
    run = shown(
        tmp_path / "a", overrides=["optim.lr=0.01", "+args.seed=1", "nothing=3"], choices={"optim": "sgd"}
    )
    config = "args: {seed: 1, stages: [train], empty: {}}\noptim: {lr: 0.01, note: null}\n"
    (run.record.run_dir / "config.yaml").write_text(config)
    made = joined(*parts.configuration(run))
    assert text(made).startswith("Configuration options optim=sgd set value in")
    set_here, *_ = re.findall(r"<table>.*?</table>", made)
    assert table(Html(set_here))[1:] == [
        ["args.seed", "1", "command line: +args.seed=1"],
        ["optim.lr", "0.01", "command line: optim.lr=0.01"],
    ]
    assert "all 5 values" in text(made)
    assert re.findall(r'<mark title="([^"]*)">(\w+)</mark>', made) == [
        ("command line: +args.seed=1", "seed"),
        ("command line: optim.lr=0.01", "lr"),
    ]
    assert text(made).endswith("args seed : 1 stages: [train] empty: {} optim lr : 0.01 note: null")


@pytest.mark.parametrize("damage", [b"", b"args", b"- a\n", b"args: [", b"a: 2020-99-99\n", b"\xff\xfe: {"])
def test_a_damaged_configuration_is_left_out(tmp_path: Path, damage: bytes) -> None:
    run = shown(tmp_path / "a", overrides=["optim.lr=0.01"], choices={})
    (run.record.run_dir / "config.yaml").write_bytes(damage)
    assert text(parts.configuration(run)) == "Configuration"


def test_a_damaged_character_is_shown_as_one(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", overrides=[], choices={})
    (run.record.run_dir / "config.yaml").write_bytes(b"run:\n  name: caf\xe9\n")
    assert text(parts.configuration(run)).endswith("run name: caf\ufffd")


def test_where_it_came_from(tmp_path: Path) -> None:
    sessions = [{"at": "monday", "step": 0}, {"at": "tuesday", "step": 20}]
    run = shown(
        tmp_path / "a",
        packages={"torch": "2.1", "numpy": "3"},
        parent="b",
        resume_from=None,
        sessions=sessions,
    )
    found = text(parts.provenance(run))
    assert "packages torch 2.1 · numpy 3" in found
    assert "parent b" in found and "resume_from" not in found
    assert "starts monday at step 0 · tuesday at step 20" in found
    assert found.endswith(f"directory {(tmp_path / 'a').resolve()}")


# ---- several runs


def several(tmp_path: Path, *runs: dict[str, Any]) -> list[Shown]:
    """Runs with these fields; `values` are what they are told apart by."""
    made = []
    for place, fields in enumerate(runs):
        values = fields.pop("values", {"a": place})
        one = shown(tmp_path / f"run-{place}", **fields)
        one.values = values
        made.append(one)
    return made


ACCURACY = {"name": "eval/accuracy", "greater_is_better": True}
LOSS = {"name": "eval/loss", "greater_is_better": False}


@pytest.mark.parametrize(
    ("metrics", "scores", "best"),
    [
        ([ACCURACY] * 3, [0.5, 0.7, 0.6], 1),
        ([LOSS] * 3, [0.5, 0.7, 0.6], 0),
        ([LOSS] * 3, [float("nan"), 0.7, 0.6], 2),
        ([LOSS, ACCURACY, LOSS], [0.5, 0.7, 0.6], None),
        ([LOSS] * 3, [None, None, None], None),
    ],
)
def test_the_best_of_several(
    tmp_path: Path, metrics: list[dict[str, Any]], scores: list[float | None], best: int | None
) -> None:
    runs = several(
        tmp_path,
        *({"metric": metric, "results": {metric["name"]: score}} for metric, score in zip(metrics, scores)),
    )
    assert parts.best_of(runs) is (None if best is None else runs[best])
    assert parts.table_of(runs).count('class="number first"') == (best is not None)


def test_a_row_for_each_run(tmp_path: Path) -> None:
    one, other = several(
        tmp_path,
        {"values": {"optim.lr": 0.1, "args.seed": 1}, "total_steps": 10, "step": 10},
        {
            "values": {"optim.lr": None, "args.seed": True},
            "results": {"eval/loss": None},
            "status": "failed",
            "error": "no memory",
            "total_steps": 10,
            "step": 4,
            "ended": None,
        },
    )
    assert table(parts.table_of([one, other])) == [
        ["run", "lr", "seed", "accuracy", "evaluation loss", "status", "steps", "took"],
        ["run-0", "0.1", "1", "0.75", "0.25", "finished", "10", "1 d 1 h"],
        ["run-1", "null", "true", "-", "nan", "failed no memory", "4 / 10", "-"],
    ]


def test_what_there_is_no_room_for_is_counted(tmp_path: Path) -> None:
    values = {f"a.b{number}": number for number in range(11)} | {"c.b0": 0}
    results = {f"eval/s{number}": 0.5 for number in range(9)}
    (head, row) = table(
        parts.table_of(several(tmp_path, {"values": values, "results": results, "metric": None}))
    )
    assert head[1:10] == [*(f"b{number}" for number in range(7)), "b7 (+4 more)", "score"]
    assert head[10:14] == [f"s{number}" for number in range(parts.MOST_SCORES)]
    assert len(row) == len(head)


def test_runs_are_of_the_days_on_which_the_first_and_the_last_began(tmp_path: Path) -> None:
    days = ("2026-03-05", "2026-03-01", "2026-03-03")
    runs = several(tmp_path, *({"created": f"{day}T12:00:00+00:00"} for day in days))
    assert parts.period(runs) == "2026-03-01 to 2026-03-05"
    assert parts.period(runs[:1]) == "2026-03-05"
    assert parts.period(several(tmp_path / "more", {"created": "once"})) == ""


def test_every_look_of_a_line_has_its_sample(tmp_path: Path) -> None:
    runs = [Shown(Record(tmp_path, {"id": str(place)}), {"args.seed": place}) for place in range(2 * DASHES)]
    tell_apart(runs, best_first=False)
    samples = [parts.sample(run) for run in runs]
    assert len(set(samples)) == DASHES
    assert samples[:DASHES] == samples[DASHES:]


def test_the_leaderboard_of_a_sweep(tmp_path: Path) -> None:
    axes = {"optim.lr": [1e-5, 3e-5, 5e-5], "args.seed": [1, 2]}
    scores = {1e-5: 0.5, 3e-5: 0.75}

    def run(values: Any) -> dict[str, Any] | None:
        rate, seed = values["optim.lr"], values["args.seed"]
        if rate == 5e-5:
            return {"status": "failed", "error": "x"} if seed == 1 else None
        return finished(scores[rate] + seed / 100)

    (standing,) = leaderboard(made_sweep(tmp_path, axes, run)).standings
    made = joined(*parts.leaderboard(standing))
    (found,) = re.findall(r"<table>.*?</table>", made)
    assert table(Html(found)) == [
        ["", "lr", "accuracy (greatest first)", "n", "jobs"],
        ["1", "3e-05", "0.7650 ± 0.0071", "2 of 2", "2 finished"],
        ["2", "1e-05", "0.5150 ± 0.0071", "2 of 2", "2 finished"],
        ["-", "5e-05", "-", "0 of 2", "1 failed, 1 waiting"],
    ]
    assert standing.answer in text(made)
    assert text(made).endswith("What trains the winner: trainer-cli +recipe=glue optim.lr=3e-05 args.seed=2")


# ---- plots


def test_a_plot_for_each_axis_says_which_runs_are_not_on_it(tmp_path: Path) -> None:
    runs = several(
        tmp_path,
        *(
            {"values": {"optim.lr": rate, "data": "a"}, "results": {"eval/accuracy": rate}}
            for rate in (0.01, 0.1)
        ),
        {"values": {"optim.lr": 1.0, "data": "b"}, "results": {}, "status": "failed"},
    )
    made = joined(*parts.axis_plots(axes_of(runs), runs))
    assert text(made) == (
        "Score by axis A dot is a run; the bar of a value is the mean ± standard deviation of its seeds."
        " 1 of 3 runs have no score. accuracy by optim.lr, logarithmic"
    )
    assert made.count("<figure ") == 1
    assert list(parts.axis_plots([], runs)) == []


def test_a_place_for_each_chart_and_a_word_on_what_is_thinned(tmp_path: Path) -> None:
    short, long = shown(tmp_path / "a", 300), shown(tmp_path / "b", 6000)
    made = joined(*parts.curves([short]))
    assert re.findall(r'data-chart="(\d+)"', made) == [str(place) for place in range(made.count("<figure "))]
    assert "no spike is lost" not in made
    assert 'class="wide" data-chart="0" data-title="loss"' in made
    assert "(the longest has 5,940)" in text(parts.curves([long]))
