from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config import places, recipes


def inspect(project: Any, text: str) -> recipes.Recipes:
    project.write("recipes/mine.yaml", text)
    return recipes.inspect(["mine"], places.roots())


def test_a_sound_recipe_tells_what_it_chooses(project: Any) -> None:
    found = recipes.inspect(["tuned"], places.roots())
    assert found.problems == []
    assert found.choices == {"scheduler": ("cosine",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("args:\n  seed: 1\n", ["recipes/mine.yaml has no package header", "# @package _global_"]),
        ("# @package args\nseed: 1\n", ["no package header", "in place of its @package line"]),
        (
            "# @package _global_\ndefaults:\n  - override optim: sgd\n",
            ["set in: recipes/mine.yaml:3", "write: - override /optim: sgd"],
        ),
        (
            "# @package _global_\ndefaults:\n  - _self_\n  - /optim: sgd\n",
            ["set in: recipes/mine.yaml:4", "write: - override /optim: sgd"],
        ),
        (
            "# @package _global_\ndefaults:\n  - override /optim: sdg\n",
            ["no optim=sdg", "recipes/mine.yaml:3", "did you mean optim=sgd?"],
        ),
        (
            "# @package _global_\ndefaults:\n  - override /optims: sgd\n",
            ["no group optims", "recipes/mine.yaml:3", "did you mean optim?"],
        ),
        ("# @package _global_\ndefaults:\n  - tune\n", ["no recipe=tune", "did you mean recipe=tuned?"]),
        ("# @package _global_\nhydra: {run: {dir: x}}\n", ["hydra", "recipes/mine.yaml:2"]),
        ("# @package _global_\na: [1\n", ["recipes/mine.yaml:", "is not YAML"]),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_line_to_write(
    project: Any, text: str, says: list[str]
) -> None:
    problems = inspect(project, text).problems
    assert len(problems) == 1
    for part in says:
        assert part in problems[0].block()


def test_a_recipe_may_build_on_another_and_choose_anew(project: Any) -> None:
    found = inspect(
        project, "# @package _global_\ndefaults:\n  - tuned\n  - override /scheduler: linear\n  - _self_\n"
    )
    assert found.problems == []
    assert [document.path.name for document in found.documents] == ["mine.yaml", "tuned.yaml"]
    assert found.choices == {"scheduler": ("linear",)}
