from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config.compose import Composition, compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.show import options, show


@pytest.fixture
def composed(project: Any) -> Composition:
    return compose(["recipe=tuned", "optim.lr=3e-5"])


@pytest.mark.parametrize(
    ("key", "value", "type_", "meaning"),
    [
        ("args.seed", 7, "a whole number >= 0", "seed of the weights"),
        ("optim.lr", 3e-5, "a number >= 0", "peak learning rate"),
        ("optim.betas", [0.9, 0.999], "a list of 2", "running means"),
        ("optim.amsgrad", None, "true or false; False where it is not set", "AMSGrad"),
        ("model.width", 4, "a whole number >= 1", "units of a layer"),
        ("model.depth", None, "a whole number; 2 where it is not set", "how many layers there are"),
        ("model._target_", "parts.Net", "the dotted name of what is built", "A net of its own."),
        ("resume", None, "text or null", "where to go on"),
        ("run.name", None, "text or null", "folder of the run"),
    ],
)
def test_a_key_is_shown_with_type_and_meaning(
    composed: Composition, key: str, value: Any, type_: str, meaning: str
) -> None:
    shown = show(key, composed)
    assert (shown.key, shown.value) == (key, value)
    assert type_ in shown.type
    assert meaning in shown.meaning


def test_the_places_of_a_key_include_the_losers(composed: Composition) -> None:
    places = [(source.text, source.value) for source in show("optim.lr", composed).sources]
    assert places == [
        ("built-in configs/optim/adamw.yaml:3", 5e-5),
        ("recipes/tuned.yaml:9", 1e-4),
        ("command line: optim.lr=3e-5", 3e-5),
    ]


def test_a_group_is_shown_with_its_option(composed: Composition) -> None:
    shown = show("optim", composed)
    assert shown.type == "a group: optim=adamw"
    assert shown.meaning == "AdamW: Adam with decoupled weight decay."
    assert shown.value["lr"] == 3e-5


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("args.sed", "did you mean args.seed?"),
        ("args.learning_rate", "it lives in optim.lr"),
        ("optin.lr", "did you mean optim?"),
        ("model.widht", "did you mean model.width?"),
        ("callbacks.progres", "did you mean callbacks.progress?"),
    ],
)
def test_a_key_that_is_not_there_is_put_right(composed: Composition, key: str, right: str) -> None:
    with pytest.raises(UserError) as error:
        show(key, composed)
    assert right in error.value.block()


def test_options_tell_what_and_where_they_are_and_what_they_shadow(project: Any) -> None:
    project.write("configs/optim/adamw.yaml", "# Mine.\n_target_: torch.optim.AdamW\n")
    project.write("configs/optim/bad.yaml", "a: [1\nb: 2\n")
    found = {option.name: option for option in options("optim")}
    assert found["adamw"].description == "Mine."
    assert found["adamw"].path == "configs/optim/adamw.yaml"
    assert found["adamw"].shadows == ("built-in configs/optim/adamw.yaml",)
    assert found["sgd"].path == "built-in configs/optim/sgd.yaml"
    assert "is not YAML" in found["bad"].description


def test_a_recipe_is_described_by_its_second_line(project: Any) -> None:
    (tuned,) = [option for option in options("recipes") if option.name == "tuned"]
    assert (tuned.group, tuned.description) == ("recipe", "Tuned for AdamW.")
    assert tuned in options()
    with pytest.raises(UserError, match="no group optin") as error:
        options("optin")
    assert "did you mean optim?" in error.value.block()


def test_every_built_in_option_has_a_description(empty: Any) -> None:
    assert [f"{option.group}={option.name}" for option in options() if not option.description] == []
