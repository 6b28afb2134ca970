"""What all trackers share."""

from __future__ import annotations

import math

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.tracker.base import Once, finite, installed, numbers

ROW = {"step": 3, "epoch": 0.5, "a": 1, "b": math.nan, "c": "text", "d": True, "e": math.inf, "f": None}


def test_only_numbers_are_sent() -> None:
    assert numbers(ROW).keys() == {"epoch", "a", "b", "e"}
    assert finite(ROW) == {"epoch": 0.5, "a": 1}


def test_a_number_goes_through_once_a_step() -> None:
    once = Once({("train/loss", 4)})
    assert once.new({"step": 4, "epoch": 0.4, "train/loss": 1.0}) == {"epoch": 0.4}
    assert once.new({"step": 4, "epoch": 0.4, "eval/loss": 2.0}) == {"eval/loss": 2.0}
    assert once.new({"step": 5, "epoch": 0.5, "train/loss": 1.0}) == {"epoch": 0.5, "train/loss": 1.0}


def test_a_package_that_is_missing_is_named_with_what_adds_it() -> None:
    with pytest.raises(UserError) as error:
        installed("no_such_package.part", "wandb")
    assert "no_such_package is not installed" in error.value.block()
    assert "pip install 'trainer-cli[wandb]' adds it" in error.value.block()
