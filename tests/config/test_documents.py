"""Files and the command line read a value alike; a mistake in a file is told with its line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from trainer_cli.config import documents, places
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.layers import layers
from trainer_cli.config.overrides import Request
from trainer_cli.config.places import RECIPE, roots
from trainer_cli.config.recipes import circle

GRAMMAR = OverridesParser.create()


def on_the_command_line(text: str) -> Any:
    return GRAMMAR.parse_override(f"key={text}").value()


def in_a_file(text: str) -> Any:
    return documents.parse(f"key: {text}\n")[1]["key"]


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"),
        ("00", "00"),
        ("08", "08"),
        ("09.5", "09.5"),
        ("0o10", "0o10"),
        ("0x10", "0x10"),
        ("0b11", "0b11"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("1_000", 1000),
        ("1_0.5", 10.5),
        ("1__0", "1__0"),
        ("1_", "1_"),
        ("_1", "_1"),
        ("+5", 5),
        ("-0", 0),
        ("5.", 5.0),
        (".5", 0.5),
        ("-1.5", -1.5),
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("1.5e3", 1.5e3),
        ("1.5e+3", 1.5e3),
        ("1e400", math.inf),
        ("12e", "12e"),
        ("nan", math.nan),
        ("NaN", math.nan),
        ("-nan", math.nan),
        ("inf", math.inf),
        ("-Inf", -math.inf),
        ("yes", "yes"),
        ("no", "no"),
        ("No", "No"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("NULL", None),
        ("2026-01-01", "2026-01-01"),
        ("1.2.3", "1.2.3"),
        ("'010'", "010"),
        ("'yes'", "yes"),
        ("''", ""),
    ],
)
def test_a_value_is_the_same_in_a_file_and_on_the_command_line(text: str, value: Any) -> None:
    assert same(in_a_file(text), value)
    assert same(on_the_command_line(text), value)


@pytest.mark.parametrize(
    ("text", "value"), [("~", None), ("", None), (".inf", math.inf), ("-.INF", -math.inf), (".nan", math.nan)]
)
def test_what_yaml_alone_can_write_is_read(text: str, value: Any) -> None:
    assert same(in_a_file(text), value)


@given(st.text("0123456789_.eE+-:oxbnaifyesulrTN", min_size=1, max_size=6))
def test_no_plain_value_is_read_in_two_ways(text: str) -> None:
    try:
        typed = on_the_command_line(text)
        read = in_a_file(text)
    except (HydraException, yaml.YAMLError):
        return
    if text.lstrip("+-").lower() in (".inf", ".nan") or text.lower() in ("null", "true", "false"):
        return  # YAML's own spelling; any case on the command line
    assert same(read, typed), text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8))
def test_text_that_is_written_is_read_again(text: str) -> None:
    written = OmegaConf.to_yaml(OmegaConf.create({"key": {"a": text.replace("$", "")}}))
    assert documents.parse(written)[1] == {"key": {"a": text.replace("$", "")}}


@pytest.mark.parametrize(
    "value", [1e-5, 1e16, math.inf, -math.inf, 5, True, None, "010", "yes", "nan", "1:30", "1_0", ".5", "~"]
)
def test_what_a_run_writes_of_its_values_it_reads_again(value: Any) -> None:
    assert same(documents.parse(OmegaConf.to_yaml(OmegaConf.create({"a": value})))[1]["a"], value)


HEAD = "# @package _global_\n"


@pytest.mark.parametrize("text", ["args.seed=010", "args.seed='010'", "+recipe=ten", "+recipe=ten_text"])
def test_leading_zeros_are_a_decimal_number_on_both_ways(empty: Any, text: str) -> None:
    empty.write("recipes/ten.yaml", HEAD + "args:\n  seed: 010\n")
    empty.write("recipes/ten_text.yaml", HEAD + "args:\n  seed: '010'\n")
    words = ["data.train_file=a.csv", "model.pretrained=m", text]
    assert compose(words, strict=False).config["args"]["seed"] == 10


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("use_cpu: yes", "args.use_cpu is yes", "it must be true or false; did you mean true?"),
        ("use_cpu: off", "args.use_cpu is off", "it must be true or false; did you mean false?"),
        ("seed: 1:30", "args.seed is 1:30", "it must be a whole number >= 0"),
        ("seed: 0x10", "args.seed is 0x10", "it must be a whole number >= 0"),
    ],
)
def test_what_only_yaml_1_1_reads_otherwise_is_refused_where_it_stands(
    empty: Any, line: str, what: str, right: str
) -> None:
    empty.write("recipes/old.yaml", HEAD + f"args:\n  {line}\n")
    problems = compose(["+recipe=old"], strict=False).problems
    (problem,) = [problem for problem in problems if problem.key == f"args.{line.partition(':')[0]}"]
    assert (problem.what, problem.where, problem.right) == (what, "recipes/old.yaml:3", right)


def test_no_is_a_word_where_one_is_meant(empty: Any) -> None:
    empty.write("recipes/never.yaml", HEAD + "args:\n  eval_strategy: no\n")
    assert compose(["+recipe=never"], strict=False).config["args"]["eval_strategy"] == "no"


# Mistakes


@pytest.mark.parametrize(
    ("text", "what", "right"),
    [
        ("a: 1\n\tb: 2\n", ":2 is not YAML: found character tab", "indent with blanks"),
        ("a: b: c\n", ":1 is not YAML: mapping values", "a text with a colon and a blank needs quotes"),
        ("a: 1\n  b: 2\n", ":2 is not YAML: mapping values", "check the indentation"),
        ("a: 1\nb: 2\na: 3\n", ":3 is not YAML: a is there twice, first in line 1", ""),
        ("a: {b: 1, b: 2}\n", ":1 is not YAML: b is there twice, first in line 1", ""),
        ("1: a\n1: b\n", ":2 is not YAML: 1 is there twice, first in line 1", ""),
        ("a: 'b\n", ":2 is not YAML: found unexpected end", "a quote or a bracket is not closed"),
        ("a: [b\n", ":2 is not YAML: expected ',' or ']'", "a quote or a bracket is not closed"),
        (
            "a: 1\n---\nb: 2\n",
            ":2 is not YAML: but found another",
            "a file holds one document: no second ---",
        ),
        ("a: !!python/name:os.x\n", ":1 is not YAML: could not determine", "no tags (!name) are read"),
        ("a: !include x\n", ":1 is not YAML: could not determine", "no tags (!name) are read"),
        ("a: *b\n", ":1 is not YAML: found undefined alias", "a text that begins with a special character"),
        ("a: @b\n", ":1 is not YAML: found character '@'", "a text that begins with a special character"),
        ("a: %b\n", ":1 is not YAML: found character '%'", "a text that begins with a special character"),
        ("a: b\nc: d\x01\n", ":2 is not YAML: it has the character U+0001", "take it out"),
        ("a\0:\0 \0b\0", ":1 is not YAML: it has the character U+0000", "UTF-16: save it as UTF-8"),
        ("defaults: yes\n", "defaults is not a list", "- override /GROUP: OPTION"),
        ("a: 1\ndefaults:\n", "defaults is not a list", "- override /GROUP: OPTION"),
        ("defaults: {optim: sgd}\n", "defaults is not a list", "- override /GROUP: OPTION"),
        ("- a\n", "is not a mapping of keys to values", ""),
        ("text\n", "is not a mapping of keys to values", ""),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_is_right(
    empty: Any, text: str, what: str, right: str
) -> None:
    with pytest.raises(UserError) as caught:
        places.read(empty.write("a.yaml", text))
    (problem,) = caught.value.problems
    assert what in problem.what and right in problem.right and "\n" not in problem.what
    assert bool(problem.right) == bool(right)


GOOD = b"# @package _global_\nargs:\n  seed: 5\n"


@pytest.mark.parametrize(
    "data", [GOOD, b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD.replace(b"5\n", b"5")]
)
def test_a_byte_order_mark_and_the_ends_of_lines_change_nothing(empty: Any, data: bytes) -> None:
    path = empty.write("recipes/five.yaml", "")
    path.write_bytes(data)
    document = places.read(path)
    assert document.values == {"args": {"seed": 5}} and document.package == "_global_"
    assert document.where("args", "seed") == "recipes/five.yaml:3"
    assert compose(["+recipe=five"], strict=False).config["args"]["seed"] == 5


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (GOOD.decode().encode("utf-16"), "cannot be read: it is UTF-16: save it as UTF-8"),
        (
            b"a: 1\nb: caf\xe9\n",
            "cannot be read: line 2 has the byte 0xE9, which is not UTF-8: save it as UTF-8",
        ),
    ],
)
def test_a_file_that_is_not_utf8_says_so(empty: Any, data: bytes, what: str) -> None:
    path = empty.write("a.yaml", "")
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        places.read(path)
    assert caught.value.problems[0].what == f"a.yaml {what}"


# Files that lead back to themselves


@pytest.mark.parametrize(
    ("lists", "what"),
    [
        ({"a": ["a"]}, "recipes/a.yaml builds on itself"),
        ({"a": ["/recipe/a", "_self_"]}, "recipes/a.yaml builds on itself"),
        ({"a": ["b"], "b": ["a"]}, "recipes/a.yaml builds on recipes/b.yaml, which builds on recipes/a.yaml"),
        (
            {"a": ["b"], "b": ["_self_", "c"], "c": ["b"]},
            "recipes/b.yaml builds on recipes/c.yaml, which builds on recipes/b.yaml",
        ),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, ""),
    ],
)
def test_recipes_that_build_on_each_other_are_named(
    empty: Any, lists: dict[str, list[str]], what: str
) -> None:
    for name, entries in lists.items():
        listed = "".join(f"\n  - {entry}" for entry in entries) or " []"
        empty.write(f"recipes/{name}.yaml", f"{HEAD}defaults:{listed}\n")
    problem = circle("recipe/a", roots())
    assert (problem.what if problem else "") == what
    if what:
        with pytest.raises(UserError) as caught:
            compose(["+recipe=a"], strict=False)
        assert [problem.what for problem in caught.value.problems] == [what]
    else:
        compose(["+recipe=a"], strict=False)


@pytest.mark.parametrize("entry", ["mine", "/optim/mine", "/optim: mine", "other"])
def test_so_are_options(empty: Any, entry: str) -> None:
    empty.write("configs/optim/mine.yaml", f"defaults:\n  - {entry}\n_target_: torch.optim.SGD\nlr: 1.0\n")
    empty.write("configs/optim/other.yaml", "defaults:\n  - mine\nlr: 1.0\n")
    with pytest.raises(UserError, match=r"configs/optim/mine\.yaml builds on ") as caught:
        layers(Request(choices={"optim": ("mine",)}), roots())
    assert "out of" in caught.value.problems[0].right and RECIPE not in caught.value.problems[0].what


def test_an_option_that_builds_on_another_does(empty: Any, tmp_path: Path) -> None:
    empty.write("configs/optim/mine.yaml", "defaults:\n  - sgd\n  - _self_\nlr: 0.5\n")
    assert layers(Request(choices={"optim": ("mine",)}), roots()).config.optim.lr == 0.5
