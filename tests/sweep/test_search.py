"""The study of a search: what it asks for, what it learns, and that a kill changes neither."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import axis_values, parse
from trainer_cli.config.schema import Sweep
from trainer_cli.runs.journal import FILE, trials_of
from trainer_cli.sweep.search import Study, Suggestion
from trainer_cli.sweep.space import Axis, axis, draw

AXES = (
    "optim.lr=tag(log, interval(1e-5,1e-1))",
    "optim.weight_decay=range(0.0,0.5,0.1)",
    "model.layers=int(interval(1,8))",
    "data=a,b,c",
)
SEARCHES = ("random", "qmc", "cma_es", "tpe", "gp")


def axes(*words: str) -> list[Axis]:
    parsed, problems = parse(words or AXES)
    assert not problems
    return [axis(override, axis_values(override, ())) for override in parsed]


def settings(search: str = "tpe", trials: int = 20, **others: Any) -> Sweep:
    defaults = {"name": None, "params": {}, "zip": [], "seed": 0, "pruner": None, "jobs": 1}
    more = {"warm": False, "retries": 0, "fail_fast": False}
    return Sweep(**{**defaults, **more, "search": search, "trials": trials, **others})


def loss(words: list[str]) -> float:
    """Least at a learning rate of 1e-3, no decay, 5 layers, and b."""
    value = dict(word.split("=") for word in words)
    of_rate = (math.log10(float(value["optim.lr"])) + 3) ** 2
    of_depth = 0.1 * abs(int(value["model.layers"]) - 5)
    return of_rate + float(value["optim.weight_decay"]) + of_depth + (value["data"] != "b")


def finished(score: float, greater_is_better: bool = False) -> dict[str, Any]:
    metric = {"name": "eval/score", "greater_is_better": greater_is_better}
    return {"status": "finished", "metric": metric, "results": {"eval/score": score}}


def outcome(suggestion: Suggestion) -> Mapping[str, Any]:
    """What its run comes to: some diverge, one fails, some are pruned."""
    score = loss(suggestion.words)
    if score > 4:
        return {"status": "diverged"}
    if suggestion.number == 4:
        return {"status": "failed"}
    return {"status": "pruned"} if score > 3 else finished(score)


def go_on(study: Study) -> list[list[str]]:
    """Try what the study asks for until it asks for no more."""
    asked = []
    while (suggestion := study.ask()) is not None:
        asked.append(suggestion.words)
        study.tell(suggestion, outcome(suggestion))
    return asked


@pytest.mark.parametrize("search", SEARCHES)
def test_a_study_that_is_killed_anywhere_asks_for_the_same(tmp_path: Path, search: str) -> None:
    trials = 24 if search == "gp" else 40
    straight = go_on(Study(tmp_path / "straight", axes(), settings(search, trials)))
    assert len(straight) == trials

    def study() -> Study:
        return Study(tmp_path / "killed", axes(), settings(search, trials))

    killed = []
    while (suggestion := study().ask()) is not None:
        killed.append(suggestion.words)
        if suggestion.number % 3 == 0:  # killed before it was told
            assert study().unfinished()[-1] == suggestion
            for left in study().unfinished():
                study().tell(left, outcome(left))
        study().tell(suggestion, outcome(suggestion))
    assert killed == straight


def test_the_seed_makes_the_search(tmp_path: Path) -> None:
    zero, one = (go_on(Study(tmp_path / str(seed), axes(), settings(seed=seed))) for seed in (0, 1))
    assert zero[0] != one[0] and zero[-1] != one[-1]


@pytest.mark.parametrize("search", ["tpe", "gp", "cma_es"])
def test_it_finds_what_chance_does_not(tmp_path: Path, search: str) -> None:
    trials = 20 if search == "gp" else 60
    numbers = axes(*AXES[:3], "data=b,b")
    found = go_on(Study(tmp_path, numbers, settings(search, trials)))
    late = sorted(map(loss, found[trials // 2 :]))
    by_chance = sorted(map(loss, draw(numbers, trials // 2, seed=1)))
    assert late[len(late) // 2] < by_chance[len(late) // 2] / 2


def test_a_random_search_asks_for_what_would_be_drawn_at_once(tmp_path: Path) -> None:
    few = axes("data=a,b", "optim.lr=1,2")
    study = Study(tmp_path, few, settings("random"))
    asked = []
    while (suggestion := study.ask()) is not None:
        asked.append(suggestion.words)
    assert asked == draw(few, 20, seed=0) and len(asked) == 4


def test_it_ends_after_its_trials_and_goes_on_with_more(tmp_path: Path) -> None:
    whole = go_on(Study(tmp_path / "whole", axes(), settings(trials=14)))
    part = go_on(Study(tmp_path / "parts", axes(), settings(trials=12)))
    assert Study(tmp_path / "parts", axes(), settings(trials=12)).ask() is None
    assert [suggestion.words for suggestion in Study(tmp_path / "parts", axes(), settings()).asked()] == part
    assert part + go_on(Study(tmp_path / "parts", axes(), settings(trials=14))) == whole


@pytest.mark.parametrize("search", SEARCHES)
def test_wider_axes_go_on_with_the_study(tmp_path: Path, search: str) -> None:
    go_on(Study(tmp_path, axes(), settings(search, 15)))
    wider = axes(
        "optim.lr=tag(log, interval(1e-7,1))",
        "optim.weight_decay=range(0.0,1.0,0.1)",
        "model.layers=int(interval(1,16))",
        "data=a,b,c,d",
    )
    study = Study(tmp_path, wider, settings(search, 25))
    assert len([trial for trial in trials_of(study.storage).values() if study.fits(trial)]) == 15
    asked = go_on(study)
    assert len(asked) == 10
    assert any(word not in axes_words() for words in asked for word in words[1:])


def axes_words() -> set[str]:
    """All words that the narrower axes can give, the learning rate's left out."""
    return {each.word(each.at(share / 100)) for each in axes()[1:] for share in range(101)}


