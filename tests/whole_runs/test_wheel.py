"""What is built and installed works without the checkout that it was built from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import trainer_cli

pytestmark = pytest.mark.slow

CHECKOUT = Path(trainer_cli.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(CHECKOUT)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in, apart from all else."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return folder


@pytest.fixture
def away(shell, installed):
    """A shell in an empty folder whose `trainer-cli` is the installed one."""

    def run(*words, program=("-m", "trainer_cli")):
        return subprocess.run(
            [sys.executable, *program, *words],
            cwd=shell.folder,
            env=shell.environment(PYTHONPATH=str(installed)),
            capture_output=True,
            text=True,
        )

    return run


def test_the_wheel_holds_what_a_run_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("configs", "recipes"):
        files = [path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / folder).rglob("*.yaml")]
        assert files
        assert {f"trainer_cli/{file}" for file in files} <= names
    data = [
        path.name for path in (CHECKOUT / "trainer_cli" / "data" / "embedded").iterdir() if path.is_file()
    ]
    assert {"NOTICE", "tweets.tsv.gz"} < set(data)
    assert {f"trainer_cli/data/embedded/{name}" for name in data} <= names
    about = next(name.partition("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
    assert {f"{about}/licenses/LICENSE", f"{about}/licenses/trainer_cli/data/embedded/NOTICE"} <= names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.read(f"{about}/entry_points.txt").decode()
        metadata = archive.read(f"{about}/METADATA").decode()
    assert "trainer-cli = trainer_cli.cli:main" in entries
    assert "Requires-Python: <3.14,>=3.11" in metadata and "Provides-Extra: text" in metadata
    core = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    ]
    assert {re.match(r"Requires-Dist: ([\w-]+)", line)[1] for line in core} == {
        "torch",
        "hydra-core",
        "omegaconf",
        "accelerate",
        "psutil",
        "safetensors",
        "rich",
    }


def test_it_finds_its_own_configs_and_recipes(away, installed):
    code = "from trainer_cli.config import places; print(places.builtin().configs, places.builtin().recipes)"
    done = away(program=("-c", code))
    assert done.stdout.split() == [str(installed / "trainer_cli" / name) for name in ("configs", "recipes")]
    done = away("list")
    assert done.returncode == 0 and not done.stderr
    for path in ("built-in recipes/glue.yaml", "built-in configs/optim/adamw.yaml"):
        assert path in done.stdout
    done = away("optim.lrr=1")
    assert done.returncode == 2 and "did you mean optim.lr?" in done.stderr


def test_it_installs_the_command(away, installed):
    command = installed / "bin" / "trainer-cli"
    assert os.access(command, os.X_OK)
    assert away("--version", program=(str(command),)).stdout == f"trainer-cli {trainer_cli.__version__}\n"
    assert away("show", "optim.lr", program=(str(command),)).returncode == 0


def test_it_plans_and_runs_far_from_the_checkout(away, shell):
    small = [
        "+recipe=lm",
        "data.max_length=32",
        "model.config.hidden_size=32",
        "model.config.intermediate_size=64",
        "model.config.num_hidden_layers=1",
        "args.per_device_eval_batch_size=256",
        "args.max_steps=2",
        "args.logging_steps=1",
    ]
    done = away("plan", *small)
    assert done.returncode == 0, done.stderr
    assert "LlamaForCausalLM" in done.stdout and "built-in recipes/lm.yaml" in done.stdout
    assert not list(shell.folder.iterdir())
    done = away(*small, f"args.output_dir={shell.outputs}")
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in shell.rows()] == [1, 2, 2]
    assert shell.record()["status"] == "finished" and shell.record()["git"] is None
    assert (shell.last / "model" / "config.json").is_file()
