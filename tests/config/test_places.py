from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config import places
from trainer_cli.config.errors import UserError

ADAMW = "_target_: torch.optim.AdamW\nlr: 1.0\n"


def test_the_project_comes_first_then_flags_environment_home_and_built_in(
    empty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINER_CLI_PATH", str(tmp_path / "env"))
    folders = ["project", "flag", "env", "home/.config/trainer-cli"]
    for folder in folders:
        file = tmp_path / folder / "configs" / "optim" / "adamw.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(ADAMW)
    found = places.find("optim/adamw", places.roots([tmp_path / "flag"]))
    own = places.builtin().configs / "optim" / "adamw.yaml"
    assert found == [*(tmp_path / folder / "configs/optim/adamw.yaml" for folder in folders), own]


def test_the_checkout_as_current_folder_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places.builtin().project)
    assert len(places.find("optim/adamw", places.roots())) == 1
    assert places.short(places.builtin().configs / "config.yaml") == "configs/config.yaml"


def test_a_config_dir_may_be_a_config_folder_itself(empty: Any, tmp_path: Path) -> None:
    file = empty.write("../elsewhere/configs/optim/mine.yaml", ADAMW).resolve()
    for folder in (file.parents[1], file.parents[2]):
        assert places.find("optim/mine", places.roots([folder])) == [file]
        assert tmp_path / "elsewhere" in [root.project for root in places.roots([folder])]


def test_a_package_may_hold_configs(empty: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = empty.write("../lib/shared_parts/configs/optim/mine.yaml", ADAMW).resolve()
    empty.write("../lib/shared_parts/__init__.py", "raise ImportError")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert places.find("optim/mine", places.roots(["pkg://shared_parts"])) == [file]
    assert places.find("optim/mine", places.roots([f"file://{file.parents[1]}"])) == [file]


@pytest.mark.parametrize("make", [False, True])
def test_a_config_dir_that_holds_nothing_is_an_error(empty: Any, tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(UserError) as error:
        places.roots([folder])
    assert "nothing" in error.value.block()
    assert "--config-dir" in error.value.block()


def test_folders_that_are_no_groups_are_not_served(empty: Any) -> None:
    empty.write("configs/other/a.yaml", "x: 1\n")
    empty.write("configs/config.yaml", "x: 1\n")
    roots = places.roots()
    assert not places.is_group("other", roots)
    assert places.find("other/a", roots) == []
    assert places.find("config", roots) == []


def test_options_of_nested_folders_are_listed(empty: Any) -> None:
    empty.write("configs/optim/big/lion.yaml", ADAMW)
    assert "big/lion" in places.options("optim", places.roots())


def test_a_document_knows_its_lines_comments_and_package(empty: Any) -> None:
    file = empty.write(
        "a.yaml", "# run me\n\n# what it is\n# @package _global_\na:\n  b: 1\n  c: {d: 1e-3}\n"
    )
    document = places.read(file)
    assert document.package == "_global_"
    assert document.comments[:2] == ["run me", "what it is"]
    assert document.where("a", "c", "d") == "a.yaml:7"
    assert document.values == {"a": {"b": 1, "c": {"d": 0.001}}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1\nb: 2\n", "a.yaml:2 is not YAML"),
        ("- 1\n", "a.yaml is not a mapping"),
        ("a: 1\na: 2\n", "a.yaml:2"),
        ("a:\n  b: ${c\n", "a.b cannot be read: no viable alternative at input '${c'\n  set in: a.yaml:2"),
        ("a: [1, '${b']\n", "a[1] cannot be read"),
        ("a: !!set {1, 2}\n", "a cannot be read: Value 'set' is not a supported primitive type"),
        ("a: &a\n  b: *a\n", "a.yaml:2 is not read: it has no end"),
    ],
)
def test_a_file_that_is_no_mapping_is_an_error_with_its_place(empty: Any, text: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        places.read(empty.write("a.yaml", text))
    assert says in error.value.block()


def test_an_empty_file_is_an_empty_mapping(empty: Any) -> None:
    assert places.read(empty.write("a.yaml", "# nothing\n")).values == {}


def test_a_home_that_cannot_be_read_has_nothing_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".config" / "trainer-cli"
    (home / "configs" / "optim").mkdir(parents=True)
    assert home in [root.project for root in places.roots()]
    for closed in (home, home / "configs"):
        monkeypatch.setattr("os.access", lambda path, _, closed=closed: path != closed)
        assert home not in [root.project for root in places.roots()]


def test_a_folder_that_was_named_and_cannot_be_read_is_the_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr("os.access", lambda path, _: path != tmp_path / "configs")
    with pytest.raises(UserError, match="cannot be read"):
        places.roots([tmp_path])
