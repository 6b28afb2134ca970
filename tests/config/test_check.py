from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from trainer_cli.config import overrides, places, schema
from trainer_cli.config.check import bind, check, unknown_key
from trainer_cli.config.compose import Composition, compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.sources import Sources


def report(*texts: str) -> str:
    """The report of a composition that must fail."""
    with pytest.raises(UserError) as error:
        compose(texts)
    return error.value.block()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optim.lr=-1", ["optim.lr is -1", "command line: optim.lr=-1", "a number >= 0"]),
        ("optim.lr=fast", ["optim.lr is fast", "a number >= 0"]),
        ("optim.lr=null", ["optim.lr is null"]),
        ("optim.lr=nan", ["optim.lr is nan"]),
        ("optim.betas=[0.9,1.0]", ["optim.betas is [0.9,1]", "each a number >= 0 and < 1"]),
        ("optim.betas=[0.9]", ["optim.betas is [0.9]", "a list of 2"]),
        ("optim.fused=1", ["optim.fused is 1", "true or false"]),
        ("args.max_steps=0", ["args.max_steps is 0", "-1 or a whole number >= 1"]),
        ("args.per_device_train_batch_size=0", ["is 0", "a whole number >= 1"]),
        ("args.seed=1.5", ["args.seed is 1.5", "a whole number"]),
        ("args.seed='true'", ["args.seed is the text 'true'"]),
        ("args.use_cpu='true'", ["args.use_cpu is the text 'true'", "true or false"]),
        ("args.eval_strategy=epok", ["one of no, steps, epoch", "did you mean epoch?"]),
        ("args.stages=train", ["in brackets: args.stages=[train]"]),
        ("args.stages=[train,evl]", ["args.stages is [train,evl]", "each one of train, eval, predict"]),
        ("args=1", ["there is no args=1", "there are: default"]),
        ("args.sed=1", ["there is no args.sed", "did you mean args.seed?"]),
        ("+args.sed=1", ["there is no args.sed"]),
        ("++args.sed=1", ["there is no args.sed"]),
        ("args.lr=1", ["there is no args.lr", "it lives in optim.lr"]),
        ("args.learning_rate=1", ["there is no args.learning_rate", "it lives in optim.lr"]),
        (
            "optim.learning_rate=1",
            ["torch.optim.AdamW has no parameter learning_rate", "it lives in optim.lr"],
        ),
        (
            "loss.class_weights=[1,2]",
            ["ModelLoss has no parameter class_weights", "loss=cross_entropy loss.class_weights=VALUE"],
        ),
        ("optim.momentum=0.9", ["it belongs to optim=", " or another"]),
        ("learning_rate=1", ["there is no learning_rate", "it lives in optim.lr"]),
        ("args.fp16=true", ["there is no args.fp16", "args.precision=fp16"]),
        ("optin.lr=1", ["there is no optin", "did you mean optim?"]),
        ("optimlr=1", ["there is no optimlr", "optim.lr"]),
        ("resum=latest", ["did you mean resume?"]),
        ("run.nam=x", ["did you mean run.name?"]),
        ("optim.wieght_decay=1", ["did you mean optim.weight_decay or"]),
        ("optim._targte_=x", ["did you mean optim._target_ or"]),
        ("model.width=0", ["model.width is 0", "a whole number >= 1"]),
        ("model.width=???", ["model.width must be set", "model.width=VALUE", "units of a layer"]),
        ("~model.width", ["model.width is missing", "parts.Net needs it"]),
        ("~model._target_", ["model names nothing to build: it has no _target_"]),
        ("data.order=dwon", ["data.order is dwon", "did you mean down?"]),
        ("~optim", ["optim is missing", "choose an option: optim=NAME"]),
        ("strategy.num_processes=2", ["strategy=ddp strategy.num_processes=2"]),
        ("model._target_=os.system", ["model._target_ may not name os.system", "plugins=[os]"]),
        ("model._target_=torch.load", ["model._target_ may not name torch.load"]),
        ("model._target_=parts.Nett", ["there is no Nett in parts", "did you mean parts.Net?"]),
        (
            "model._target_=nowhere.Net",
            ["is nowhere.Net: there is no module nowhere in /", "cd DIR"],
        ),
        ("model._target_=nowhere._Net", ["there is no module nowhere in /", "plugins=[nowhere]"]),
        ("callbacks.x._target_=prts.Net", ["there is no module prts in /", "did you mean parts.Net?"]),
        (
            "data.path={_target_: nowhere.Net}",
            ["data.path._target_ is nowhere.Net: there is no module"],
        ),
        ("model._target_=parts.os.system", ["goes through another module"]),
        ("data.path={_target_: torch.nn.modules.module.warnings.warn}", ["goes through another module"]),
        (
            "loss._target_=torch.utils.data.dataloader.os.system",
            ["may not name", "of trainer_cli.loss"],
        ),
        ("callbacks.x=1", ["callbacks.x", "has a _target_"]),
        ("tracker.wandb.project=x", ["tracker.wandb", "tracker=wandb, if", "tracker.wandb._target_="]),
        ("callbacks.x._target_=os.system", ["callbacks.x._target_ may not name os.system"]),
        ("plugins=os", ["plugins is os", "plugins=[os]"]),
        ("run=1", ["run is 1", "a mapping"]),
    ],
)
def test_one_mistake_makes_one_problem_that_says_what_where_and_what_is_right(
    project: Any, text: str, says: list[str]
) -> None:
    block = report(text)
    assert block.startswith("error: ")
    for part in says:
        assert part in block


