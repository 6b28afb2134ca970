"""The one way in which imports point, and the modules that must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import trainer_cli

PACKAGE = Path(trainer_cli.__file__).parent
TESTS = Path(__file__).parent

COMMAND_LINE = (
    "cli",
    "prepare",
    "start",
    "rank",
    "launch",
    "logs",
    "signals",
    "sweep",
    "rerun",
    "plan",
    "preview",
    "preflight",
    "trials",
    "verify",
    "self_test",
    "listing",
    "report",
    "import_args",
    "__main__",
)
GROUPS = (
    "model",
    "data",
    "loss",
    "optim",
    "scheduler",
    "strategy",
    "checkpoint",
    "metrics",
    "callbacks",
    "tracker",
    "hub",
    "runs",
)
LAYERS = (
    ("state", "config", "counts", "seed", "imports", "durable"),
    GROUPS,
    ("engine",),
    (
        "loop",
        "nonfinite",
        "restore",
        "saving",
        "predict",
        "fitting",
        "checks",
        "culprits",
        "rehearsal",
        "contracts",
        "summary",
    ),
    ("runner",),
    COMMAND_LINE,
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

MAY_IMPORT = {
    "hydra": {*COMMAND_LINE, "config", "contracts", "runner"},
    "omegaconf": {*COMMAND_LINE, "config", "runner"},
    "rich": {"rank", "sweep", "plan", "preview", "listing", "callbacks", "runs"},
    "accelerate": {"strategy", "tracker"},
}
INSIDE_FUNCTIONS = {"transformers", "datasets", "pyarrow", "scipy", "sklearn", "tokenizers", "peft"} | {
    "bitsandbytes",
    "optimi",
    "pytorch_optimizer",
    "schedulefree",
    "torchao",
    "tensorboard",
    "wandb",
    "mlflow",
    "trackio",
    "swanlab",
    "dvclive",
    "comet_ml",
    "clearml",
    "accelerate",
}


@dataclass(frozen=True)
class Import:
    """An import statement: who imports, what, and whether on import, in a function or for types alone."""

    file: str
    part: str
    name: str
    in_function: bool
    for_types: bool

    @property
    def package(self) -> str:
        return self.name.split(".")[0]

    @property
    def imported_part(self) -> str | None:
        """The part of trainer_cli that it names; None for another package, or the package's own top."""
        names = self.name.split(".")
        return names[1] if names[0] == "trainer_cli" and names[1:] and names[1] in LEVEL else None


def imports_below(
    node: ast.AST, file: str, part: str, in_function: bool, for_types: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, part, alias.name, in_function, for_types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file} has a relative import"
            for alias in child.names:
                yield Import(file, part, f"{child.module}.{alias.name}", in_function, for_types)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from imports_below(child, file, part, in_function or is_function, for_types or is_for_types)


def all_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += imports_below(tree, str(file), file.parts[0].removesuffix(".py"), False, False)
    return found


IMPORTS = all_imports()


def test_every_part_has_a_place_in_the_order() -> None:
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    # The package's configs and recipes stand beside its modules in an installed wheel.
    assert parts - {"__init__", "__pycache__", "configs", "recipes"} <= LEVEL.keys()


def test_every_module_has_its_test_file() -> None:
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")}
    files = {module: TESTS / module.with_name(f"test_{module.name}") for module in modules}
    assert not [str(module) for module, file in files.items() if not file.is_file()]


def test_imports_point_one_way() -> None:
    wrong = [
        f"{found.file} imports {found.name}"
        for found in IMPORTS
        if found.part in LEVEL
        and found.imported_part is not None
        and LEVEL[found.imported_part] > LEVEL[found.part]
        and not (found.part == "callbacks" and found.for_types and found.imported_part == "engine")
    ]
    assert not wrong


def test_groups_do_not_import_each_other_in_a_circle() -> None:
    below = {
        part: {
            found.imported_part
            for found in IMPORTS
            if found.part == part and found.imported_part in GROUPS and found.imported_part != part
        }
        for part in GROUPS
    }
    while leaves := [part for part, imported in below.items() if not imported & below.keys()]:
        for part in leaves:
            del below[part]
    assert not below


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_library_is_imported_only_where_it_belongs(package: str) -> None:
    wrong = [
        f"{found.file} imports {found.name}"
        for found in IMPORTS
        if found.package == package and found.part not in MAY_IMPORT[package]
    ]
    assert not wrong


def test_optional_libraries_are_imported_only_inside_functions() -> None:
    wrong = [
        f"{found.file} imports {found.name}"
        for found in IMPORTS
        if found.package in INSIDE_FUNCTIONS and not (found.in_function or found.for_types)
    ]
    assert not wrong


LOOKING = ("runs.listing", "runs.show", "runs.compare", "runs.drawing", "runs.named", "runs.leaderboard")
"""Verbs on runs, which read plain files."""


@pytest.mark.slow
@pytest.mark.parametrize("module", LOOKING)
def test_looking_at_runs_imports_nothing_that_makes_them(module: str) -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'hydra', 'omegaconf', 'optuna'}"
    code = f"import sys, trainer_cli.cli, trainer_cli.{module}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["cli", "start", "rank", "launch", "runs.find", "runs.listing", "checkpoint", "config.compose"]
)
def test_what_answers_at_once_imports_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, trainer_cli.{module}; print(*{{'torch', 'numpy', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


PICKLES = {"torch.load", "torch.save", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps"}


def test_nothing_is_pickled_or_unpickled() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in PICKLES or name.endswith("register_for_checkpointing"):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} calls {name}")
    assert not wrong
