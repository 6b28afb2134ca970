"""What a run's own config.yaml may open by itself, and what today's words and files let it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_cli import prepare, rerun
from trainer_cli.checkpoint.store import FORMAT, STATE, Checkpoints
from trainer_cli.config.compose import compose
from trainer_cli.config.received import Trusted, Untrusted, check_remote_code
from trainer_cli.runs.record import CONFIG, FILE, Record

OWN = '''
import torch

class Net(torch.nn.Linear):
    """A net."""
'''
WORDS = (
    "model=net",
    "loss=cross_entropy",
    "data=python",
    "args.eval_strategy=no",
    "args.stages=[train]",
    "args.max_steps=4",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (home / "mine.py").write_text(OWN)
    (home / "configs" / "model").mkdir(parents=True)
    (home / "configs" / "model" / "net.yaml").write_text(
        "_target_: mine.Net\nin_features: 2\nout_features: 2\n"
    )
    return home


def made(*words: str) -> Path:
    """A run that has ended."""
    given = [*WORDS, *words]
    return ended(prepare.prepare(given, [], given).run_dir)


def ended(run_dir: Path) -> Path:
    """The run, with a checkpoint."""

    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"weights")
        (directory / STATE).write_text(json.dumps({"format": FORMAT, "run": {"step": 2}}))

    Checkpoints(run_dir, None).save(2, 0, write)
    Record.load(run_dir).end("failed")
    return run_dir


def edited(run_dir: Path, old: str, new: str) -> Path:
    """The run, as somebody else has made it."""
    text = (run_dir / CONFIG).read_text()
    assert old in text
    (run_dir / CONFIG).write_text(text.replace(old, new))
    return run_dir


def resumed(run_dir: Path, *words: str) -> dict[str, Any]:
    return prepare.prepare([f"resume={run_dir}", *words], [], words).config


def again(run_dir: Path, *words: str) -> dict[str, Any]:
    return rerun.again(Record.load(run_dir), words, [], words).config


ROUTES = pytest.mark.parametrize("go_on", [resumed, again])


def block(go_on: Any, run_dir: Path, *words: str) -> str:
    """How it is refused, with nothing changed."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(Untrusted) as caught:
        go_on(run_dir, *words)
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    return caught.value.block()


@ROUTES
def test_its_own_plugins_open_nothing(go_on: Any) -> None:
    run_dir = edited(made(), "plugins: []", "plugins: [os, timm]")
    said = block(go_on, edited(run_dir, "_target_: mine.Net", "_target_: timm.create_model"))
    assert "config.yaml has model._target_=timm.create_model, and the plugins=[timm] that allows it" in said
    assert "plugins=[timm] on the command line does" in said
    # Where nothing needs them, they are left behind.
    assert go_on(edited(run_dir, "_target_: timm.create_model", "_target_: mine.Net"))["plugins"] == []


@ROUTES
def test_plugins_of_today_open_what_they_name(go_on: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theirs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "other")
    run_dir = made("plugins=[theirs]", "model._target_=theirs.Net")
    assert "plugins=[theirs] on the command line" in block(go_on, run_dir)
    config = go_on(run_dir, "plugins=[theirs]")
    assert (config["model"]["_target_"], config["plugins"]) == ("theirs.Net", ["theirs"])


def test_a_recipe_of_today_gives_what_it_gave(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theirs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "other")
    Path("recipes").mkdir()
    Path("recipes/r.yaml").write_text("# @package _global_\nplugins: [theirs]\n")
    made("+recipe=r", "model._target_=theirs.Net")
    config = prepare.prepare(["resume=latest", "+recipe=r"], [], []).config
    assert (config["model"]["_target_"], config["plugins"]) == ("theirs.Net", ["theirs"])


