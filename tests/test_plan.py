"""`trainer-cli plan`: what it prints, and that nothing of it is left."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import OVERRIDES

from trainer_cli import preflight, runner
from trainer_cli.config.compose import Composition, compose
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.engine import Engine
from trainer_cli.plan import built, print_plan, set_by_the_user, value_at
from trainer_cli.prepare import prepare
from trainer_cli.runs.record import Record

OWN = """\
from small_run import MLP


class Broken(MLP):
    def __init__(self, **given):
        error = ZeroDivisionError("no such width")
        error.add_note("seen while it was made")
        raise error


class Service:
    def __init__(self, api_key=None):
        raise AssertionError("a plan calls no service")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model that cannot be made, and data that cannot be read."""
    folder = tmp_path / "project"
    (folder / "configs" / "args").mkdir(parents=True)
    (folder / "own.py").write_text(OWN)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, str]]:
    """`printed(override...)`: the rows of all tables, without rulers, by their first cell."""

    def of(*overrides: str) -> dict[str, str]:
        assert print_plan([*OVERRIDES, *overrides], []) == 0
        rows = [
            line.strip("│┃ ").replace("┃", "│").split("│") for line in capsys.readouterr().out.splitlines()
        ]
        return {cells[0].strip(): " · ".join(cell.strip() for cell in cells[1:]) for cells in rows}

    return of


@pytest.fixture
def recipe(folder: Path) -> str:
    """What chooses the project's recipe."""
    (folder / "recipes").mkdir()
    text = "# @package _global_\n# trainer-cli +recipe=mine\nargs: {seed: 5}\noptim: {weight_decay: 0.125}\n"
    (folder / "recipes" / "mine.yaml").write_text(text)
    return "+recipe=mine"


def composed(*overrides: str) -> Composition:
    return compose([*OVERRIDES, *overrides])


def test_it_says_what_was_set_what_would_run_and_what_that_takes(
    printed: Callable[..., dict[str, str]], folder: Path, temporary: Path
) -> None:
    before = sorted(folder.rglob("*"))
    rows = printed("args.stages=[train]", "args.output_dir='out[/a]'", "optim.weight_decay=0.1")
    assert rows["args.output_dir"] == "out[/a] · command line: args.output_dir='out[/a]'"
    assert rows["args.stages"] == "['train'] · command line: args.stages=[train]"
    assert "args.seed" not in rows
    assert rows["model"] == "MLP, 163 parameters"
    assert rows["steps"] == "12, 6 an epoch"
    assert rows["batch"] == "8 rows × 1 micro-batches × 1 processes = 8"
    assert rows["decay"].split(" · ")[:2] == ["2", "144"]
    assert any(row.startswith("learning rate of each update") for row in rows)
    assert sorted(folder.rglob("*")) == before and not list(temporary.glob("tmp*"))


def test_it_is_made_for_as_many_processes_as_the_run_has(printed: Callable[..., dict[str, str]]) -> None:
    rows = printed("strategy=ddp", "strategy.num_processes=2")
    assert rows["batch"] == "8 rows × 1 micro-batches × 2 processes = 16"
    assert rows["steps"] == "6, 3 an epoch"
    assert "strategy=ddp" in rows["options"]


def test_no_service_is_called(printed: Callable[..., dict[str, str]]) -> None:
    rows = printed("tracker.mine._target_=own.Service", "plugins=[small_run,own]")
    assert rows["steps"] == "12, 6 an epoch" and rows["tracker.mine._target_"].startswith("own.Service")


def test_what_trains_nothing_has_no_schedule(printed: Callable[..., dict[str, str]]) -> None:
    rows = printed("args.stages=[eval]", "data.train=null", "args.eval_strategy=no")
    assert "decay" not in rows and not any(row.startswith("learning rate") for row in rows)


