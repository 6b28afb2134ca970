"""`trainer-cli list` and `show`, as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import GROUPS, ORDER
from trainer_cli.config.secrets import Secret
from trainer_cli.listing import in_line, leaves, print_field, print_options

RECIPE = """\
# @package _global_
# trainer-cli +recipe=mine
# Trains [/all] of mine.
defaults:
  - override /optim: sgd
  - override /data: mine
optim:
  lr: 0.25
data:
  train:
    file: "[bold]rows[/bold] :100: [/x].csv"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a recipe and two options of its own, of which one shadows a built-in one."""
    for name, text in {
        "recipes/mine.yaml": RECIPE,
        "configs/optim/sgd.yaml": "# My descent.\n_target_: torch.optim.SGD\nlr: 0.5\n",
        "configs/data/mine.yaml": "# My rows.\n_target_: mine.rows\ntrain: null\n",
        "mine.py": "def rows(train, api_key=None): ...\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """`printed()`: the lines since the last time."""
    return lambda: [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def field(printed: Any, *words: str) -> list[str]:
    """What `show` says, with single spaces between what stands in a line."""
    print_field(words, [])
    return [" ".join(line.split()) for line in printed()]


def test_all_options_are_listed_by_group_recipes_first(printed: Any) -> None:
    print_options(None, [])
    lines = printed()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads == ["recipes", *GROUPS]
    (mine,) = [line.split(None, 1) for line in lines if line.startswith("  mine ") and "recipes" in line]
    # What a file says is printed as it is.
    assert mine[1].startswith("Trains [/all] of mine.") and mine[1].endswith("recipes/mine.yaml")


def test_one_group_has_its_options_and_what_they_shadow(printed: Any) -> None:
    print_options("optim", [])
    head, *options = printed()
    assert head == "optim" and len(options) > 40
    (sgd,) = [line for line in options if line.startswith("  sgd ")]
    assert "My descent." in sgd and "configs/optim/sgd.yaml (shadows built-in configs/optim/sgd.yaml)" in sgd


@pytest.mark.parametrize("word", ["recipe", "recipes"])
def test_recipes_go_by_either_name_and_are_found_in_further_folders(
    printed: Any, tmp_path: Path, word: str
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (tmp_path / "configs").rename(other / "configs")
    print_options(word, [str(other)])
    head, *names = (line.strip().split(" ")[0] for line in printed())
    assert head == "recipes" and {"mine", "glue", "imdb", "lm"} <= set(names)


def test_a_group_that_there_is_not_is_put_right() -> None:
    with pytest.raises(UserError, match="there is no group optin") as caught:
        print_options("optin", [])
    assert "did you mean optim" in caught.value.problems[0].right


def test_a_field_is_shown_with_all_that_sets_it_the_one_that_counts_first(printed: Any) -> None:
    key, *about = field(printed, "optim.lr", "+recipe=mine", "optim.lr=1e-3")
    assert key == "optim.lr 0.001"
    assert about[0].startswith("type ")
    set_in = about[[line.startswith("set in") for line in about].index(True) :]
    assert set_in[0] == "set in command line: optim.lr=1e-3 (0.001)"
    assert [line.split()[-1] for line in set_in] == ["(0.001)", "(0.25)", "(0.5)"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["args.stages"], "args.stages [train, eval]"),
        (["args.stages", "args.stages=[train]"], "args.stages [train]"),
        (["data.train.file", "+recipe=mine"], "data.train.file [bold]rows[/bold] :100: [/x].csv"),
        (["args.output_dir", "args.output_dir='out[/a]'"], "args.output_dir out[/a]"),
        (["run.name"], "run.name null"),
    ],
    ids=lambda words: words[-1] if isinstance(words, list) else "",
)
def test_a_value_is_shown_as_it_is(printed: Any, words: Sequence[str], line: str) -> None:
    first, *_ = field(printed, *words)
    assert first.replace("'", "").replace('"', "") == line


def test_without_a_field_all_are_shown_in_their_order(printed: Any) -> None:
    head, *rows = field(printed, "+recipe=mine", "args.seed=7", "args.stages=[train]")
    assert head == "field value set in"
    keys = [row.split()[0] for row in rows]
    sections = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    assert sections == [section for section in ORDER if section in sections]
    assert len(keys) == len(set(keys)) and {"args.seed", "optim.lr", "resume"} <= set(keys)
    assert "args.seed 7 command line: args.seed=7" in rows
    assert "args.stages [train] command line: args.stages=[train]" in rows


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["args.seed", "optim.lrr=1"], "optim.lrr: torch.optim.AdamW has no parameter lrr"),
        (["optim.lr", "optim.lr=#"], "cannot read the override 'optim.lr=#'"),
        (["optim.lr", "optim=nope"], "there is no optim=nope"),
        (["data", "data=nonsense"], "there is no data=nonsense"),
        (["scheduler", "args.warmup_ratio=0.1"], "there is no args.warmup_ratio"),
        (["optim", "optim.params=x"], "optim.params is given by the run itself"),
        (["optim", "~optim"], "optim is missing"),
        (["args.seed", "args.seed=-3"], "args.seed is -3"),
        (["args.seed", "args.seed=1,2"], "args.seed is given several values: 1,2"),
        (["args.seed", "+recipe=min"], "there is no recipe=min"),
        ([*["+recipe=mine", "args.load_best_model_at_end=true"], "args.eval_strategy=no"], "args.load_best"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_a_run_would_refuse_is_not_shown(printed: Any, words: Sequence[str], what: str) -> None:
    with pytest.raises(UserError) as caught:
        print_field(words, [])
    assert caught.value.problems[0].what.startswith(what) and printed() == []


@pytest.mark.parametrize(
    "words", [["data.train_file"], ["data", "data=python", "data.train._target_=mine.rows"]]
)
def test_what_is_still_to_be_given_is_no_reason_not_to_show(printed: Any, words: Sequence[str]) -> None:
    assert field(printed, *words)[0].startswith(words[0])


def test_more_than_one_field_is_refused_and_overrides_are_none() -> None:
    with pytest.raises(UserError, match="show takes one field, not 2"):
        print_field(["optim.lr", "args.seed", "~callbacks.progress", "+x=1"], [])


def test_a_field_that_there_is_not_is_put_right() -> None:
    with pytest.raises(UserError) as caught:
        print_field(["optim.lrr"], [])
    assert "did you mean optim.lr" in caught.value.problems[0].right


def test_a_secret_is_shown_by_where_it_comes_from(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "very secret")
    words = ["data=mine", "+data.api_key=${oc.env:MY_TOKEN}"]
    for key in (["data.api_key"], ["data"], []):
        text = "\n".join(field(printed, *key, *words))
        assert "${oc.env:MY_TOKEN}" in text and "very secret" not in text


def test_the_leaves_of_a_key_are_all_that_are_no_mappings() -> None:
    assert leaves("a", {"b": {"c": 1, "d": {}}, "e": [1, {"f": 2}], "g": None}) == [
        ("a.b.c", 1),
        ("a.b.d", {}),
        ("a.e", [1, {"f": 2}]),
        ("a.g", None),
    ]
    assert leaves("a", 1) == [("a", 1)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-05, "1.0e-05"),
        ("1e-5", "1e-5"),
        ("yes", "'yes'"),
        ({"a": [1, None], "b": {}}, "{a: [1, null], b: {}}"),
        ("long " * 5000 + "text", "long " * 5000 + "text"),
        ("two\nlines", '"two\\nlines"'),
        ({"a": ["one\n\n two\n"]}, '{a: ["one\\n\\n two\\n"]}'),
        (Secret("${oc.env:TOKEN}"), "${oc.env:TOKEN}"),
    ],
)
def test_a_value_is_one_line_of_yaml(value: Any, text: str) -> None:
    assert in_line(value) == text
    assert value is None or yaml.safe_load(text) == value
