from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.swaps import plain


def test_a_swap_over_tuned_values_is_a_warning_with_the_way_back(project: Any) -> None:
    (warning,) = compose(["recipe=tuned", "optim=sgd"]).warnings
    assert warning.startswith("optim=sgd keeps what the recipe tuned for optim=adamw: ")
    assert "optim.lr=0.0001 (recipes/tuned.yaml:9)" in warning
    assert warning.endswith("for the values of sgd add: optim.lr=0.01 optim.weight_decay=0")
    reset = compose(["recipe=tuned", "optim=sgd", "optim.lr=0.01", "optim.weight_decay=0"])
    assert reset.warnings == []
    assert (reset.config["optim"]["lr"], reset.config["optim"]["weight_decay"]) == (0.01, 0.0)


@pytest.mark.parametrize(
    "overrides",
    [["optim=sgd"], ["recipe=tuned"], ["recipe=tuned", "optim=adamw"], ["recipe=tuned", "scheduler=linear"]],
)
def test_no_swap_no_warning(project: Any, overrides: list[str]) -> None:
    assert compose(overrides).warnings == []


def test_what_the_new_option_does_not_have_is_a_problem_that_tells_of_the_swap(project: Any) -> None:
    project.write("recipes/tuned.yaml", "# @package _global_\noptim:\n  betas: [0.8, 0.9]\n  lr: 1\n")
    with pytest.raises(UserError) as error:
        compose(["recipe=tuned", "optim=sgd"])
    block = error.value.block()
    assert "optim.betas: torch.optim.SGD has no parameter betas" in block
    assert "recipes/tuned.yaml:3" in block
    assert "the recipe sets it for optim=adamw, not for sgd; ~optim.betas drops it" in block
    assert len(compose(["recipe=tuned", "optim=sgd", "~optim.betas"]).warnings) == 1


def test_a_valid_key_that_the_new_option_leaves_alone_is_reset_by_removing_it(project: Any) -> None:
    project.write("recipes/tuned.yaml", "# @package _global_\noptim:\n  maximize: true\n")
    (warning,) = compose(["recipe=tuned", "optim=sgd"]).warnings
    assert warning.endswith("add: ~optim.maximize")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (5e-05, "5e-05"),
        (0.123456789, "0.123456789"),
        ([1, 0.9], "[1,0.9]"),
        ({"a": "b"}, "{a:b}"),
    ],
)
def test_a_value_reads_as_on_the_command_line(value: Any, text: str) -> None:
    assert plain(value) == text