def test_all_mistakes_stand_in_one_report(project: Any) -> None:
    project.write("recipes/wrong.yaml", "# @package _global_\nargs:\n  sed: 1\noptim: {lr: -1}\n")
    block = report("recipe=wrong", "optim=sdg", "x", "model.width=no", "data.oder=up", "y=1,2", "~args.zzz")
    assert block.startswith("7 errors:")
    for part in ("optim=sdg", "'x'", "model.width is no", "data.oder", "-m y=1,2", "args.zzz", "args.sed"):
        assert part in block
    assert "recipes/wrong.yaml:3" in block


def test_values_arrive_as_their_type(project: Any) -> None:
    config = compose(
        ["optim.lr='1e-3'", "args.seed=3.0", "args.num_train_epochs=2", "run.name=7", "data.rows=4.0"]
    ).config
    assert config["optim"]["lr"] == 0.001
    assert repr(config["args"]["seed"]) == "3"
    assert repr(config["args"]["num_train_epochs"]) == "2.0"
    assert config["run"]["name"] == "7"
    assert repr(config["data"]["rows"]) == "4"
    assert schema.Args(**config["args"]).seed == 3


def test_a_bare_no_in_yaml_is_the_word(project: Any) -> None:
    project.write(
        "recipes/quiet.yaml", "# @package _global_\nargs:\n  eval_strategy: no\n  save_strategy: off\n"
    )
    args = compose(["recipe=quiet"]).config["args"]
    assert (args["eval_strategy"], args["save_strategy"]) == ("no", "no")


def test_nodes_are_checked_at_any_depth(project: Any) -> None:
    inner = "path={_target_: parts.Rows, row: 1, order: dwon}"
    block = report(f"data.{inner}", "model.depth=[{_target_: os.system}]")
    for part in (
        "data.path.row: parts.Rows has no parameter row",
        "did you mean data.path.rows?",
        "data.path.order is dwon",
        "data.path.rows is missing",
        "may not name os.system",
    ):
        assert part in block


def test_partial_and_positional_arguments_are_given_in_part(project: Any) -> None:
    config = compose(["data.path={_target_: parts.Net, _partial_: true}"]).config
    assert config["data"]["path"]["_partial_"] is True
    compose(["data.path={_target_: parts.Rows, _args_: [3]}"])
    assert "data.path._partial_ is the text 'true'" in report(
        "data.path={_target_: parts.Rows, rows: 1, _partial_: 'true'}"
    )


def test_a_dict_that_replaces_a_target_leaves_its_old_keys_to_be_dropped(project: Any) -> None:
    block = report("model={_target_: parts.Rows, rows: 1}")
    assert "model.width: parts.Rows has no parameter width" in block
    assert "~model.width drops it" in block
    compose(["model={_target_: parts.Rows, rows: 1}", "~model.width"])


def test_an_unknown_option_hides_nothing_but_its_own_group(project: Any) -> None:
    block = report("optim=sdg", "optim.zzz=1", "args.sed=1")
    assert "args.sed" in block
    assert "optim.zzz" not in block


def test_a_target_that_takes_anything_takes_any_key(project: Any) -> None:
    assert compose(["data={_target_: parts.Open}", "data.zzz=1"]).config["data"]["zzz"] == 1


def test_named_parts_are_added_changed_and_removed(project: Any) -> None:
    config = compose(["callbacks.progress=null", "callbacks.mine={_target_: parts.function, a: 1}"]).config
    assert config["callbacks"] == {"progress": None, "mine": {"_target_": "parts.function", "a": 1}}
    compose(["callbacks.progress=null", "args.eval_strategy=no"])


