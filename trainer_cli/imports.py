"""What a run leaves unimported until something uses it: a fifth of the time to the first step."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Function = Callable[..., Any]

COMPILER = "torch._dynamo"

NEEDED = f"{COMPILER}._trace_wrapped_higher_order_op"
"""The one file of torch.compile that transformers' modelling code imports; it can do without the rest."""


class Compiler(ModuleType):
    """torch._dynamo before anything compiles: its decorators; it is executed when more is asked of it."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(COMPILER)
        self.__spec__, self.__loader__, self.__file__ = spec, spec.loader, spec.origin
        self.__path__ = list(spec.submodule_search_locations or ())
        self._marked: list[tuple[str, Function]] = []
        self.disable = disable
        self.graph_break = graph_break
        self.allow_in_graph = functools.partial(self._mark, "allow_in_graph")
        self.assume_constant_result = functools.partial(self._mark, "assume_constant_result")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._execute(), name)

    def _mark(self, decorator: str, function: Function) -> Function:
        self._marked.append((decorator, function))
        return function

    def _execute(self) -> ModuleType:
        """Become the module that a plain import would have made."""
        marked, spec = self._marked, self.__spec__
        assert spec is not None and spec.loader is not None
        kept = ("__name__", "__spec__", "__loader__", "__file__", "__path__")
        own = {name: value for name, value in vars(self).items() if name in kept or name == NEEDED[14:]}
        vars(self).clear()
        vars(self).update(own)
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        for decorator, function in marked:
            getattr(self, decorator)(function)
        return self


class CompilerParts(MetaPathFinder, Loader):
    """Executes torch._dynamo before any other of its submodules is imported, as Python itself would."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """None, for the next finder to go on, unless executing it has brought the submodule already."""
        if not name.startswith(COMPILER + ".") or name == NEEDED or not is_deferred():
            return None
        sys.modules[COMPILER]._execute()
        return ModuleSpec(name, self) if name in sys.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that is there."""
        spec.loader_state = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def defer_compiler() -> None:
    """Import torch, but torch.compile's half of it only when something compiles.

    Every optimizer, and transformers, import `torch._dynamo` for decorators that mean nothing until then.
    """
    import torch

    if COMPILER in sys.modules or (spec := importlib.util.find_spec(COMPILER)) is None:
        return
    sys.modules[COMPILER] = torch._dynamo = Compiler(spec)
    sys.meta_path.insert(0, CompilerParts())


def is_deferred() -> bool:
    """Whether torch._dynamo still waits to be executed."""
    return isinstance(sys.modules.get(COMPILER), Compiler)


def graph_break(msg: str = "") -> None:
    """As torch's own, which does nothing where nothing is traced."""


def disable(function: Function | None = None, recursive: bool = True, **options: Any) -> Function:
    """torch._dynamo.disable, from the first call on at which that module is executed."""
    if function is None:
        return functools.partial(disable, recursive=recursive, **options)
    real: list[Function] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not real and is_deferred():
            return function(*args, **kwargs)
        if not real:
            real.append(importlib.import_module(COMPILER).disable(function, recursive, **options))
        return real[0](*args, **kwargs)

    return call


@functools.cache
def trim_transformers() -> None:
    """Import transformers, which then leaves out what no text model in a single process uses.

    That is scipy, which its losses of object detection call, and torch's tensors spread over processes.
    """
    import transformers
    from transformers.utils import import_utils

    # It reads every file of its models folder, twice: under two spellings of the folder's name.
    scan = import_utils.create_import_structure_from_path
    import_utils.create_import_structure_from_path = lambda path: scan(
        Path(path).parent if Path(path).is_file() else Path(path)
    )
    if "RANK" not in os.environ:
        for module in (import_utils, transformers.utils):
            for question in ("is_torch_distributed_available", "is_scipy_available"):
                setattr(module, question, lambda: False)
