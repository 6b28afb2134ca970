"""What the configuration says of an optimizer's parameter groups, whatever the optimizer."""

from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.instantiate import check_targets, instantiate
from trainer_cli.config.show import show


def report(*texts: str) -> str:
    with pytest.raises(UserError) as error:
        compose(texts)
    return error.value.block()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optim.layerwise_lr_decay=0", ["is 0", "a number > 0 and <= 1 or null"]),
        ("optim.layerwise_lr_decay=1.5", ["is 1.5"]),
        ("optim.layerwise_lr_deca=0.9", ["did you mean optim.layerwise_lr_decay?"]),
        ("optim.group=[]", ["did you mean optim.groups?"]),
        ("optim.groups=3", ["optim.groups is 3", "a list, each a mapping"]),
        ("optim.groups=[3]", ["optim.groups is [3]"]),
        ("optim.groups=[{lr: 1}]", ["optim.groups.0.modules is missing", "regular expression"]),
        ("optim.groups=[{modules: 'a('}]", ["optim.groups.0.modules: a( is no regular expression"]),
        ("optim.groups=[{modules: [a, 'b[']}]", ["b[ is no regular expression"]),
        ("optim.groups=[{modules: {a: 1}}]", ["optim.groups.0.modules is", "text or a list, each text"]),
        ("optim.groups=[{modules: a},{modules: b, lr: -1}]", ["optim.groups.1.lr is -1", "a number >= 0"]),
        ("optim.groups=[{modules: a, lr: fast}]", ["optim.groups.0.lr is fast"]),
        ("optim.groups=[{modules: a, betas: [1]}]", ["optim.groups.0.betas is [1]", "a list of 2"]),
        ("optim.groups=[{modules: a, wieght_decay: 1}]", ["did you mean optim.groups.0.weight_decay?"]),
        ("optim.groups=[{modules: a, momentum: 1}]", ["torch.optim.AdamW has no parameter momentum"]),
        ("optim.groups=[{modules: a, params: 1}]", ["torch.optim.AdamW has no parameter params"]),
        ("optim.groups=[{module: a}]", ["did you mean optim.groups.0.modules?"]),
        ("model.groups=[]", ["parts.Net has no parameter groups"]),
    ],
)
def test_a_mistake_says_what_where_and_what_is_right(project: Any, text: str, says: list[str]) -> None:
    block = report(text)
    for part in [*says, f"command line: {text}"]:
        assert part in block


def test_a_mistake_in_a_file_names_its_line(project: Any) -> None:
    project.write(
        "configs/optim/mine.yaml", "_target_: torch.optim.SGD\ngroups:\n  - modules: a\n    lrr: 1\n"
    )
    block = report("optim=mine")
    assert "optim.groups.0.lrr: torch.optim.SGD has no parameter lrr" in block
    assert "configs/optim/mine.yaml:2" in block


@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_values_arrive_as_their_type_whatever_the_optimizer(project: Any, optim: str) -> None:
    project.write(
        "recipes/grouped.yaml",
        f"""
        # trainer-cli +recipe=grouped
        # With groups.
        # @package _global_
        defaults:
          - override /optim: {optim}
          - _self_
        optim:
          layerwise_lr_decay: 1
          groups:
            - modules: embeddings
              lr: 0
            - {{modules: [norm, 1], lr: 1e-3, weight_decay: "0.1"}}
        """,
    )
    config = compose(["recipe=grouped"]).config["optim"]
    assert repr(config["layerwise_lr_decay"]) == "1.0"
    assert config["groups"] == [
        {"modules": "embeddings", "lr": 0.0},
        {"modules": ["norm", "1"], "lr": 0.001, "weight_decay": 0.1},
    ]


def test_a_target_that_takes_anything_has_groups_that_do(project: Any) -> None:
    project.write("configs/optim/open.yaml", "_target_: parts.Open\n")
    groups = "optim.groups=[{modules: a, whatever: 1}]"
    assert compose(["optim=open", groups]).config["optim"]["groups"][0]["whatever"] == 1
    assert "modules is missing" in report("optim=open", "optim.groups=[{whatever: 1}]")


def test_the_target_is_given_none_of_it(project: Any) -> None:
    config = compose(["optim.layerwise_lr_decay=0.9", "optim.groups=[{modules: a, lr: 1}]"]).config
    check_targets({"optim": config["optim"], "plugins": []}, [])
    import torch

    (group,) = instantiate("optim", config["optim"], params=[torch.nn.Parameter(torch.zeros(1))]).param_groups
    assert not group.keys() & {"groups", "layerwise_lr_decay", "modules"}


@pytest.mark.parametrize("key", ["optim.groups", "optim.layerwise_lr_decay"])
def test_they_are_shown(project: Any, key: str) -> None:
    shown = show(key, compose([]))
    assert shown.value is None
    assert "null" in shown.type
    assert shown.meaning
    assert show(key, compose([f"{key}=null"])).sources[0].text == f"command line: {key}=null"
    with pytest.raises(UserError) as error:
        show(f"{key}x", compose([]))
    assert f"did you mean {key}?" in error.value.block()
