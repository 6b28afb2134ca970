"""Which names a `_target_` may name: prefixes known to be safe, the user's own modules, and `plugins`."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer_cli.config.signatures import Resolver, Signature

ALLOWED = (
    "trainer_cli",
    "torch",
    "transformers",
    "datasets",
    "peft",
    "bitsandbytes.optim",
    "optimi",
    "pytorch_optimizer",
    "schedulefree",
    "torchao.optim",
)
"""Prefixes that every configuration may name."""

CLOSED = ("pytorch_optimizer",)
"""Prefixes whose constructors take any further keyword and do nothing with it."""

REFUSED = (
    "torch.classes",
    "torch.distributed",
    "torch.export",
    "torch.fx",
    "torch.hub",
    "torch.jit",
    "torch.library",
    "torch.load",
    "torch.multiprocessing",
    "torch.ops",
    "torch.package",
    "torch.save",
    "torch.serialization",
    "torch.storage",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
)
"""Names below the allowed prefixes that run code, load pickles or write files."""


def refusal(target: str, plugins: Sequence[str], resolver: Resolver) -> str:
    """Why the target may not be named; empty where it may."""
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return "a target is a dotted name, such as torch.optim.AdamW or my_module.MyModel"
    if _below(target, REFUSED) and not _below(target, [name for name in plugins if _below(name, REFUSED)]):
        return "it can run code or load pickles"
    if _below(target, plugins):
        return ""
    if not _below(target, ALLOWED) and is_own(target, resolver):
        return ""
    if any(part.startswith("_") for part in parts):
        return "a name that begins with an underscore is private"
    if _below(target, ALLOWED):
        return ""
    return (
        f"allowed are {', '.join(ALLOWED)} and the modules of your own project; "
        f"plugins=[{parts[0]}] allows {parts[0]} as well"
    )


def is_trusted(module: str, plugins: Sequence[str]) -> bool:
    """Whether what this module defines may be reached under an allowed name."""
    return _below(module, (*ALLOWED, *plugins)) and not _below(module, REFUSED)


def closed(signature: Signature, target: str) -> Signature:
    """The signature, without the further keywords that the target takes and does nothing with."""
    return replace(signature, accepts_any=False) if _below(target, CLOSED) else signature


def is_own(target: str, resolver: Resolver) -> bool:
    """Whether the target's module lies in one of the project folders."""
    file = resolver.source(target)
    return file is not None and any(_inside(file, folder) for folder in resolver.folders)


def _inside(file: Path, folder: Path) -> bool:
    # A virtual environment or Python itself may lie below a project's folder: their modules are not its own.
    path = file.resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    python = Path(sysconfig.get_paths()["stdlib"]).resolve()
    return path.is_relative_to(folder.resolve()) and not installed and not path.is_relative_to(python)


def _below(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
