"""The documents say what is so: the tree is the tree, commands compose, Python runs."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_cli import cli
from trainer_cli.config import rules
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.sweep.jobs import jobs_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CODE = (ROOT / "docs" / "code.md").read_text()
NAMES = ("training", "sweeps", "looking", "trackers")
PAGES = README + "".join((ROOT / "docs" / f"{page}.md").read_text() for page in NAMES)
ON_RUNS = ("runs", "compare", "report", "rerun", "list")
"""Verbs whose words are no overrides of a run."""


def tree() -> str:
    """Each module with the first line of its docstring, in the order of a directory listing."""
    lines = []
    for folder in [ROOT / "trainer_cli", *sorted(p for p in (ROOT / "trainer_cli").iterdir() if p.is_dir())]:
        modules = [p for p in sorted(folder.glob("*.py")) if p.name not in ("__init__.py", "__main__.py")]
        if not modules and not (folder / "__init__.py").exists():
            continue
        lines.append(f"{folder.relative_to(ROOT)}/".ljust(24) + phrase(folder / "__init__.py"))
        lines += [f"  {path.name}".ljust(24) + phrase(path) for path in modules]
    return "\n".join(lines)


def phrase(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.splitlines()[0].rstrip(".").replace("`", "")


def commands() -> list[list[str]]:
    lines = re.findall(r"^\$ ((?:trainer-cli|torchrun).*)$", PAGES, re.MULTILINE)
    return [
        shlex.split(line.replace("torchrun --standalone --nproc-per-node 2 -m trainer_cli", "trainer-cli"))
        for line in lines
    ]


def test_the_tree_is_the_tree():
    assert tree() in CODE


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_composes(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_is_installed", lambda package: True)  # no tracker is made
    line = cli.parse(words[1:])
    words = [word for word in line.words if not word.startswith("resume=")]
    if line.verb in ON_RUNS or words[-1].startswith("outputs/"):
        return
    if line.verb == "show":
        words = words[1:]
    if "args.learning_rate=1e-4" in words:
        with pytest.raises(UserError) as report:
            compose(words)
        # What the README shows is what is said.
        assert report.value.block().replace("error: ", "") in README
        return
    if line.multirun:
        jobs_of(words, [])
    else:
        compose(words)


@pytest.mark.slow
def test_the_python_runs(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "run").mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
