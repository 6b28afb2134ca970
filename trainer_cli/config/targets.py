"""Which names a `_target_` may name: what its group takes, the user's own modules, and `plugins`."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_cli.config.nearest import one_edit
from trainer_cli.config.offers import NESTED, PACKAGES, PARTS, fitting, full_name, is_offered, of
from trainer_cli.config.places import chosen
from trainer_cli.config.signatures import NoTarget, Resolver, Signature, modules_in

CLOSED = ("pytorch_optimizer",)
"""Prefixes whose constructors take any further keyword and do nothing with it."""

UNPICKLES = {"weights_only": False, "use_safetensors": False, "allow_pickle": True}
"""Arguments with the value by which a package unpickles what it loads: nothing here does."""

BUILDERS = ("pandas", "generator", "spark", "sql")
"""What datasets.load_dataset calls its readers of pickles, of code and of databases."""


def refusal(target: str, plugins: Sequence[str], resolver: Resolver, group: str = "") -> str:
    """Why the target may not be named for a part of the group; empty where it may.

    Without a group it stands within an argument.
    """
    if not _is_dotted(target):
        return "a target is a dotted name, such as torch.optim.AdamW or my_module.MyModel"
    if is_free(target, plugins, resolver) or any(fitting(target, of(group))):
        return ""
    absent = absence(target, resolver)
    if absent is not None:
        return f"{absent}\n{absent.hint}"
    if any(part.startswith("_") for part in target.split(".")):
        return "a name that begins with an underscore is private"
    return _otherwise(target, group)


def absence(target: str, resolver: Resolver) -> NoTarget | None:
    """Why there is no module of the target's, and where one of the user's own would be found; else None."""
    top = target.split(".")[0]
    found = resolver.absence(target) if _is_dotted(target) and top not in PACKAGES else None
    if found is None:
        return None
    searched = " or ".join(map(str, resolver.folders))
    what = f"{found}{f' in {searched}' if searched else ''}, and none is installed"
    return NoTarget(what, found.hint or _way_to(target, resolver.folders))


def _is_dotted(target: str) -> bool:
    parts = target.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _way_to(target: str, folders: Sequence[Path]) -> str:
    """How a module that is in none of the folders becomes one of the project's, or of a package."""
    top, *rest = target.split(".")
    files = [Path(f"{top}.py"), Path(top, "__init__.py")]
    if rest[1:]:
        files.append(Path(top, *rest[:-1]).with_suffix(".py"))
    for folder in folders:
        above = (home for home in folder.parents if any(os.path.isfile(home / file) for file in files))
        inside = (path.parents[len(file.parts) - 1] for file in files for path in folder.glob(f"*/{file}"))
        for home in (*above, *sorted(inside)):
            return f"one lies in {home}; if it is yours: {chosen(home)}"
    names = dict.fromkeys((*modules_in(map(str, folders)), *PACKAGES))
    if near := [".".join([name, *rest]) for name in names if one_edit(top, name)]:
        return f"did you mean {' or '.join(near)}?"
    return (
        f"yours: --config-dir DIR, with DIR the folder of {top}.py or {top}/ and of configs/ or recipes/;\n"
        "without these, start from there: cd DIR\n"
        f"a package's: once that is installed, plugins=[{top}] allows it"
    )


def is_free(target: str, plugins: Sequence[str], resolver: Resolver) -> bool:
    """Whether the target may be anything of its module's: `plugins` has it, or it is the user's own."""
    return below(target, plugins) or (target.split(".")[0] not in PACKAGES and is_own(target, resolver))


def is_at_home(target: str, made: Any, plugins: Sequence[str], resolver: Resolver) -> bool:
    """Whether what a free target stands for is no other module's, which may not be named itself."""
    if is_defined(target, resolver):
        return True
    name = full_name(made)
    return is_free(name, plugins, resolver) or is_offered(name, made, NESTED)


def is_defined(target: str, resolver: Resolver) -> bool:
    """Whether the source of the user's own modules has the definition of what the target names."""
    try:
        signature = resolver.signature(target)
    except NoTarget:
        return False
    return signature is not None and is_own(f"{signature.module}.x", resolver)


def _otherwise(target: str, group: str) -> str:
    """What would be right in the place of a target that may not be named."""
    lines = [takes(group)]
    # A model may be almost any of their classes, by its name.
    elsewhere = [
        f"{other} takes {target}"
        for other, part in PARTS.items()
        if other not in (group, "model") and any(fitting(target, part.offers))
    ]
    if elsewhere or not _may_have(target, group):
        return "\n".join([*lines, *elsewhere])
    module, _, _ = target.rpartition(".")
    plugin = module if target.split(".")[0] in PACKAGES else target.split(".")[0]
    return "\n".join([*lines, f"plugins=[{plugin}] allows {plugin} as well"])


def _may_have(target: str, group: str) -> bool:
    """Whether the target's package may have what the group takes: of those that are known, some have none."""
    top = target.split(".")[0]
    return not group or top not in PACKAGES or any(offer.pattern.startswith(f"{top}.") for offer in of(group))


def takes(group: str) -> str:
    """What a group takes, in words; without one, what an argument does."""
    if not group:
        return (
            f"an argument takes what the groups take, and plain parts of {', '.join(PACKAGES)}; or your own"
        )
    part = PARTS[group]
    packages = dict.fromkeys(offer.package for offer in part.offers)
    own = "your own modules"
    takes = f"{group} takes a {part.base} of {', '.join(packages)} or of {own}"
    return takes + (f"\n{part.hint}" if part.hint else "")


def is_reachable(module: str, plugins: Sequence[str], resolver: Resolver) -> bool:
    """Whether what this module defines may be reached under a name that another module gives it."""
    return below(module, (*PACKAGES, *plugins)) or is_own(f"{module}.x", resolver)


def unpickling(target: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of a node by which the package that it names would unpickle or run what it loads, and why."""
    yield from _unpickling(node)
    if target == "datasets.load_dataset":
        given = node.get("path", next(iter(node.get("_args_") or ()), None))
        if given is not None and not isinstance(given, str):
            yield "path", "it must be a text"
        elif given in BUILDERS or str(given).endswith(".py"):
            yield (
                "path",
                f"{given} is read by code or by unpickling; csv, json, parquet, arrow and text are not",
            )


def _unpickling(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if name in UNPICKLES and value is not None and bool(value) is UNPICKLES[name]:
            yield f"{prefix}{name}", "nothing that is loaded is unpickled: leave it out"
        elif isinstance(value, Mapping) and "_target_" not in value:
            yield from _unpickling(value, f"{prefix}{name}.")


def closed(signature: Signature, target: str) -> Signature:
    """The signature, without the further keywords that the target takes and does nothing with."""
    return replace(signature, accepts_any=False) if below(target, CLOSED) else signature


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


def below(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a dotted name is one of the prefixes, or below it."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
