"""The options of the group `tracker`: alone, together, and without their packages."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from small_run import OVERRIDES, built

from trainer_cli import runner
from trainer_cli.config import rules
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.tracker.jsonl import FILE, read
from trainer_cli.tracker.run import Run

PACKAGES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "swanlab": "swanlab",
    "dvclive": "dvclive",
    "comet": "comet_ml",
    "clearml": "clearml",
}


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where every package is."""
    monkeypatch.setattr(rules, "_is_installed", lambda package: True)


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize("option", PACKAGES)
def test_an_option_composes_and_its_keys_are_parameters(option: str) -> None:
    config = compose([*OVERRIDES, f"tracker={option}", f"tracker.{option}.timeout=5"]).config
    assert config["tracker"][option]["timeout"] == 5.0
    with pytest.raises(UserError, match=f"tracker.{option}.projct"):
        compose([*OVERRIDES, f"tracker={option}", f"+tracker.{option}.projct=x"])


@pytest.mark.usefixtures("all_installed")
def test_several_compose() -> None:
    config = compose([*OVERRIDES, "tracker=[tensorboard,wandb]", "tracker.wandb.project=x"]).config
    assert list(config["tracker"]) == ["tensorboard", "wandb"]
    assert config["tracker"]["wandb"]["project"] == "x"


@pytest.mark.parametrize(("option", "package"), PACKAGES.items())
def test_a_package_that_is_missing_is_said_by_the_check(
    monkeypatch: pytest.MonkeyPatch, option: str, package: str
) -> None:
    find = importlib.util.find_spec
    # A folder of the package's name, as wandb makes one, is no package.
    folder = ModuleSpec(package, None, is_package=True)
    for stand_in in (None, folder):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, stand_in=stand_in: stand_in if name == package else find(name),
        )
        with pytest.raises(UserError) as error:
            compose([*OVERRIDES, f"tracker={option}"])
        text = error.value.block()
        assert f"tracker.{option} needs {package}, which is not installed" in text
        assert f"pip install 'trainer-cli[{option}]' adds it" in text
    compose([*OVERRIDES, f"tracker={option}", f"tracker.{option}=null"])


def test_a_server_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(rules, "_is_installed", lambda package: package == "mlflow")
    compose([*OVERRIDES, "tracker=mlflow", "tracker.mlflow.tracking_uri='http://localhost:5000'"])
    with pytest.raises(UserError, match="sqlalchemy"):
        compose([*OVERRIDES, "tracker=mlflow"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::mlflow")
def test_several_at_once_have_the_same_numbers(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    words = ("tracker=[tensorboard,mlflow,wandb]", "tracker.wandb.mode=offline")
    with built(run_dir, *words) as engine:
        runner.run(engine)
    rows = len(read(run_dir / FILE))
    sent = {name: one.sent for name, one in engine.trackers.items() if name != "jsonl"}  # type: ignore[attr-defined]
    assert sent == {"tensorboard": rows, "mlflow": rows, "wandb": rows}
    assert (run_dir / "tensorboard").is_dir() and (run_dir / "wandb").is_dir()
    assert (Run.read(run_dir).root / "mlruns.db").is_file()
    assert list(Path.cwd().iterdir()) == []
