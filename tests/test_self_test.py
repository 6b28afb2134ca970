"""`trainer-cli verify --resume`: what it changes of a run, and what it makes of a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_cli import self_test
from trainer_cli.callbacks.witness import FACTS, file_name
from trainer_cli.checkpoint.compare import Comparison
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.self_test import STOPPED, UNDISTURBED, Logged, Parting

SMALL = [
    "plugins=[small_run]",
    "data=python",
    "data.train={_target_: small_run.Rows, size: 45}",
    "data.eval={_target_: small_run.Rows, size: 17}",
    "model=mlp",
    "model.in_features=6",
    "model.out_features=3",
    "loss=cross_entropy",
]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["callbacks=early_stopping", "args.load_best_model_at_end=true", "args.metric_for_best_model=loss"],
        ["scheduler=reduce_lr_on_plateau", "callbacks=early_stopping"],
        ["args.save_strategy=best", "args.save_only_model=true", "args.logging_strategy=epoch"],
        ["callbacks=null", "tracker.more._target_=trainer_cli.tracker.JsonLines", "run.name=mine"],
        ["args.on_nonfinite=rollback", "args.eval_strategy=steps", "args.eval_steps=0.1"],
    ],
)
def test_the_changed_run_composes(more: list[str]) -> None:
    words = [*SMALL, *more]
    composed = compose([*words, *self_test.changes(compose(words).config)]).config
    args = composed["args"]
    assert (args["save_steps"], args["save_strategy"], args["stages"]) == (3, "steps", ["train"])
    assert composed["callbacks"]["witness"]["updates"] == 6
    assert all(node is None for node in composed["tracker"].values())
    waits = "scheduler=reduce_lr_on_plateau" in more
    assert args["eval_strategy"] == ("steps" if waits else "no")


def test_a_path_is_quoted_for_hydra(tmp_path: Path) -> None:
    path = tmp_path / "a b's, [c]=$d"
    assert compose([f"args.output_dir={self_test.quoted(path)}"], strict=False).config["args"][
        "output_dir"
    ] == str(path)


def test_logged_numbers_are_compared_but_for_clocks() -> None:
    first = [
        {"step": 2, "train/loss": 1.0, "train/samples_per_second": 3.0},
        {"step": 4, "train/loss": 0.5, "train/count": 4},
    ]
    second = [
        {"step": 2, "train/loss": 1.0, "train/samples_per_second": 4.0},
        {"step": 4, "train/loss": 0.50000001, "train/count": 1},
    ]
    assert list(self_test.logged_differences(first, first)) == []
    assert list(self_test.logged_differences(first, second)) == [
        Logged("train/loss", 4, "is 0.50000001, not 0.5"),
        Logged("train/count", 4, "is 1, not 4"),
    ]
    assert next(self_test.logged_differences(first, first[:1])) == Logged("step", 4, "is None, not 4")


def facts(step: int, **changed: str) -> dict[str, Any]:
    """A witness's row in which the facts named are other ones."""
    return {"step": step, **{fact: {"name": changed.get(fact, "same")} for fact in FACTS}}


def write(run_dir: Path, rank: int, *rows: dict[str, Any]) -> Path:
    run_dir.mkdir(exist_ok=True)
    (run_dir / file_name(rank)).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_dir


def test_the_first_fact_of_the_first_step_in_any_process_is_found(tmp_path: Path) -> None:
    straight = write(tmp_path / "a", 0, *map(facts, range(1, 7)))
    write(straight, 1, *map(facts, range(1, 7)))
    other = write(tmp_path / "b", 0, facts(4), facts(5, gradients="other"), facts(6, rows="other"))
    write(other, 1, facts(4), facts(5, gradients="other", batch="other"), facts(6))
    assert self_test.parting(straight, other) == Parting(5, "batch", "name", begins=False)
    write(other, 1, facts(4, weights="other"), facts(5))
    assert self_test.parting(straight, other) == Parting(4, "weights", "name", begins=True)
    assert self_test.parting(straight, straight) is None


FILES = [Comparison("model.safetensors", 2, {"a": "differs by up to 1, in 100% of its values"})]
CALLBACK = [Comparison("state.json", 9, {"callbacks.mine.count": "is 3, not 6"})]
ROWS = [Logged("train/count", 4, "is 1, not 4")]


@pytest.mark.parametrize(
    ("files", "rows", "found", "says"),
    [
        (FILES, ROWS, Parting(4, "batch", "features", True), "the data draws from a generator of its own"),
        (FILES, [], Parting(4, "weights", "a", True), "its state_dict(), and so the checkpoint, leaves out"),
        (FILES, [], Parting(5, "weights", "a", False), "the optimizer, or a callback that changes weights"),
        (FILES, [], Parting(4, "gradients", "a", True), "the model or the loss keeps a state"),
        (FILES, [], Parting(5, "gradients", "a", False), "the model or the loss keeps a state"),
        (FILES, [], Parting(4, "generators", "torch", True), "draws numbers when a run starts or goes on"),
        (FILES, [], None, "the optimizer, or a callback that changes weights"),
        (CALLBACK, [], None, "the callback mine does not go on from the state"),
        ([], ROWS, None, "the callback that gives train/count keeps a state"),
    ],
)
def test_the_likely_cause(
    files: list[Comparison],
    rows: list[Logged],
    found: Parting | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert self_test.report(files, rows, found, STOPPED) == 1
    assert says in capsys.readouterr().out


def test_every_fact_has_its_words() -> None:
    assert set(self_test.WHERE) == set(FACTS)
    for causes in (STOPPED, UNDISTURBED):
        assert {name.removesuffix(" later") for name in causes} == set(FACTS)


def test_what_a_failed_run_said_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test.sys, "executable", "/bin/false")
    with pytest.raises(RunFailed, match="there is nothing to compare: the run failed"):
        self_test.train("the run", [], tmp_path)


def test_a_configuration_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"args\.max_stps"):
        self_test.verify_resume([*SMALL, "args.max_stps=3"], [])
