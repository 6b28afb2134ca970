from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer_cli.config.compose import (
    Composition,
    apply,
    axes,
    choices,
    compose,
    dump,
    load,
    without,
)
from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import ORDER


def test_files_recipe_and_command_line_come_in_this_order(project: Any) -> None:
    composition = compose(["recipe=tuned", "optim.lr=3e-5"])
    assert list(composition.config) == list(ORDER)
    assert composition.config["optim"]["lr"] == 3e-5
    assert composition.config["optim"]["weight_decay"] == 0.1
    assert composition.config["args"]["seed"] == 7
    assert composition.config["model"] == {"_target_": "parts.Net", "width": 4}
    assert composition.choices["recipe"] == "tuned"
    assert (composition.choices["optim"], composition.choices["scheduler"]) == ("adamw", "cosine")
    assert [source.text for source in composition.sources["optim.lr"]] == [
        "built-in configs/optim/adamw.yaml:3",
        "recipes/tuned.yaml:9",
        "command line: optim.lr=3e-5",
    ]
    assert composition.folders == (project.folder,)
    assert composition.warnings == []


def test_the_later_recipe_wins(project: Any) -> None:
    project.write(
        "recipes/late.yaml",
        "# @package _global_\ndefaults:\n  - override /scheduler: linear\nargs: {seed: 8}\n",
    )
    both = compose(["recipe=[tuned,late]"])
    assert both.config["args"]["seed"] == 8
    assert both.config["optim"]["lr"] == 1e-4
    assert both.choices["scheduler"] == "linear"
    assert both.config["scheduler"]["_target_"].endswith("linear")
    assert compose(["recipe=[late,tuned]"]).choices["scheduler"] == "cosine"
    assert compose(["recipe=[late,tuned]", "scheduler=constant"]).choices["scheduler"] == "constant"


def test_a_recipe_may_build_on_another(project: Any) -> None:
    project.write(
        "recipes/more.yaml", "# @package _global_\ndefaults:\n  - tuned\n  - _self_\nargs: {seed: 9}\n"
    )
    composition = compose(["recipe=more"])
    assert (composition.config["args"]["seed"], composition.config["optim"]["lr"]) == (9, 1e-4)
    assert composition.sources["args.seed"][-2].text == "recipes/tuned.yaml:12"


def test_options_of_a_group_of_parts_are_combined(project: Any) -> None:
    project.write("configs/callbacks/mine.yaml", "mine: {_target_: parts.function, a: 1}\n")
    composition = compose(["callbacks=[default,mine]"])
    assert sorted(composition.config["callbacks"]) == ["mine", "progress"]
    assert composition.choices["callbacks"] == "default,mine"
    assert compose(["callbacks=null"]).config["callbacks"] == {}
    assert compose(["~callbacks.progress"]).config["callbacks"] == {}


def test_a_config_dir_adds_options_and_shadows_built_in_ones(project: Any, tmp_path: Path) -> None:
    project.write("../shared/configs/optim/adamw.yaml", "_target_: torch.optim.AdamW\nlr: 0.5\n")
    project.write("../shared/own.py", "class Net: ...\n")
    for given_as in (tmp_path / "shared", "../shared", Path("../shared/configs")):
        composition = compose(["model={_target_: own.Net}", "~model.width"], config_dirs=[given_as])
        assert composition.config["optim"]["lr"] == 0.5
        assert composition.folders == (project.folder, tmp_path / "shared")
    assert compose(["hydra.searchpath=[../shared]"]).config["optim"]["lr"] == 0.5


def test_interpolations_are_resolved_and_a_loose_one_is_an_error(project: Any) -> None:
    assert compose(["data.rows=${model.width}"]).config["data"]["rows"] == 4
    with pytest.raises(UserError) as error:
        compose(["data.rows=${model.widht}", "args.zzz=1,2"])
    assert len(error.value.problems) == 2
    assert "data.rows refers to what is not there" in error.value.block()
    assert "model.widht" in error.value.block()


def test_a_verb_that_only_looks_gets_the_problems_back(project: Any) -> None:
    composition = compose(["data.rows=???", "args.sed=1"], strict=False)
    assert len(composition.problems) == 2
    assert composition.config["args"]["seed"] == 42


def test_a_broken_recipe_does_not_hide_other_mistakes_nor_make_new_ones(project: Any) -> None:
    project.write("recipes/broken.yaml", "data: {rows: 3}\n")
    project.write("configs/data/text_classification.yaml", "_target_: parts.Rows\nrows: ???\n")
    with pytest.raises(UserError) as error:
        compose(["recipe=broken", "args.sed=1"])
    assert [problem.what for problem in error.value.problems] == [
        "the recipe recipes/broken.yaml has no package header, so none of it would take effect",
        "there is no args.sed",
    ]


def test_what_hydra_cannot_compose_is_an_error_of_the_user(project: Any) -> None:
    project.write("configs/optim/odd.yaml", "defaults:\n  - nowhere\nlr: 1\n")
    with pytest.raises(UserError) as error:
        compose(["optim=odd"])
    assert "optim/nowhere" in error.value.block()
    assert "hydra.cc" not in error.value.block()


OVERRIDES = [
    "recipe=tuned",
    "optim=sgd",
    "optim.lr=0.5",
    "args.seed=3",
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=9",
    "~callbacks.progress",
    "+data.order=down",
]


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(OVERRIDES))
def test_the_order_of_overrides_does_not_matter(project: Any, shuffled: list[str]) -> None:
    first, second = compose(OVERRIDES), compose(shuffled)
    assert first.config == second.config
    assert first.choices == second.choices
    assert first.warnings == second.warnings


