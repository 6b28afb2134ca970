"""Names and places: what finds nothing again, leads elsewhere, or cannot be seen is refused with its key."""

from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.cli import main, parse
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.naming import PLACES, misnamed
from trainer_cli.config.sources import Sources
from trainer_cli.runs.record import Record

NAMES = {
    "..": "leads out of it",
    "a/../b": "leads out of it",
    "/a": "a path from the root",
    ".": "hidden",
    ".hid": "hidden",
    "a/.hid": "hidden",
    "": "it is empty",
    "  ": "it is empty",
    " a": "begins or ends with a blank",
    "a ": "begins or ends with a blank",
    "a./b": "ends with a dot",
    "a/": "a name is missing",
    "a//b": "a name is missing",
    "a\nb": "cannot be seen",
    "a\x1b[31mb": "cannot be seen",
    "a\u202eb": "cannot be seen",
    "a\u200bb": "cannot be seen",
    "a\u2066b": "cannot be seen",
    "\ufeffa": "cannot be seen",
    "x" * 256: "at most 255 bytes",
    "\u00e9" * 128: "at most 255 bytes",
}
GOOD = ("mine", "a/b", "a.b", "-a", "x" * 255, "\u00e9t\u00e9 1", "\u65e5\u672c")


def found(key: str, value: Any) -> list[str]:
    """What is said of a value of this key."""
    config: Any = value
    for name in reversed(key.split(".")):
        config = {name: config}
    return [problem.block() for problem in misnamed(config, Sources())]


@pytest.mark.parametrize("key", ["run.name", "sweep.name"])
def test_a_name_is_one_of_a_folder_that_is_found_again(key: str) -> None:
    for name, why in NAMES.items():
        (block,) = found(key, name)
        assert f"{key}=" in block and "is no folder below" in block and why in block
        assert f"{key}=mine" in block and block.isprintable() is False  # its ends of lines alone
        assert block.replace("\n", "").isprintable()
    for name in (*GOOD, None):
        assert found(key, name) == []


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("text", ["", " ", "\t", "\u3000"])
def test_an_empty_text_is_no_place(key: str, text: str) -> None:
    for value in (text, [text], {"one": text}):
        (block,) = found(key, value)
        assert f"{key} is empty text, which is no place" in block and "that is not set" in block
    assert found(key, "here") == found(key, None) == []
    assert "has a control character" in found(key, "a\nb")[0]


@pytest.mark.parametrize("word", ["args.output_dir=", "resume=", "run.name=.hid", "sweep.name=' '"])
def test_it_is_said_where_it_was_set_and_nothing_is_made(
    word: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        compose(["+recipe=glue", word])
    (problem,) = caught.value.problems
    assert problem.where == f"command line: {word}" and problem.key == word.partition("=")[0]
    for words in (["+recipe=glue", word], ["-m", "+recipe=glue", word, "optim.lr=0.1,0.2"]):
        assert main(words) == 2
        assert word.partition("=")[0] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_resume_is_said_also_where_it_stands_alone(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["resume="]) == 2
    assert "resume is empty text, which is no place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["verify", ""],
        ["runs", " "],
        ["compare", "a", ""],
        ["report", "a", "--output", ""],
        ["report", "a", "--output="],
        ["--config-dir", "", "+recipe=glue"],
        ["--config-dir=", "+recipe=glue"],
    ],
)
def test_an_empty_word_is_not_taken_for_this_folder_nor_the_next_one_for_its_value(words: list[str]) -> None:
    with pytest.raises(UserError, match="of the command line is empty text"):
        parse(words)


def test_no_run_is_made_within_another(tmp_path: Any) -> None:
    first = Record.create(tmp_path, "one", {})
    for root, name in (
        (tmp_path, f"one/{first.run_dir.name}"),
        (first.run_dir, "two"),
        (first.run_dir, "a/b"),
    ):
        with pytest.raises(UserError, match="is a run itself"):
            Record.make(root, name, {})
