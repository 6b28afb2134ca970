"""Parameter groups."""

from __future__ import annotations

import torch
from torch import nn

from trainer_cli.optim import decayed, parameter_groups


def network() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Conv1d(4, 4, 1), nn.Linear(4, 2))


def test_matrices_decay_and_nothing_else() -> None:
    module = network()
    first, second = parameter_groups(module)
    assert "weight_decay" not in first  # the optimizer's own
    assert second["weight_decay"] == 0.0
    assert [parameter.ndim for parameter in first["params"]] == [2, 3, 2]
    assert [parameter.ndim for parameter in second["params"]] == [1, 1, 1, 1]


def test_each_trainable_parameter_is_in_one_group_in_the_modules_order() -> None:
    module = network()
    module[0].requires_grad_(False)
    groups = parameter_groups(module)
    for group in groups:
        wanted = [
            parameter
            for parameter in module.parameters()
            if parameter.requires_grad and decayed(parameter) == ("weight_decay" not in group)
        ]
        assert list(map(id, group["params"])) == list(map(id, wanted))
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters() if p.requires_grad)


def test_no_group_is_empty() -> None:
    assert len(parameter_groups(nn.LayerNorm(3))) == 1
    assert len(parameter_groups(nn.Linear(3, 1, bias=False))) == 1
    assert parameter_groups(nn.ReLU()) == []


def test_tied_weights_are_one_parameter() -> None:
    embedding, head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    (group,) = parameter_groups(nn.Sequential(embedding, head))
    assert len(group["params"]) == 1


def test_an_optimizer_decays_only_the_first_group() -> None:
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.bias.fill_(1.0)
        module.weight.fill_(1.0)
    optimizer = torch.optim.AdamW(parameter_groups(module), lr=0.5, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(module.bias, torch.ones(2))
    assert torch.equal(module.weight, torch.full((2, 3), 0.75))
