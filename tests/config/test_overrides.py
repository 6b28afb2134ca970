from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from trainer_cli.config import overrides, places
from trainer_cli.config.errors import UserError


def read(*texts: str) -> tuple[overrides.Request, list[str]]:
    parsed, problems = overrides.parse(texts)
    request, refused = overrides.request(parsed, places.roots())
    return request, [problem.block() for problem in [*problems, *refused]]


def applied(config: dict[str, Any], *texts: str) -> tuple[Any, list[str]]:
    node = OmegaConf.create(config)
    parsed, _ = overrides.parse(texts)
    problems = overrides.apply(node, parsed)
    return OmegaConf.to_container(node), [problem.block() for problem in problems]


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_recipes_and_options_need_no_plus_and_may_have_one(project: Any, prefix: str) -> None:
    request, problems = read(f"{prefix}recipe=tuned", f"{prefix}optim=sgd", f"{prefix}args.seed=1")
    assert problems == []
    assert (request.recipes, request.choices) == (("tuned",), {"optim": ("sgd",)})
    assert [value.key_or_group for value in request.values] == ["args.seed"]


def test_several_recipes_and_several_options_of_a_group(project: Any) -> None:
    project.write("recipes/more.yaml", "# @package _global_\n")
    request, problems = read("recipe=[tuned,more]", "callbacks=[default,early_stopping]", "tracker=null")
    assert problems == []
    assert request.recipes == ("tuned", "more")
    assert request.choices == {"callbacks": ("default", "early_stopping"), "tracker": ()}


def test_the_last_option_wins_and_two_recipes_are_refused(project: Any) -> None:
    request, problems = read("optim=sgd", "optim=adamw")
    assert request.choices == {"optim": ("adamw",)}
    assert problems == []
    _, problems = read("recipe=tuned", "recipe=glue")
    assert problems == ["recipe is given twice\n  to combine them: recipe=[tuned,glue]"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optim.lr", ["'optim.lr'", "write optim.lr=VALUE"]),
        ("optim.lr=[1", ["'optim.lr=[1'", "a bracket is not closed: optim.lr=[1]"]),
        ("optim.lr=1,2", ["several values: 1,2", "-m optim.lr=1,2", "optim.lr=[1,2]"]),
        ("optim.lr=range(1,3)", ["-m optim.lr=range(1,3)"]),
        ("optim=adamv", ["no optim=adamv", "did you mean optim=adamw or", "trainer-cli list optim"]),
        ("recipe=tunde", ["no recipe=tunde", "recipe=tuned"]),
        ("hydra.run.dir=x", ["hydra.run.dir", "args.output_dir"]),
        ("optim@other=sgd", ["optim@other=sgd", "@"]),
        ("optin/x=sgd", ["no group optin/x", "did you mean optim?"]),
        ("model=null", ["no model=null", "there are: "]),
    ],
)
def test_an_override_that_cannot_be_is_quoted_and_put_right(project: Any, text: str, says: list[str]) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    for part in says:
        assert part in problems[0]


def test_values_are_set_removed_and_added() -> None:
    config = {"a": {"b": 1, "c": 2}, "n": None, "m": "???"}
    result, problems = applied(config, "a.b=3", "~a.c", "+a.d={e: 1}", "++n.x=[1,2]", "s='t u'", "m.y=1")
    assert problems == []
    assert result == {"a": {"b": 3, "d": {"e": 1}}, "n": {"x": [1, 2]}, "s": "t u", "m": {"y": 1}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.b.c=1", "a.b is a value"),
        ("~a.x", "did you mean ~a.b?"),
        ("~a.b=2", "a.b is 1, not 2"),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem_and_changes_nothing(text: str, says: str) -> None:
    result, problems = applied({"a": {"b": 1}}, text)
    assert says in problems[0]
    assert f"command line: {text}" in problems[0]
    assert result == {"a": {"b": 1}}


def test_a_sweep_is_the_product_of_its_axes_the_last_one_fastest(project: Any) -> None:
    parsed, _ = overrides.parse(
        ["+recipe=tuned", "strategy=glob(*)", "args.seed=range(1,3)", "optim.lr=1e-5,3e-5"]
    )
    jobs = overrides.expand(parsed, places.roots())
    assert len(jobs) == 8
    assert jobs[0] == ["+recipe=tuned", "strategy=ddp", "args.seed=1", "optim.lr=1e-05"]
    assert jobs[1] == ["+recipe=tuned", "strategy=ddp", "args.seed=1", "optim.lr=3e-05"]
    assert jobs[-1] == ["+recipe=tuned", "strategy=single", "args.seed=2", "optim.lr=3e-05"]


@pytest.mark.parametrize("text", ["optim.lr=interval(0,1)", "optim=glob(x*)"])
def test_an_axis_without_values_is_an_error(project: Any, text: str) -> None:
    parsed, _ = overrides.parse([text])
    with pytest.raises(UserError, match=r"cannot be swept|has no values"):
        overrides.expand(parsed, places.roots())


def test_all_keys_of_a_configuration_are_listed() -> None:
    config = {"a": {"b": "???", "c": {"d": 1}}}
    assert overrides.keys(config) == overrides.keys(OmegaConf.create(config)) == ["a", "a.b", "a.c", "a.c.d"]


def test_zipped_axes_go_in_step_and_the_rest_is_a_product(project: Any) -> None:
    parsed, _ = overrides.parse(["optim.lr=1,2", "args.seed=5,6", "optim.weight_decay=0.1,0.2"])
    jobs = overrides.expand(parsed, places.roots(), [["optim.weight_decay", "optim.lr"]])
    assert jobs == [
        ["optim.lr=1", "args.seed=5", "optim.weight_decay=0.1"],
        ["optim.lr=1", "args.seed=6", "optim.weight_decay=0.1"],
        ["optim.lr=2", "args.seed=5", "optim.weight_decay=0.2"],
        ["optim.lr=2", "args.seed=6", "optim.weight_decay=0.2"],
    ]


@pytest.mark.parametrize(
    ("group", "says"),
    [
        (["optim.lr", "optim.weight_decai"], "not swept over"),
        (["optim.lr", "args.seed"], "not have as many values: optim.lr 2, args.seed 3"),
        (["optim.lr", "args.max_steps"], "not swept over"),
    ],
)
def test_axes_that_cannot_go_in_step(project: Any, group: list[str], says: str) -> None:
    words = ["optim.lr=1,2", "args.seed=1,2,3", "optim.weight_decay=0.1,0.2", "args.max_steps=3"]
    parsed, _ = overrides.parse(words)
    with pytest.raises(UserError, match=says):
        overrides.expand(parsed, places.roots(), [group])
