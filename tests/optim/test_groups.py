"""Parameter groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from trainer_cli.config.errors import UserError
from trainer_cli.optim import check_hyperparameters, parameter_groups

LR = {"lr": 0.5}


def network() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Conv1d(4, 4, 1), nn.Linear(4, 2))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)


class Classifier(nn.Module):
    """Embeddings, three layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(5, 3)
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.classifier = nn.Linear(3, 2)


def named(module: nn.Module, config: Mapping[str, Any]) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """The names of each group's parameters and what it sets, by its name; all have one name and one group."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = parameter_groups(module, config)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(part) for part in module.parameters() if part.requires_grad)
    assert len({group["name"] for group in groups}) == len(groups)
    return {
        group["name"]: (
            [names[id(parameter)] for parameter in group["params"]],
            {key: value for key, value in group.items() if key not in ("name", "params")},
        )
        for group in groups
    }


def test_matrices_decay_and_nothing_else() -> None:
    assert named(network(), LR) == {
        "decay": (["0.weight", "2.weight", "3.weight"], {}),  # the optimizer's own
        "no_decay": (["1.weight", "1.bias", "2.bias", "3.bias"], {"weight_decay": 0.0}),
    }


@pytest.mark.parametrize(
    ("module", "decaying"),
    [
        (nn.LayerNorm((2, 3)), []),
        (nn.BatchNorm2d(3), []),
        (nn.GroupNorm(1, 3), []),
        (nn.MultiheadAttention(4, 2, add_bias_kv=True), ["in_proj_weight", "out_proj.weight"]),
        (nn.LSTM(2, 3), ["weight_ih_l0", "weight_hh_l0"]),
    ],
)
def test_norms_and_biases_never_decay(module: nn.Module, decaying: list[str]) -> None:
    assert named(module, LR).get("decay", ([], {}))[0] == decaying


def test_what_is_frozen_is_in_no_group() -> None:
    module = network()
    module[0].requires_grad_(False)
    assert named(module, LR)["decay"][0] == ["2.weight", "3.weight"]


def test_no_group_is_empty() -> None:
    assert len(parameter_groups(nn.LayerNorm(3), LR)) == 1
    assert len(parameter_groups(nn.Linear(3, 1, bias=False), LR)) == 1
    assert parameter_groups(nn.ReLU(), LR) == []


def test_tied_weights_are_one_parameter() -> None:
    embedding, head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    (group,) = parameter_groups(nn.Sequential(embedding, head), LR)
    assert len(group["params"]) == 1


def test_an_optimizer_decays_only_what_decays() -> None:
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.bias.fill_(1.0)
        module.weight.fill_(1.0)
    optimizer = torch.optim.AdamW(parameter_groups(module, LR), lr=0.5, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(module.bias, torch.ones(2))
    assert torch.equal(module.weight, torch.full((2, 3), 0.75))


def test_the_rate_falls_from_the_head_down() -> None:
    found = named(Classifier(), {"lr": 1.0, "layerwise_lr_decay": 0.5})
    assert [(name, values.get("lr")) for name, (_, values) in found.items()] == [
        ("head.decay", None),
        ("head.no_decay", None),
        ("layer_2.decay", 0.5),
        ("layer_2.no_decay", 0.5),
        ("layer_1.decay", 0.25),
        ("layer_1.no_decay", 0.25),
        ("layer_0.decay", 0.125),
        ("layer_0.no_decay", 0.125),
        ("embeddings.decay", 0.0625),
    ]
    assert found["layer_1.no_decay"][0] == [
        "layers.1.linear.bias",
        "layers.1.norm.weight",
        "layers.1.norm.bias",
    ]


def test_the_highest_layer_that_is_trained_has_the_rate_itself() -> None:
    module = Classifier()
    module.classifier.requires_grad_(False)
    found = named(module, {"lr": 1.0, "layerwise_lr_decay": 0.5})
    assert [values.get("lr") for name, (_, values) in found.items() if name.endswith(".decay")] == [
        None,
        0.5,
        0.25,
        0.125,
    ]


def test_the_groups_are_the_same_whatever_the_values() -> None:
    def order(config: Mapping[str, Any]) -> list[list[str]]:
        return [names for names, _ in named(module, config).values()]

    module = Classifier()
    assert order({"lr": 1.0, "weight_decay": 0.0}) == order({"lr": 0.0, "weight_decay": 0.1})
    layers = [order({"lr": lr, "layerwise_lr_decay": factor}) for lr, factor in ((1.0, 0.5), (0.0, 1.0))]
    assert layers[0] == layers[1]
    entries = [
        order({"lr": 1.0, "groups": [{"modules": "classifier", "lr": lr, "weight_decay": decay}]})
        for lr, decay in ((1.0, 0.0), (0.0, 0.5), (3.0, 0.0))
    ]
    assert entries[0] == entries[1] == entries[2]


def test_the_first_entry_that_matches_counts() -> None:
    config = {
        "lr": 1.0,
        "groups": [
            {"modules": r"layers\.2", "lr": 0.0},
            {"modules": ["classifier", "layers"], "weight_decay": 0.3, "betas": [0.5, 0.5]},
        ],
    }
    found = named(Classifier(), config)
    assert list(found) == [
        "decay",
        r"layers\.2.decay",
        r"layers\.2.no_decay",
        "classifier|layers.decay",
        "classifier|layers.no_decay",
    ]
    assert found["decay"] == (["embeddings.weight"], {})
    assert found[r"layers\.2.decay"] == (["layers.2.linear.weight"], {"lr": 0.0})
    assert found[r"layers\.2.no_decay"][1] == {"lr": 0.0, "weight_decay": 0.0}
    assert found["classifier|layers.decay"][1] == {"weight_decay": 0.3, "betas": [0.5, 0.5]}
    assert found["classifier|layers.no_decay"][1] == {"weight_decay": 0.0, "betas": [0.5, 0.5]}


def test_an_entry_keeps_the_rate_of_each_layer_unless_it_has_its_own() -> None:
    groups = [{"modules": "norm", "eps": 1e-3}, {"modules": "classifier", "lr": 7.0}]
    found = named(Classifier(), {"lr": 1.0, "layerwise_lr_decay": 0.5, "groups": groups})
    rates = {name: values.get("lr") for name, (_, values) in found.items()}
    assert rates["norm.layer_2.no_decay"] == 0.5
    assert rates["norm.layer_0.no_decay"] == 0.125
    assert rates["classifier.decay"] == rates["classifier.no_decay"] == 7.0


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([{"modules": "clasifier"}], ["clasifier is in no parameter's name", "did you mean classifier?"]),
        ([{"modules": ["classifier", r"layer\.7"]}], [r"layer\.7 is in no", "layers"]),
        ([{"modules": "zzzz"}], ["at the top the model has embeddings, layers, classifier"]),
        ([{"modules": "layers"}, {"modules": "norm"}], ["optim.groups.1", "in a group before it"]),
        ([{"modules": "embeddings"}], ["optim.groups.0", "frozen"]),
        ([{"modules": "bias", "weight_decay": 0.1}], ["optim.groups.0.weight_decay", "never decay"]),
    ],
)
def test_an_entry_for_nothing_is_refused(groups: list[dict[str, Any]], says: list[str]) -> None:
    module = Classifier()
    module.embeddings.requires_grad_(False)
    with pytest.raises(UserError) as error:
        parameter_groups(module, {"lr": 1.0, "groups": groups})
    for part in says:
        assert part in error.value.block()


def test_the_name_of_a_tied_parameter_that_does_not_count_is_refused() -> None:
    module = Classifier()
    module.output = nn.Linear(3, 5, bias=False)
    module.output.weight = module.embeddings.weight
    with pytest.raises(UserError) as error:
        parameter_groups(module, {"lr": 1.0, "groups": [{"modules": "output"}]})
    assert "tied" in error.value.block()


@pytest.mark.parametrize("config", [{"layerwise_lr_decay": 0.5}, {"layerwise_lr_decay": 0.5, "lr": None}])
def test_layers_need_a_rate_to_fall_from(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="needs a learning rate"):
        parameter_groups(Classifier(), config)


def test_a_model_without_layers_has_none_to_count() -> None:
    with pytest.raises(UserError, match="Sequential has no list of equal layers"):
        parameter_groups(network(), {"lr": 1.0, "layerwise_lr_decay": 0.5})


def test_what_an_optimizer_has_once_is_no_groups_own() -> None:
    class Sized(torch.optim.SGD):
        def __init__(self, params: Any, lr: float, size: int) -> None:
            super().__init__(params, lr)
            self.size = size

    config = {"groups": [{"modules": "classifier", "lr": 1.0, "size": 3}]}
    optimizer = Sized(parameter_groups(Classifier(), config), lr=0.1, size=2)
    with pytest.raises(UserError, match=r"optim.groups.0.size: Sized has one size for all"):
        check_hyperparameters(optimizer, config)
    check_hyperparameters(optimizer, {"groups": [{"modules": "classifier", "lr": 1.0, "momentum": 0.5}]})
    check_hyperparameters(optimizer, {})
