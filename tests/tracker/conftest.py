"""A run's directory as a tracker finds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_run import OVERRIDES

from trainer_cli.config.compose import compose, dump


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that is about to begin; the working directory is another one."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    made = tmp_path / "outputs" / "demo" / "20250101-120000-abcd"
    made.mkdir(parents=True)
    config = compose([*OVERRIDES, f"args.output_dir='{tmp_path / 'outputs'}'"]).config
    dump(config, made / "config.yaml", "run 20250101-120000-abcd")
    fields = {"id": made.name, "name": "demo", "created": "2025-01-01T12:00:00+00:00"}
    (made / "run.json").write_text(json.dumps(fields))
    return made