def test_trials_that_the_axes_no_longer_have_teach_nothing(tmp_path: Path) -> None:
    first = Study(tmp_path, axes("data=a,b"), settings(trials=6))
    for _ in range(4):
        suggestion = first.ask()
        assert suggestion is not None
        first.tell(suggestion, finished(1.0))
    first.ask()
    for other in (axes("data=c,d"), axes("data=a,b", "optim.lr=interval(0,1)")):
        study = Study(tmp_path, other, settings(trials=99))
        assert study.unfinished() == []
        suggestion = study.ask()
        assert suggestion is not None and study.unfinished() == [suggestion]
        study.tell(suggestion, finished(1.0))
    assert [left.number for left in Study(tmp_path, axes("data=a,b"), settings()).unfinished()] == [4]


def one_trial(tmp_path: Path) -> tuple[Study, Suggestion]:
    study = Study(tmp_path, axes(), settings())
    suggestion = study.ask()
    assert suggestion is not None
    return study, suggestion


@pytest.mark.parametrize(
    ("fields", "state", "value"),
    [
        (finished(0.25), "COMPLETE", 0.25),
        (finished(0.25, greater_is_better=True), "COMPLETE", -0.25),
        (finished(math.nan), "FAIL", None),
        (finished(math.inf), "FAIL", None),
        ({"status": "finished", "metric": None, "results": {}}, "FAIL", None),
        ({"status": "pruned"}, "PRUNED", None),
        ({"status": "failed"}, "FAIL", None),
        ({"status": "diverged"}, "FAIL", None),
        (None, "FAIL", None),
        ({"status": "preempted"}, "RUNNING", None),
        ({"status": "running"}, "RUNNING", None),
    ],
)
def test_what_a_run_came_to_is_told(
    tmp_path: Path, fields: Mapping[str, Any] | None, state: str, value: float | None
) -> None:
    study, suggestion = one_trial(tmp_path)
    study.tell(suggestion, fields)
    trial = trials_of(study.storage)[0]
    assert (trial.state.name, trial.value) == (state, value)
    assert study.unfinished() == ([suggestion] if state == "RUNNING" else again(fields, suggestion))


def again(fields: Mapping[str, Any] | None, suggestion: Suggestion) -> list[Suggestion]:
    """What failed is tried again; what diverged would do so again."""
    return [suggestion] if fields is None or fields["status"] == "failed" else []


