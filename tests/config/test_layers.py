"""Layers: what is composed once is composed anew where a file has changed, and is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config import places
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.layers import layers
from trainer_cli.config.overrides import Request

TUNED = Request(recipes=("tuned",))


def test_what_is_changed_in_a_composition_is_not_in_the_next(project: Any) -> None:
    roots = places.roots()
    first = layers(TUNED, roots)
    first.config.optim.lr = 7.0
    first.choices["optim"] = "none"
    first.sources.clear()
    again = layers(TUNED, roots)
    assert again.config.optim.lr == 1e-4 and again.choices["optim"] == "adamw"
    assert again.sources["optim.lr"][-1].text == "recipes/tuned.yaml:9"


def test_a_file_that_has_changed_is_read_again(project: Any) -> None:
    before = compose(["+recipe=tuned"]).config["optim"]["lr"]
    recipe = Path("recipes/tuned.yaml")
    recipe.write_text(recipe.read_text().replace("lr: 1e-4", "lr: 1e-3"))
    os.utime(recipe, ns=(0, 0))
    assert (before, compose(["+recipe=tuned"]).config["optim"]["lr"]) == (1e-4, 1e-3)


def test_a_file_that_comes_or_goes_is_seen(project: Any) -> None:
    built_in = compose(["+recipe=tuned"]).config["optim"]["eps"]
    shadow = project.write("configs/optim/adamw.yaml", "_target_: torch.optim.AdamW\neps: 0.5\nlr: 1.0\n")
    assert compose(["+recipe=tuned"]).config["optim"]["eps"] == 0.5
    shadow.unlink()
    assert compose(["+recipe=tuned"]).config["optim"]["eps"] == built_in
    Path("recipes/tuned.yaml").unlink()
    with pytest.raises(UserError, match="tuned"):
        compose(["+recipe=tuned"])


def test_a_link_that_leads_nowhere_is_no_file(project: Any) -> None:
    Path("configs/optim").mkdir()
    Path("configs/optim/adamw.yaml").symlink_to("nowhere.yaml")
    assert compose(["+recipe=tuned"]).config["optim"]["lr"] == 1e-4


@pytest.mark.parametrize(
    "words", [[], ["+recipe=tuned"], ["optim=sgd", "+recipe=tuned"], ["optim=sgd"]], ids=str
)
def test_what_has_been_composed_before_changes_nothing(project: Any, words: list[str]) -> None:
    first, second = (compose([*words, "optim.lr=0.5"], strict=False) for _ in range(2))
    assert (first.config, first.choices, first.sources) == (second.config, second.choices, second.sources)


def test_places_are_named_from_the_folder_that_is_current(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path.cwd()
    assert compose(["+recipe=tuned"]).sources["optim.lr"][-1].text == "recipes/tuned.yaml:9"
    monkeypatch.setenv("TRAINER_CLI_PATH", str(here))
    monkeypatch.chdir(here.parent)
    assert compose(["+recipe=tuned"]).sources["optim.lr"][-1].text == "project/recipes/tuned.yaml:9"