def test_a_sweep_lists_its_jobs(project: Any) -> None:
    words = ["recipe=tuned", "optim=adamw,sgd", "args.seed=1,2"]
    jobs = axes(words).grid()
    assert jobs == [
        ["recipe=tuned", f"optim={optim}", f"args.seed={seed}"]
        for optim in ("adamw", "sgd")
        for seed in (1, 2)
    ]
    assert [compose(job).choices["optim"] for job in jobs] == ["adamw", "adamw", "sgd", "sgd"]
    with pytest.raises(UserError, match="cannot read"):
        axes(["optim.lr"])


def test_choices_are_those_named_today(project: Any) -> None:
    assert choices(["+recipe=tuned", "optim=sgd", "optim.lr=1"]) == {"recipe": "tuned", "optim": "sgd"}
    assert choices(["optim.lr=1"]) == {}


@pytest.fixture
def composed(project: Any) -> Composition:
    return compose(["recipe=tuned"])


def test_a_written_configuration_is_read_back_as_it_was(composed: Composition, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    dump(composed.config, file, "trainer-cli +recipe=tuned\nas it ran")
    assert file.read_text().startswith("# trainer-cli +recipe=tuned\n# as it ran\nargs:\n  seed: 7\n")
    assert load(file, folders=composed.folders) == composed.config


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"), include_characters="\n")
) | st.from_regex(r"[\\${}'\"a: ]*", fullmatch=True)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_any_text_survives_the_file(composed: Composition, tmp_path: Path, text: str) -> None:
    config = {**composed.config, "args": {**composed.config["args"], "metric_for_best_model": text}}
    dump(config, tmp_path / "config.yaml", "")
    assert load(tmp_path / "config.yaml", folders=composed.folders) == config
    assert apply(config, [], chosen={})["args"]["metric_for_best_model"] == text


def test_a_file_that_was_edited_wrongly_is_reported_with_its_lines(
    composed: Composition, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    dump(composed.config, file, "")
    file.write_text(file.read_text().replace("seed: 7", "sed: 7"))
    with pytest.raises(UserError) as error:
        load(file, folders=composed.folders)
    assert [problem.what for problem in error.value.problems] == ["there is no args.sed"]
    assert error.value.problems[0].where.endswith("config.yaml:2")


def test_todays_values_go_on_top_of_a_run_and_its_parts_stay(composed: Composition) -> None:
    today = ["recipe=tuned", "optim=adamw", "args.seed=8", "~callbacks.progress"]
    config = apply(composed.config, today, chosen=composed.choices)
    assert (config["args"]["seed"], config["callbacks"]) == (8, {})
    assert composed.config["args"]["seed"] == 7
    with pytest.raises(UserError) as error:
        apply(composed.config, ["optim=sgd", "args.sed=1"], chosen=composed.choices)
    assert "optim=sgd: the run to resume was made with optim=adamw" in error.value.block()
    assert "did you mean args.seed?" in error.value.block()


def test_another_option_is_composed_anew_with_what_the_recipe_has_for_it(composed: Composition) -> None:
    made_of = [*composed.overrides, "optim.betas=[0.8,0.9]", "+optim.amsgrad=true"]
    today = ["optim=sgd", "checkpoint.allow=[optimizer]", "optim.momentum=0.5"]
    config = apply(composed.config, today, chosen=composed.choices, made_of=made_of)
    expected = compose([*composed.overrides, "optim=sgd", "optim.momentum=0.5"]).config["optim"]
    assert config["optim"] == expected
    others = {key: value for key, value in composed.config.items() if key not in ("optim", "checkpoint")}
    assert {key: config[key] for key in others} == others


def test_what_chooses_or_sets_in_a_group_is_left_out() -> None:
    words = ["optim=sgd", "+optim.x=1", "~optim.y", "model/inner=a", "args.seed=1", "optimal=1"]
    assert without(words, ["optim", "model/inner"]) == ["args.seed=1", "optimal=1"]


HEAVY = ["torch", "numpy", "transformers", "datasets", "accelerate", "rich"]


@pytest.mark.parametrize("override", ["optim.lr=1", "optim.lrr=1"])
def test_composing_and_checking_imports_nothing_heavy(project: Any, override: str) -> None:
    code = f"""
import json, sys
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.show import options, show
try:
    show("optim.lr", compose(["recipe=tuned", {override!r}]))
except UserError as error:
    assert "did you mean optim.lr?" in error.block()
options()
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_a_run_of_an_older_release_lacks_what_was_added_since(project: Any, tmp_path: Path) -> None:
    composed = compose(["strategy=ddp", "strategy.num_processes=2"])
    older = {
        name: dict(values) if isinstance(values, dict) else values for name, values in composed.config.items()
    }
    del older["args"]["ema_decay"], older["strategy"]["static_graph"]
    dump(older, tmp_path / "config.yaml", "an older run")
    assert load(tmp_path / "config.yaml", folders=composed.folders) == composed.config
    older["args"]["ema_dekay"] = 0.9
    dump(older, tmp_path / "config.yaml", "an older run")
    with pytest.raises(UserError, match="ema_dekay"):
        load(tmp_path / "config.yaml", folders=composed.folders)
