"""The trackers of accelerate, by a stand-in: their services' packages are in no test."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from trainer_cli.tracker import ClearML, Comet, DVCLive, SwanLab
from trainer_cli.tracker.accelerate import Accelerated
from trainer_cli.tracker.run import Run

tracking = pytest.importorskip("accelerate.tracking")


class StandIn(tracking.GeneralTracker):  # type: ignore[misc,name-defined]
    """What accelerate asks of a tracker, kept in a list."""

    name = "stand_in"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    @property
    def tracker(self) -> list[Any]:
        return self.calls

    @tracking.on_main_process  # type: ignore[untyped-decorator]
    def start(self) -> None:
        tracking.logger.debug("it speaks, as all of accelerate's do")
        self.calls.append("start")

    @tracking.on_main_process  # type: ignore[untyped-decorator]
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.calls.append(values)

    @tracking.on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.calls.append((step, values))

    @tracking.on_main_process  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        self.calls.append("finish")


class Adapter(Accelerated):
    """A tracker of the stand-in."""

    def make(self, run: Run) -> StandIn:
        return StandIn()


@pytest.fixture(autouse=True)
def logging_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate's logger keeps its level."""
    monkeypatch.setattr(logging.getLogger("accelerate.tracking"), "level", logging.WARNING)


def test_configuration_and_finite_numbers_go_through(run_dir: Path) -> None:
    adapter = Adapter(timeout=1.0)
    adapter.start(run_dir, 0, 0)
    adapter.log({"step": 1, "epoch": 0.5, "a": 2.0, "b": math.nan, "c": "text"})
    adapter.start(run_dir, 0, 0)  # a rollback stays in the same run
    adapter.close()
    start, config, *rest = adapter.tracker.calls
    assert start == "start" and config["optim.lr"] == 0.01
    assert rest == [(1, {"epoch": 0.5, "a": 2.0}), "finish"]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`package(name, **attributes)`: a package of this name."""

    def put(name: str, **attributes: Any) -> None:
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)

    return put


def test_swanlab_is_given_a_name_that_it_finds_again(run_dir: Path, package: Any) -> None:
    package("swanlab", Settings=SimpleNamespace(model_validate=dict))
    run = Run.read(run_dir)
    made = SwanLab(project=None, workspace=None, mode="offline", timeout=1.0).make(run)
    assert made.run_name == "demo"
    kept = made.init_kwargs
    assert (kept["id"], kept["resume"], kept["mode"]) == (run.key[:21], "allow", "offline")
    assert kept["log_dir"] == str(run_dir / "swanlog") and kept["settings"]["interactive"] is False


def test_comet_is_given_a_name_that_it_finds_again(run_dir: Path, package: Any) -> None:
    package("comet_ml", ExperimentConfig=SimpleNamespace)
    run = Run.read(run_dir)
    made = Comet(project="p", workspace=None, online=False, timeout=1.0).make(run)
    assert made.run_name == "p"
    kept = made.init_kwargs
    assert (kept["experiment_key"], kept["mode"]) == (run.key, "get_or_create")
    settings = kept["experiment_config"]
    assert settings.auto_output_logging is False and settings.offline_directory == str(run_dir / "comet")


class Task:
    """ClearML's, as far as it is called."""

    made: ClassVar[list[dict[str, Any]]] = []
    id = "task-1"

    @classmethod
    def current_task(cls) -> None:
        return None

    @classmethod
    def init(cls, **settings: Any) -> Task:
        cls.made.append(settings)
        return cls()

    def connect_configuration(self, _: Any) -> None: ...

    def set_initial_iteration(self, offset: int) -> None:
        assert offset == 0

    def close(self) -> None: ...


def test_clearml_goes_on_with_the_task_that_the_run_had(run_dir: Path, package: Any) -> None:
    package("clearml", Task=Task)
    for _ in range(2):
        tracker = ClearML(project=None, timeout=1.0)
        tracker.start(run_dir, 0, 0)
        tracker.close()
    first, second = Task.made
    assert (first["project_name"], first["task_name"]) == ("demo", run_dir.name)
    assert (first["continue_last_task"], second["continue_last_task"]) == (False, "task-1")


class Live:
    """DVCLive's, as far as it is called: a file of tabs for each number."""

    def __init__(self, dir: str, resume: bool, report: Any, save_dvc_exp: bool, dvcyaml: str) -> None:
        assert dvcyaml == f"{dir}/dvc.yaml"
        self.plots = Path(dir) / "plots" / "metrics"
        self.resume = resume
        self.step = 0

    def log_params(self, _: Any) -> None: ...

    def log_metric(self, name: str, value: float) -> None:
        path = self.plots / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = "" if path.exists() else f"step\t{path.stem}\n"
        with path.open("a") as file:
            file.write(f"{header}{self.step}\t{value}\n")

    def next_step(self) -> None: ...

    def end(self) -> None: ...


def test_dvclive_has_each_number_once(run_dir: Path, package: Any) -> None:
    package("dvclive", Live=Live)
    package("dvclive.plots", Metric=SimpleNamespace(could_log=lambda value: isinstance(value, float)))
    for first, last in ((1, 5), (4, 7)):
        tracker = DVCLive(report=None, save_dvc_exp=False, timeout=1.0)
        tracker.start(run_dir, first - 1, first - 1)
        for step in range(first, last):
            tracker.log({"step": step, "epoch": step / 2, "train/loss": 1.0})
        tracker.log({"step": last - 1, "epoch": (last - 1) / 2, "eval/loss": 2.0})
        tracker.close()
        assert tracker.tracker.tracker.resume == (first > 1)
    text = (run_dir / "dvclive" / "plots" / "metrics" / "train" / "loss.tsv").read_text()
    assert [line.split("\t")[0] for line in text.splitlines()] == ["step", "1", "2", "3", "4", "5", "6"]
