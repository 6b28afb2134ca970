"""Layers: what is composed once is composed anew where a file has changed, and is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from trainer_cli.config import overrides, places
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.layers import _lines as lines
from trainer_cli.config.layers import layers
from trainer_cli.config.overrides import Request
from trainer_cli.config.schema import NAMED

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


def test_values_that_cannot_be_merged_name_their_file(project: Any) -> None:
    project.write("recipes/listed.yaml", "# @package _global_\noptim: [adamw, sgd]\n")
    with pytest.raises(UserError) as caught:
        layers(Request(recipes=("listed",)), places.roots())
    assert caught.value.block().splitlines()[:2] == [
        "error: the configuration cannot be composed",
        "  set in: recipes/listed.yaml",
    ]


def test_hydra_is_a_key_like_any_other_in_an_option(project: Any) -> None:
    project.write("configs/optim/own.yaml", "# @package _global_\nhydra: {searchpath: [elsewhere]}\n")
    problems = compose(["optim=own"], strict=False).problems
    assert "there is no hydra" in [problem.what for problem in problems]


def test_places_are_named_from_the_folder_that_is_current(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path.cwd()
    assert compose(["+recipe=tuned"]).sources["optim.lr"][-1].text == "recipes/tuned.yaml:9"
    monkeypatch.setenv("TRAINER_CLI_PATH", str(here))
    monkeypatch.chdir(here.parent)
    assert compose(["+recipe=tuned"]).sources["optim.lr"][-1].text == "project/recipes/tuned.yaml:9"


@pytest.mark.parametrize(
    "words",
    [
        ["+recipe=glue"],
        ["+recipe=lm", "optim=muon", "callbacks=[monitor,early_stopping]"],
        ["+recipe=imdb", "strategy=ddp", "tracker=[tensorboard,wandb]", "metrics=classification"],
        ["+recipe=tuned", "optim=sgd", "~loss"],
        ["+recipe=[glue,tuned]", "model=mlp"],
    ],
    ids=str,
)
def test_files_are_merged_as_hydra_merges_them(
    project: Any, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    parsed, _ = overrides.parse(words)
    request, _ = overrides.request(parsed, places.roots())
    own = layers(request, places.roots()).config

    def whole(source: places.RootSource, config_path: str) -> ConfigResult:
        path = source.root.file(config_path)
        assert path is not None
        values, header = places.read(path).values, {"package": places.read(path).package}
        return ConfigResult(source.provider, source.full_path(), OmegaConf.create(values), header)

    monkeypatch.setattr(places.RootSource, "load_config", whole)
    configs = str(places.builtin().configs)
    with places.searched(places.roots()), initialize_config_dir(configs, version_base="1.3"):
        theirs = hydra_compose("config", list(lines(request.recipes, tuple(request.choices.items()))))
    expected: Any = OmegaConf.to_container(theirs)
    named = {group: expected.get(group) or {} for group in NAMED}
    assert OmegaConf.to_container(own) == expected | named
