"""A run computes with what the environment gives; its files refer to it, and read it again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.compose import Unset, apply, compose, dump, load
from trainer_cli.config.environment import Configuration, as_written
from trainer_cli.config.instantiate import instantiate
from trainer_cli.config.secrets import masked
from trainer_cli.runs.record import identity

BASE = (
    *("model=mlp", "model.in_features=2", "model.out_features=2", "loss=cross_entropy", "data=python"),
    *("+callbacks.up._target_=parts_of_mine.Up", "+callbacks.up.url=null"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a part that takes anything; what the test sets in the environment goes with it."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "parts_of_mine.py").write_text(
        "class Up:\n"
        "    def __init__(self, url: object, more: object = None) -> None:\n"
        "        self.given = url, more\n"
    )
    yield tmp_path
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def config(*words: str) -> Configuration:
    """What `trainer-cli WORDS` composes."""
    return compose([*BASE, *words]).config


def file_of(composed: Configuration, folder: Path) -> str:
    """Its config.yaml."""
    dump(composed, folder / "config.yaml", "header")
    return (folder / "config.yaml").read_text()


def given(composed: Configuration) -> Any:
    """What the part is made with."""
    return instantiate("callbacks.up", composed["callbacks"]["up"]).given


@pytest.mark.parametrize(
    ("word", "variables", "value", "written"),
    [
        ("callbacks.up.url=${oc.env:MINE}", {"MINE": "plain-value"}, "plain-value", "${oc.env:MINE}"),
        ("callbacks.up.url='a ${oc.env:MINE} b'", {"MINE": "plain"}, "a plain b", "a ${oc.env:MINE} b"),
        ("callbacks.up.url=${oc.env:MINE,other}", {}, "other", "${oc.env:MINE,other}"),
        ("callbacks.up.url=${oc.env:MINE,other}", {"MINE": "given"}, "given", "${oc.env:MINE,other}"),
        ("callbacks.up.url=${oc.env:MINE,null}", {}, None, "${oc.env:MINE,null}"),
        ("callbacks.up.url='${oc.decode:${oc.env:MINE}}'", {"MINE": "12"}, 12, "${oc.decode:${oc.env:MINE}}"),
        ("callbacks.up.url=[x,${oc.env:MINE}]", {"MINE": "plain"}, ["x", "plain"], "${oc.env:MINE}"),
        ("callbacks.up.url={a:${oc.env:MINE}}", {"MINE": "plain"}, {"a": "plain"}, "a: ${oc.env:MINE}"),
        (
            "callbacks.up.url='${args.seed}-${oc.env:MINE}'",
            {"MINE": "x"},
            "42-x",
            "${args.seed}-${oc.env:MINE}",
        ),
        (
            "callbacks.up.url=${oc.env:SLACK_WEBHOOK}",
            {"SLACK_WEBHOOK": "open"},
            "open",
            "${oc.env:SLACK_WEBHOOK}",
        ),
    ],
)
def test_a_part_s_value_stays_a_reference(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    variables: dict[str, str],
    value: Any,
    written: str,
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    composed = config(word)
    assert given(composed) == (value, None)
    text = file_of(composed, folder)
    assert written in text and not any(len(text_) > 2 and text_ in text for text_ in variables.values())
    again = load(folder / "config.yaml", folders=[folder])
    assert again == composed and again.read.keys() == composed.read.keys()
    assert given(again) == (value, None) and file_of(again, folder) == text


def test_a_value_that_refers_to_one_that_is_read_is_read_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "sesame-open")
    composed = config(
        "callbacks.up.url={a:${oc.env:MINE}}",
        "+callbacks.up.more=[${callbacks.up.url},'${callbacks.up.url.a}!']",
    )
    assert given(composed)[1] == [{"a": "sesame-open"}, "sesame-open!"]
    assert "sesame" not in file_of(composed, folder)
    assert load(folder / "config.yaml", folders=[folder]) == composed


@pytest.mark.parametrize(
    ("word", "text", "value"),
    [
        ("args.max_steps=${oc.env:MINE}", "17", 17),
        ("args.max_grad_norm=${oc.env:MINE}", "0.25", 0.25),
        ("args.torch_compile='${oc.decode:${oc.env:MINE}}'", "true", True),
        ("args.output_dir=${oc.env:MINE}/runs", "somewhere", "somewhere/runs"),
        ("args.data_seed=${oc.env:MINE}", "1234567", 1234567),
        ("run.name=${oc.env:MINE}", "somebody", "somebody"),
    ],
)
def test_so_does_one_of_a_typed_section(
    folder: Path, monkeypatch: pytest.MonkeyPatch, word: str, text: str, value: Any
) -> None:
    monkeypatch.setenv("MINE", text)
    composed = config(word)
    section, name = word.partition("=")[0].split(".")
    assert composed[section][name] == value and type(composed[section][name]) is type(value)
    written = file_of(composed, folder)
    assert f"{name}: {word.partition('=')[2]}\n".replace("'", "") in written
    monkeypatch.setenv("MINE", text.replace("17", "18"))
    assert load(folder / "config.yaml", folders=[folder])[section][name] == (18 if value == 17 else value)


def test_what_is_changed_is_no_longer_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "17")
    composed = config("args.max_steps=${oc.env:MINE}", "callbacks.up.url=${oc.env:MINE}")
    composed["args"]["max_steps"] = 9
    assert "max_steps: 9\n" in file_of(composed, folder)
    changed = apply(load(folder / "config.yaml", folders=[folder]), ["callbacks.up.url=x"], chosen={})
    assert given(changed) == ("x", None) and "url: x\n" in file_of(changed, folder)
    kept = apply(composed, ["args.seed=7"], chosen={})
    assert "url: ${oc.env:MINE}\n" in file_of(kept, folder)


def test_a_variable_that_is_missing_later_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "plain")
    file_of(config("callbacks.up.url=${oc.env:MINE}/x"), folder)
    monkeypatch.delenv("MINE")
    with pytest.raises(Unset) as caught:
        load(folder / "config.yaml", folders=[folder])
    block = caught.value.block()
    assert "callbacks.up.url is read from the environment variable MINE, which is not set" in block
    assert "config.yaml:" in block and "export MINE=…" in block and len(block.splitlines()) == 3


def test_which_value_it_is_belongs_to_what_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "callbacks.up.url=${oc.env:MINE}", "callbacks.up.url=${oc.env:SLACK_WEBHOOK}"
    monkeypatch.setenv("MINE", "one")
    monkeypatch.setenv("SLACK_WEBHOOK", "one")
    one, secret = (identity(config(word)) for word in words)
    assert one == identity(config("callbacks.up.url=one"))
    monkeypatch.setenv("MINE", "two")
    monkeypatch.setenv("SLACK_WEBHOOK", "two")
    assert one != identity(config(words[0])) and secret == identity(config(words[1]))


def test_texts_name_the_variable_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sesame-open")
    monkeypatch.setenv("NOT_READ", "unread-value")
    monkeypatch.setenv("MY_DATA", "/data/x")
    config("callbacks.up.url=${oc.env:MINE}", "+callbacks.up.more=${oc.env:MY_DATA}")
    said = masked("no answer from sesame-open; unread-value; /data/x")
    assert said == "no answer from ${oc.env:MINE}; unread-value; /data/x"


def test_text_that_only_looks_like_it_stays_text(folder: Path) -> None:
    composed = config(r"callbacks.up.url='\${oc.env:HOME}'")
    assert composed.read == {} and given(composed) == ("${oc.env:HOME}", None)
    file_of(composed, folder)
    assert given(load(folder / "config.yaml", folders=[folder])) == ("${oc.env:HOME}", None)
    assert as_written({"a": [1, {"b": 2}]}) == {"a": [1, {"b": 2}]}