def test_what_was_told_once_stands(tmp_path: Path) -> None:
    study, suggestion = one_trial(tmp_path)
    study.tell(suggestion, finished(0.5))
    study.tell(suggestion, {"status": "failed"})
    assert trials_of(study.storage)[0].value == 0.5


def test_a_failed_one_can_be_tried_again_and_keeps_its_number(tmp_path: Path) -> None:
    study, suggestion = one_trial(tmp_path)
    study.tell(suggestion, {"status": "failed"})
    assert Study(tmp_path, axes(), settings()).unfinished() == [suggestion]
    study.tell(suggestion, finished(0.5))
    (trial,) = trials_of(study.storage).values()
    assert trial.value == 0.5 and study.unfinished() == []
    following = study.ask()
    assert following is not None and following.number == 1


def test_jobs_at_a_time_are_asked_for_apart(tmp_path: Path) -> None:
    study = Study(tmp_path, axes(), settings(trials=30, jobs=4))
    go_on(Study(tmp_path, axes(), settings(trials=15)))
    asked = [study.ask() for _ in range(4)]
    assert len({tuple(suggestion.words) for suggestion in asked if suggestion is not None}) == 4
    assert study.unfinished()[-4:] == asked


def test_the_pruning_callback_of_a_job(tmp_path: Path) -> None:
    study = Study(tmp_path, axes(), settings(pruner="median"))
    assert study.callback(Suggestion(3, [])) == {
        "_target_": "trainer_cli.callbacks.Pruning",
        "journal": str(tmp_path / FILE),
        "trial": 3,
        "pruner": "median",
    }


def test_optuna_says_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for search in SEARCHES:
        go_on(Study(tmp_path / search, axes(), settings(search, 12, jobs=2)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("module", "search", "extra"),
    [("optuna", "tpe", "sweep"), ("cmaes", "cma_es", "sweep"), ("scipy.stats.qmc", "qmc", "sweep")],
)
def test_what_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, search: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        Study(tmp_path, axes(), settings(search)).ask()
    name = module.partition(".")[0]
    assert f"{name} is not installed" in caught.value.block() and f"[{extra}]" in caught.value.block()


@pytest.mark.parametrize("damage", [b"not json\nnot json\n", b"[1]\n[2]\n", b"\xff\xfe\n\n"])
def test_a_damaged_journal_is_refused_in_a_block(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(UserError) as caught:
        Study(tmp_path, axes(), settings())
    assert "cannot be used" in caught.value.block() and "sweep.name=" in caught.value.block()


def test_a_journal_that_cannot_be_written_is_refused_in_a_block(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(UserError, match="cannot be used"):
        Study(tmp_path, axes(), settings())


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path: Path) -> None:
    whole = go_on(Study(tmp_path / "whole", axes(), settings(trials=6)))
    study = Study(tmp_path / "torn", axes(), settings(trials=6))
    asked = []
    while (suggestion := study.ask()) is not None:
        asked.append(suggestion.words)
        with (tmp_path / "torn" / FILE).open("ab") as file:
            file.write(b'{"op_code":6,"wor')
        study = Study(tmp_path / "torn", axes(), settings(trials=6))
        study.tell(suggestion, outcome(suggestion))
    assert asked == whole


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_search import Study, axes, outcome, settings
study = Study(Path(sys.argv[2]), axes(), settings(trials=60))
print("begins", flush=True)
for suggestion in study.unfinished():
    study.tell(suggestion, outcome(suggestion))
while (suggestion := study.ask()) is not None:
    study.tell(suggestion, outcome(suggestion))
print("done", flush=True)
"""


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(Path(__file__).parent), str(tmp_path / "killed")]
    for delay in (0.01, 0.03, 0.06, 0.1, 0.15):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"begins\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
    assert subprocess.check_output(command) == b"begins\ndone\n"
    study = Study(tmp_path / "killed", axes(), settings(trials=60))
    killed = [trial.user_attrs["words"] for trial in trials_of(study.storage).values()]
    assert killed == go_on(Study(tmp_path / "straight", axes(), settings(trials=60)))
