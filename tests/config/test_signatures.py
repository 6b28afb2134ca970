from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.signatures import NoTarget, Resolver, Signature, from_callable


def signature(target: str) -> Signature:
    found = Resolver([Path.cwd()]).signature(target)
    assert found is not None
    return found


def names(target: str) -> list[str]:
    return [parameter.name for parameter in signature(target).parameters]


def test_a_constructor_is_found_in_a_base_class(project: Any) -> None:
    net = signature("parts.Net")
    assert [p.name for p in net.parameters] == ["width", "labels", "depth"]
    assert [p.default for p in net.parameters] == [None, None, "2"]
    assert str(net.parameters[0].kind) == "a whole number >= 1"
    assert net.parameters[0].doc == "units of a layer"
    assert net.parameters[2].doc == "how many layers there are"
    assert (net.doc, net.module) == ("A net of its own.", "parts")


def test_a_dataclass_takes_its_fields(project: Any) -> None:
    project.write(
        "shapes.py",
        """
        import dataclasses
        from dataclasses import dataclass, field
        from typing import ClassVar
        from parts import Rows

        @dataclasses.dataclass(frozen=True)
        class More(Rows):
            count: ClassVar[int] = 0
            made: int = field(init=False, default=0)
            names: list[str] = field(default_factory=list)
            order: str = "none"
        """,
    )
    more = signature("shapes.More")
    assert [(p.name, p.default) for p in more.parameters] == [
        ("rows", None),
        ("order", "'none'"),
        ("path", "None"),
        ("names", "list"),
    ]


def test_of_a_function_with_overloads_it_is_the_function_itself(project: Any) -> None:
    project.write(
        "overloaded.py",
        """
        from typing import Literal, overload

        @overload
        def load(path: str, streaming: Literal[False] = False) -> list[int]: ...
        @overload
        def load(path: str, *, streaming: Literal[True]) -> int: ...
        def load(path: str, streaming: bool = False) -> list[int] | int:
            return 0
        """,
    )
    load = signature("overloaded.load")
    assert [(p.name, str(p.kind)) for p in load.parameters] == [
        ("path", "text"),
        ("streaming", "true or false"),
    ]


def test_functions_methods_and_names_imported_elsewhere(project: Any) -> None:
    project.write(
        "pkg/__init__.py", "from .inner import Made as Thing\nfrom .inner import *\nfrom . import inner\n"
    )
    project.write(
        "pkg/inner.py",
        """
        Kind = "int | None"
        class Made:
            def __init__(self, a): ...
            @classmethod
            def from_file(cls, path: str, *, strict: Kind = None): ...
            @staticmethod
            def make(b): ...
        class Child(Made): ...
        if True:
            def chosen(c, /, d, *e, f=1): ...
        Alias = Child
        """,
    )
    assert names("pkg.Thing") == names("pkg.inner.Alias") == names("pkg.Alias") == ["a"]
    assert names("pkg.Thing.from_file") == names("pkg.Child.from_file") == ["path", "strict"]
    assert str(signature("pkg.Thing.from_file").parameters[1].kind) == "a whole number or null"
    assert names("pkg.Thing.make") == ["b"]
    assert names("pkg.chosen") == names("pkg.inner.chosen") == ["d", "f"]
    assert signature("parts.Open").accepts_any


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("torch.optim.AdamW", {"params", "lr", "betas", "eps", "weight_decay", "fused"}),
        ("torch.optim.SGD", {"params", "lr", "momentum", "nesterov"}),
        ("torch.nn.CrossEntropyLoss", {"weight", "label_smoothing"}),
        ("torch.nn.Linear", {"in_features", "out_features", "bias"}),
        ("torch.utils.data.TensorDataset", set()),
    ],
)
def test_torch_is_read_without_an_import(target: str, expected: set[str]) -> None:
    assert expected <= set(names(target))
    assert not signature(target).accepts_any


def test_what_only_an_import_can_tell_is_unknown(project: Any) -> None:
    project.write("lazy.py", "def __getattr__(name): ...\n")
    project.write("odd.py", "import functools\nPart = functools.partial(int)\nfrom nowhere import Thing\n")
    project.write("child.py", "from odd import Thing\nclass Child(Thing): ...\n")
    for target in ("lazy.Any", "odd.Part", "odd.Thing", "child.Child", "math.sqrt"):
        assert Resolver([Path.cwd()]).signature(target) is None


@pytest.mark.parametrize(
    ("target", "says", "hint"),
    [
        ("parts.Nett", "no Nett in parts", "parts.Net"),
        ("torch.optim.AdamWW", "no AdamWW in torch.optim", "torch.optim.AdamW"),
        ("nowhere.Thing", "no module nowhere", ""),
        ("torch.optim", "torch.optim is a module", ""),
        ("parts.Net.missing", "Net has no missing", ""),
        ("parts.function.x", "is a function", ""),
        ("parts.os.system", "goes through another module", "os.system"),
        ("broken.Thing", "^broken.py:1 is not Python: invalid syntax", "def :"),
        ("packed.Thing", "^packed/__init__.py:2 is not Python: '\\(' was never closed", "x = ("),
        ("binary.Thing", "^binary.py.* is not Python", ""),
        ("null.Thing", "^null.py is not Python", ""),
        ("spaced.nets.Net", "no nets in spaced", "spaced.net"),
        ("whole.nets.Net", "no nets in whole", "whole.net"),
    ],
)
def test_a_name_that_is_not_there(project: Any, target: str, says: str, hint: str) -> None:
    project.write("broken.py", "def :\n")
    project.write("packed/__init__.py", "y = 1\nx = (\n")
    (Path.cwd() / "binary.py").write_bytes(b"\xff\xfe")
    (Path.cwd() / "null.py").write_bytes(b"x = 1\0")
    project.write("spaced/net.py", "class Net: ...\n")
    project.write("whole/__init__.py", "")
    project.write("whole/net.py", "class Net: ...\n")
    with pytest.raises(NoTarget, match=says) as error:
        Resolver([Path.cwd()]).signature(target)
    assert hint in error.value.hint


def test_a_source_says_itself_how_it_is_encoded(project: Any) -> None:
    text = "# coding: latin-1\ndef caf\xe9(size: int) -> None: ...\n"
    (Path.cwd() / "latin.py").write_bytes(text.encode("latin-1"))
    (Path.cwd() / "marked.py").write_bytes(b"\xef\xbb\xbf" + b"def part(size: int) -> None: ...\n")
    assert names("latin.caf\xe9") == names("marked.part") == ["size"]


def test_a_circle_of_imports_ends(project: Any) -> None:
    project.write("one.py", "from two import Thing\n")
    project.write("two.py", "from one import Thing\n")
    assert Resolver([Path.cwd()]).signature("one.Thing") is None


def test_an_imported_callable_is_read_alike() -> None:
    def made(a: int, *args: Any, b: float | None = None, **rest: Any) -> None: ...

    found = from_callable(made)
    assert found is not None
    assert [(p.name, str(p.kind), p.default) for p in found.parameters] == [
        ("a", "a whole number", None),
        ("b", "a number or null", "None"),
    ]
    assert found.accepts_any
    assert from_callable(dict) is None


def test_a_package_whose_import_changed_where_it_is_searched_is_read_all_the_same() -> None:
    import transformers
    from transformers import Trainer  # noqa: F401

    assert transformers.__spec__ is not None
    signature = Resolver(()).signature("transformers.optimization.Adafactor")
    assert signature is not None and signature.parameter("clip_threshold")
