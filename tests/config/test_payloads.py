"""Configurations that try to run code: refused before anything is called, by whatever check is first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.payloads import MAY_BE_NAMED, PLACES, at, merged, payloads, prepared
from small_run import OVERRIDES

from trainer_cli.config.check import check
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.instantiate import check_targets, instantiate
from trainer_cli.config.sources import Sources

COUNT = len(payloads("", ""))


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return dict(compose([*OVERRIDES, "loss=elementwise"]).config)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that none of them may make."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    prepared(tmp_path / "files", tmp_path / "mark")
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("number", range(COUNT))
def test_it_is_refused_wherever_it_stands(config: dict[str, Any], mark: Path, number: int) -> None:
    node = payloads(str(mark), str(mark.parent / "files"))[number]
    for place in PLACES:
        sent = merged(config, at(place, node))
        # By its spelling, as far as that tells; the rest by what it stands for, or by what it is given.
        if check(sent, Sources(), folders=[Path.cwd()])[1]:
            continue
        with pytest.raises(UserError) if node["_target_"] not in MAY_BE_NAMED else pytest.raises(Exception):
            check_targets(sent, [Path.cwd()])
            instantiate("x", node)


def test_most_are_refused_before_anything_is_imported(config: dict[str, Any], mark: Path) -> None:
    nodes = payloads(str(mark), str(mark.parent / "files"))
    passed = [
        node["_target_"]
        for node in nodes
        if not check(merged(config, at("metrics.z", node)), Sources(), folders=[Path.cwd()])[1]
    ]
    assert passed == []


TAGS = [
    "!!python/object/apply:os.system ['touch mark']",
    "!!python/object/new:os.system ['touch mark']",
    "!!python/name:os.system ''",
    "!!python/module:evil ''",
]


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_is_read_without_code(mark: Path, tag: str) -> None:
    Path("recipes").mkdir()
    Path("recipes/sent.yaml").write_text(f"# @package _global_\nmetrics:\n  z: {tag}\n")
    with pytest.raises(UserError, match=r"recipes/sent.yaml:3|is not YAML"):
        compose(["+recipe=sent"])


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SENT}",
        "${oc.decode:${oc.env:SENT}}",
        "${run.name}",
        "${eval:__import__('os').system('touch mark')}",
        "${hydra:runtime.cwd}",
        "${oc.create:{_target_: os.system}}",
    ],
)
def test_an_interpolation_names_no_more_than_a_name(
    mark: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SENT", "os.system")
    Path("recipes").mkdir()
    Path("recipes/sent.yaml").write_text(
        f'# @package _global_\nrun:\n  name: os.system\nmetrics:\n  z:\n    _target_: "{text}"\n'
    )
    with pytest.raises(UserError):
        compose(["+recipe=sent"])