def test_a_warning_goes_to_standard_error(
    recipe: str, printed: Callable[..., dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = (recipe, "optim=sgd")
    (warning,) = composed(*words).warnings
    assert "optim=sgd keeps what the recipe tuned for optim=adamw: optim.weight_decay=0.125" in warning
    print_plan([*OVERRIDES, *words], [])
    out, err = capsys.readouterr()
    assert err == warning + "\n" and "keeps what" not in out


def test_an_error_of_the_user_s_code_is_one_block_with_its_notes(temporary: Path) -> None:
    words = ("model._target_=own.Broken", "plugins=[small_run,own]")
    with pytest.raises(RunFailed) as caught, built(composed(*words)):
        pass
    (problem,) = caught.value.problems
    assert problem.what == "ZeroDivisionError: no such width"
    where, _, *notes = problem.right.splitlines()
    assert where.startswith("raised in: own.py:") and where.endswith(", in Broken.__init__")
    assert notes == ["seen while it was made", "in stage 3 of 11, model resolution"]
    assert not list(temporary.glob("tmp*"))


def test_what_the_user_can_put_right_is_told_as_it_is(temporary: Path) -> None:
    words = ("data.train.size=3", "args.dataloader_drop_last=true")
    with pytest.raises(UserError, match="do not fill one batch of 8") as caught, built(composed(*words)):
        pass
    assert not isinstance(caught.value, RunFailed) and not list(temporary.glob("tmp*"))


def test_the_directory_is_gone_after_and_after_an_error_too(temporary: Path) -> None:
    for error in (None, KeyError):
        directory = None
        try:
            with built(composed()) as engine:
                directory = engine.run_dir
                assert directory.is_dir()
                if error is not None:
                    raise error
        except KeyError:
            assert error is KeyError
        assert directory is not None and not directory.exists() and not list(temporary.glob("tmp*"))


def test_callbacks_are_made_where_they_are_asked_for() -> None:
    composition = composed("callbacks=early_stopping", "args.metric_for_best_model=loss")
    with built(composition) as engine:
        assert "early_stopping" in engine.callbacks
    with built(composition, callbacks=False) as engine:
        assert not engine.callbacks


def test_only_what_the_user_set_is_listed_with_what_set_it_last(recipe: str) -> None:
    found = {key: rest for key, *rest in set_by_the_user(composed(recipe, "args.seed=6"))}
    assert found["args.seed"] == ["6", "command line: args.seed=6"]
    assert found["optim.weight_decay"][0] == "0.125" and "mine.yaml" in found["optim.weight_decay"][1]
    assert "args.save_steps" not in found and "data.train" not in found


def test_a_value_is_found_by_its_dotted_key() -> None:
    config: dict[str, Any] = {"a": {"b": {"c": 1}, "d": None, "e": "text"}}
    assert value_at(config, "a.b.c") == 1 and value_at(config, "a.b") == {"c": 1}
    for key in ("a.b.x", "a.d.x", "a.e.x", "x", "x.y", "a.b.c.d"):
        assert value_at(config, key) is None


def engines() -> int:
    """How many there are."""
    gc.unfreeze()
    gc.collect()
    return sum(type(entry) is Engine for entry in gc.get_objects())


def test_a_preflight_follows_when_the_plan_s_own_parts_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def try_run(composition: Composition, show_traceback: bool) -> int:
        assert composition.config["strategy"]["name"] == "single" and show_traceback
        assert engines() == before
        return 7

    before = engines()
    monkeypatch.setattr(preflight, "preflight", try_run)
    assert print_plan(OVERRIDES, [], preflight=True, traceback=True) == 7


def test_a_run_to_go_on_with_is_planned_from_its_step(
    folder: Path, printed: Callable[..., dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*OVERRIDES, "args.max_steps=4", "args.save_strategy=steps", "args.save_steps=2"]
    prepared = prepare(words, [], words)
    prepared.lock.release()
    runner.run(runner.build(prepared.config, prepared.run_dir))
    Record.load(prepared.run_dir).end("preempted", total_steps=4)
    before = {path: path.read_bytes() for path in prepared.run_dir.rglob("*") if path.is_file()}
    rows = printed(f"resume={prepared.run_dir}", "args.max_steps=10", "args.per_device_train_batch_size=4")
    assert rows["steps"].endswith("10, 12 an epoch; 6 remain after step 4")
    assert rows["batch"] == "4 rows × 1 micro-batches × 1 processes = 4"
    assert {path: path.read_bytes() for path in prepared.run_dir.rglob("*") if path.is_file()} == before
    print_plan([*OVERRIDES, f"resume={prepared.run_dir}", "args.max_steps=10"], [])
    err = capsys.readouterr().err
    assert f"resuming {prepared.run_dir} at step 4 of 4" in err and "args.max_steps  4 → 10" in err


def test_what_a_resume_refuses_the_plan_refuses(folder: Path) -> None:
    with pytest.raises(UserError, match="resume=nowhere is neither a run nor a checkpoint"):
        print_plan([*OVERRIDES, "resume=nowhere"], [])
