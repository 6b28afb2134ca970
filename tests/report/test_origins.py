"""Where a page says that values come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.report.origins import origins
from trainer_cli.runs.select import flat

WORDS = ["+recipe=glue", "optim=sgd", "optim.lr=0.5", "++args.seed=3"]


def test_overrides_and_lines_of_recipes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = flat(compose(WORDS, strict=False).config)
    values["args.per_device_train_batch_size"] = 99  # as a run has it whose recipe was edited since
    found = origins({"overrides": WORDS, "project": [str(tmp_path)]}, values)
    assert found["optim"] == "command line: optim=sgd"
    assert found["optim.lr"] == "command line: optim.lr=0.5"
    assert found["args.seed"] == "command line: ++args.seed=3"
    assert "recipes/glue.yaml:" in found["model.pretrained"]
    assert "args.per_device_train_batch_size" not in found
    assert "args.max_steps" not in found


def test_a_recipe_that_is_gone_leaves_the_overrides() -> None:
    fields = {"overrides": ["+recipe=of_another_time", "optim.lr=0.5"]}
    assert origins(fields, {"optim.lr": 0.5}) == {"optim.lr": "command line: optim.lr=0.5"}
