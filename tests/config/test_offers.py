"""What a name stands for, beside how it is spelled."""

from __future__ import annotations

import functools
import os
import types
from typing import Any

import pytest
import torch
from torch import nn

import trainer_cli.metrics
from trainer_cli.config import offers, schema
from trainer_cli.config.offers import NESTED, PARTS, Offer, bare, described, fits, full_name, group_of

Net = type("Net", (nn.Module,), {})


class Rows:
    def load(self, splits: Any) -> None: ...


def function() -> None: ...


def test_every_group_that_builds_has_its_part() -> None:
    assert set(PARTS) == {*schema.NODES, *schema.NAMED}


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("model", "model"),
        ("metrics.f1", "metrics"),
        ("model.backbone", ""),
        ("metrics.f1.inner", ""),
        ("metrics", ""),
        ("args.seed", ""),
        ("", ""),
    ],
)
def test_a_node_is_a_part_of_its_group_or_within_an_argument(key: str, group: str) -> None:
    assert group_of(key) == group


@pytest.mark.parametrize(
    ("pattern", "target", "matches"),
    [
        ("torch.nn.**", "torch.nn.Linear", True),
        ("torch.nn.**", "torch.nn.modules.linear.Linear", True),
        ("torch.nn.**", "torch.nn", False),
        ("torch.nn.**", "torch.nnx.Linear", False),
        ("torch.nn.**", "torch.nn.modules._private.Linear", False),
        ("transformers.*", "transformers.BertModel", True),
        ("transformers.*", "transformers.models.BertModel", False),
        ("transformers.AutoModel*.from_pretrained", "transformers.AutoModelForCTC.from_pretrained", True),
        ("transformers.AutoModel*.from_pretrained", "transformers.AutoModel.x.from_pretrained", False),
        ("torch.device", "torch.devices", False),
        ("torch.device", "torchxdevice", False),
    ],
)
def test_a_pattern_matches_public_names(pattern: str, target: str, matches: bool) -> None:
    assert Offer(pattern).matches(target) is matches


@pytest.mark.parametrize(
    ("target", "made"),
    [
        ("torch.nn.Linear", nn.Linear),
        ("torch.nn.functional.gelu", nn.functional.gelu),
        ("torch.nn.functional.relu", nn.functional.relu),
        ("torch.nn.functional.prelu", nn.functional.prelu),
        ("torch.device", torch.device),
        ("torch.tensor", torch.tensor),
        ("torch.utils.data.TensorDataset", torch.utils.data.TensorDataset),
        ("torch.optim.SGD", torch.optim.SGD),
        ("pytorch_optimizer.AdamW", torch.optim.AdamW),
        ("trainer_cli.metrics.F1", trainer_cli.metrics.F1),
    ],
)
def test_what_is_offered(target: str, made: Any) -> None:
    assert offers.is_offered(target, made, NESTED)


@pytest.mark.parametrize(
    ("target", "made"),
    [
        ("torch.nn.os", os),
        ("torch.nn.system", os.system),
        # A class of the base that another package, or another part of this one, has.
        ("torch.nn.Net", Net),
        ("torch.nn.GraphModule", torch.fx.GraphModule),
        ("torch.nn.functional.handle_torch_function", nn.functional.handle_torch_function),
        ("torch.nn.functional.warnings", nn.functional.warnings),
        ("torch.nn.functional.function", function),
        ("torch.nn.Module.requires_grad_", nn.Module.requires_grad_),
        ("torch.optim.Linear", nn.Linear),
        ("trainer_cli.optim.function", function),
        ("trainer_cli.metrics.Net", Net),
        ("os.system", os.system),
    ],
)
def test_what_is_not_offered_whatever_it_is_called(target: str, made: Any) -> None:
    assert not offers.is_offered(target, made, NESTED)


def test_a_class_fits_its_group_and_of_a_function_the_result_will_show() -> None:
    assert fits(Net, "model") and fits(function, "model") and fits(Rows, "data")
    assert not fits(torch.optim.SGD, "model") and not fits(Net(), "model") and not fits(Net(), "data")
    assert not fits(types, "model")


def test_what_a_name_stands_for_in_words() -> None:
    assert full_name(nn.Linear) == "torch.nn.modules.linear.Linear"
    assert full_name(os.system) == "posix.system"
    assert (
        full_name(torch.nn.Embedding.from_pretrained) == "torch.nn.modules.sparse.Embedding.from_pretrained"
    )
    assert full_name(nn.Linear(1, 1)) == "torch.nn.modules.linear.Linear"
    assert [described(made) for made in (Net, function, os)] == ["a class", "a function", "a module"]
    assert described(nn.Identity()) == "an object of torch.nn.modules.linear.Identity"
    assert bare(functools.partial(functools.partial(function, 1), 2)) is function