@ROUTES
def test_folders_that_its_record_names_are_not_trusted(go_on: Any, tmp_path: Path) -> None:
    run_dir = edited(made(), "_target_: mine.Net", "_target_: evil.Net")
    evil = tmp_path / "evil folder"
    evil.mkdir()
    (evil / "evil.py").write_text(OWN)
    fields = json.loads((run_dir / FILE).read_text())
    (run_dir / FILE).write_text(json.dumps({**fields, "project": [str(evil)]}))
    said = block(go_on, run_dir)
    assert f"model._target_=evil.Net, a module of {evil}" in said and f"cd {evil}" in said
    (evil / "configs").mkdir()
    assert f"--config-dir {evil}" in block(go_on, run_dir)
    # It is not among the folders of a run that does without it either.
    edited(run_dir, "_target_: evil.Net", "_target_: mine.Net")
    go_on(run_dir)
    newest = max(Path("outputs").glob("*/*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    assert json.loads(newest.read_text())["project"] == [str(Path.cwd())]


@ROUTES
def test_a_module_beside_the_run_may_have_come_with_it(go_on: Any) -> None:
    run_dir = made()
    (run_dir.parent / "evil.py").write_text(OWN)
    edited(run_dir, "_target_: mine.Net", "_target_: outputs.run.evil.Net")
    said = block(go_on, run_dir)
    assert "outputs.run.evil.Net, a module beside the run" in said and "plugins=[outputs]" in said
    assert go_on(run_dir, "plugins=[outputs]")


def test_where_one_stands_in_a_run_nothing_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = made().resolve()
    (run_dir / "mine.py").write_text(OWN)
    monkeypatch.chdir(run_dir)
    with pytest.raises(Untrusted, match="a module beside the run"):
        resumed(run_dir)


MODEL = {"_target_": "trainer_cli.model.causal_lm", "pretrained": "a/b", "trust_remote_code": True}


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("model.trust_remote_code", {"model": MODEL}),
        ("model.inner.0.trust_remote_code", {"model": {"inner": [{"trust_remote_code": True}]}}),
        ("data.x.y.trust_remote_code", {"data": {"x": {"y": {"trust_remote_code": 1}}}}),
        ("model.config.attn_implementation", {"model": {"config": {"attn_implementation": "a/kernels"}}}),
        ("model.config.use_kernels", {"model": {"config": {"use_kernels": True}}}),
    ],
)
def test_remote_code_is_run_where_today_says_so(key: str, config: dict[str, Any]) -> None:
    with pytest.raises(Untrusted) as caught:
        check_remote_code(Path(CONFIG), config, Trusted({}, [], []))
    (problem,) = caught.value.problems
    assert f"config.yaml sets {key}=" in problem.what and f"{key}=" in problem.right
    # The word that is asked for is the word that is taken.
    word = problem.right.split(" ")[0]
    check_remote_code(Path(CONFIG), config, Trusted({}, [word], []))


def test_remote_code_of_todays_files_is_of_the_same_name_alone() -> None:
    config = {"model": MODEL, "data": {"trust_remote_code": True, "tokenizer": "a/b"}}
    path = Path(CONFIG)
    check_remote_code(path, config, Trusted({"model": dict(MODEL)}, [], []))
    check_remote_code(path, config, Trusted({}, ["model.trust_remote_code=true"], []))
    for today in (
        {},
        {"model": {**MODEL, "pretrained": "c/d"}},
        {"model": {**MODEL, "trust_remote_code": False}},
    ):
        with pytest.raises(Untrusted):
            check_remote_code(path, config, Trusted(today, ["data.trust_remote_code=false"], []))


def test_what_asks_for_nothing_passes() -> None:
    config = {"model": {**MODEL, "trust_remote_code": False, "config": {"attn_implementation": "sdpa"}}}
    check_remote_code(Path(CONFIG), config, Trusted({}, [], []))


def test_a_run_that_trusts_code_goes_on_with_the_word_that_it_asks_for() -> None:
    words = ["model=causal_lm", "data=python", "model.pretrained=a/b", "model.trust_remote_code=true"]
    words += ["args.eval_strategy=no", "args.stages=[train]", "args.max_steps=4"]
    run_dir = ended(prepare.prepare(words, [], words).run_dir)
    assert "model.trust_remote_code=true on the command line" in block(resumed, run_dir)
    assert resumed(run_dir, "model.trust_remote_code=true")["model"]["trust_remote_code"] is True


def test_what_composes_today_is_not_held_to_it() -> None:
    assert compose(["model=causal_lm", "data=python", "model.trust_remote_code=true"]).config
