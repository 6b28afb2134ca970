"""The options of `optim`, read from the sources of the packages that they name, without an import."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from typing import Any

import pytest
import yaml

from trainer_cli.config import places
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.signatures import Resolver
from trainer_cli.config.targets import closed

RESOLVER = Resolver()
NAMES = sorted(places.options("optim", (places.builtin(),)))
BESIDE = ("args.max_grad_norm=0", "scheduler=constant")
PACKAGES = {
    "schedulefree": ("schedule_free_sgd", "optim"),
    "bitsandbytes": ("paged_adamw_32bit", "optim"),
    "optimi": ("stable_adamw", "optim"),
    "pytorch_optimizer": ("prodigy", "optim"),
    "torchao": ("adamw_torchao_8bit", "ao"),
}


def test_there_are_the_optimizers_of_the_hugging_face_trainer() -> None:
    assert {"adafactor", "adalomo", "apollo_adamw", "galore_adamw", "grokadamw", "lomo", "muon"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_key_and_no_other_is_known_without_an_import(name: str) -> None:
    node = yaml.safe_load((places.builtin().configs / "optim" / f"{name}.yaml").read_text())
    loaded = sys.modules.keys() & PACKAGES.keys()
    signature = RESOLVER.signature(node["_target_"])
    assert signature is not None
    signature = closed(signature, node["_target_"])
    assert not signature.accepts_any
    assert all(signature.parameter(key) for key in node if key != "_target_")
    assert signature.parameter("weight_decay") and not signature.parameter("wieght_decay")
    assert sys.modules.keys() & PACKAGES.keys() == loaded


@pytest.mark.parametrize("name", ["prodigy", "schedule_free_sgd", "paged_adamw_32bit", "muon"])
def test_a_misspelt_key_is_caught(project: Any, name: str) -> None:
    with pytest.raises(UserError) as error:
        compose([f"optim={name}", *BESIDE, "optim.wieght_decay=0.1", "optim.lr=-1"])
    assert "did you mean optim.weight_decay" in error.value.block()
    assert "optim.lr is -1" in error.value.block()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_missing_is_named_with_its_extra(
    project: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for finder in (PathFinder, importlib.util):
        find: Any = finder.find_spec  # type: ignore[attr-defined]
        monkeypatch.setattr(
            finder, "find_spec", lambda name, *rest, find=find: None if name == package else find(name, *rest)
        )
    option, extra = PACKAGES[package]
    with pytest.raises(UserError) as error:
        compose([f"optim={option}", *BESIDE])
    (problem,) = error.value.problems
    assert f"there is no module {package}" in problem.what
    assert problem.right == f"pip install 'trainer-cli[{extra}]' adds it"


@pytest.mark.parametrize(
    "override",
    [
        "optim.rank=0",
        "optim.update_proj_gap=0",
        "optim.proj_type=middle",
        "optim.layerwise=1",
        "optim.scale=0",
    ],
)
def test_values_of_own_optimizers_are_checked(project: Any, override: str) -> None:
    with pytest.raises(UserError, match="optim"):
        compose(["optim=galore_adamw", override])


def test_several_numbers_under_the_name_of_one_are_what_the_signature_says(project: Any) -> None:
    assert compose(["optim=adafactor"]).config["optim"]["eps"] == [1e-30, 1e-3]