def test_plugins_let_other_packages_in(project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project.write("../lib/extra_parts/__init__.py", "class Net:\n    def __init__(self, size: int): ...\n")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    project.write("configs/model/extra.yaml", "_target_: extra_parts.Net\nsize: 3\n")
    assert "plugins=[extra_parts]" in report("model=extra")
    assert compose(["model=extra", "plugins=[extra_parts]"]).config["model"]["size"] == 3


def test_a_name_of_an_allowed_module_that_is_defined_elsewhere_is_refused(project: Any) -> None:
    assert "it is defined in collections" in report(
        "data.path={_target_: torch.nn.modules.container.OrderedDict}"
    )
    # So is what one's own module has from elsewhere, and not what it has from where it may be named itself.
    project.write("mine.py", "from subprocess import run\nfrom torch.nn import Linear\n")
    assert "it is defined in subprocess" in report("data.path={_target_: mine.run, args: 1}")
    compose(["data.path={_target_: mine.Linear, in_features: 1, out_features: 1}"])


def test_a_module_that_does_not_parse_is_told_so_rather_than_refused(project: Any) -> None:
    project.write("broken.py", "import os\n\nclass Net(:\n    pass\n")
    block = report("model._target_=broken.Net")
    assert "model._target_ is broken.Net: broken.py:3 is not Python: invalid syntax" in block
    assert "\n  class Net(:" in block and "may not name" not in block


def test_a_plugin_that_is_nowhere_is_no_way_either(project: Any) -> None:
    block = report("model._target_=nowhere.Net", "plugins=[nowhere]")
    assert "there is no module nowhere in /" in block and "--config-dir DIR" in block


def test_what_a_folder_without_code_has_not_is_looked_for_like_a_module(project: Any) -> None:
    project.write("nets/readme.md", "")
    assert "there is no module nets.small in /" in report("model._target_=nets.small.Net")
    project.write("nets/smal.py", "class Net: ...\n")
    assert "did you mean nets.smal.Net?" in report("model._target_=nets.small.Net")


def test_a_function_where_a_class_is_needed_is_told_so(project: Any) -> None:
    block = report("metrics.f1._target_=parts.function")
    assert "parts.function names a function that needs a, and no trainer_cli.metrics.Metric" in block
    assert "metrics takes a trainer_cli.metrics.Metric" in block and "a is missing" not in block


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("data.path={_target_: transformers.AutoModel.from_pretrained, weights_only: false}", "weights_only"),
        ("data.path={_target_: torch.nn.Linear, x: {use_safetensors: false}}", "x.use_safetensors"),
        ("data.path={_target_: datasets.load_dataset, path: pandas}", "path"),
        ("data.path={_target_: datasets.load_dataset, _args_: [generator]}", "path"),
        ("data.path={_target_: datasets.load_dataset, path: ./rows.py}", "path"),
        ("data.path={_target_: datasets.load_dataset, path: {_target_: parts.function, a: 1}}", "path"),
    ],
)
def test_what_would_unpickle_is_refused(project: Any, text: str, key: str) -> None:
    assert f"data.path.{key} may not be given to " in report(text)


def test_bind_checks_what_python_reports(project: Any) -> None:
    def build(width: int, labels: Any, depth: int = 2) -> None: ...

    node = {"_target_": f"{build.__module__}.build", "widht": 3, "depth": "deep"}
    problems = bind("model", node, build, offered=("labels",), plugins=[build.__module__])
    text = "\n".join(problem.block() for problem in problems)
    for part in ("did you mean model.width?", "model.depth is deep", "model.width is missing"):
        assert part in text
    assert "labels" not in text
    assert bind("model", {"_target_": "transformers.build", "width": 1, "labels": 2}, build)[0].what.endswith(
        "may not name transformers.build"
    )


def test_an_unknown_key_by_itself() -> None:
    problem = unknown_key("optim.lrr", {"optim": {"lr": 1}}, ["lr"])
    assert (problem.what, problem.right) == ("there is no optim.lrr", "did you mean optim.lr?")


@pytest.fixture
def composed(project: Any) -> Composition:
    return compose([])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_typo_is_answered_with_the_right_name(composed: Composition, data: st.DataObject) -> None:
    keys = overrides.keys(composed.config)
    key = data.draw(st.sampled_from(keys))
    parent, _, name = key.rpartition(".")
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    typo = data.draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + letter + name[at + 1 :],
                name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :],
            ]
        )
    )
    wrong = f"{parent}.{typo}" if parent else typo
    assume(typo and wrong not in keys and not parent.startswith(("metrics", "callbacks", "tracker", "sweep")))
    node: Any = {**composed.config}
    if parent:
        section = dict(node[parent])
        section[typo] = section[name]
        node[parent] = section
    else:
        node[typo] = node[name]
    optim = {"amsgrad", "maximize", "foreach", "capturable", "differentiable"}
    assume(typo not in optim)
    _, problems = check(node, Sources(), folders=composed.folders)
    assert any(wrong in problem.what and key in problem.right for problem in problems)


@pytest.mark.slow
@pytest.mark.parametrize("group", schema.GROUPS)
def test_every_built_in_option_passes_but_for_what_must_be_set(empty: Any, group: str) -> None:
    # What some optimizers ask for beside their own option.
    beside = ["args.max_grad_norm=0", "scheduler=constant"] if group == "optim" else []
    allowed = ("must be set", "is not installed") if group == "tracker" else ("must be set",)
    for option in places.options(group, places.roots()):
        for problem in compose([f"{group}={option}", *beside], strict=False).problems:
            assert any(words in problem.what for words in allowed), (option, problem)
