"""Whose an error is: the line of the user's own code, and what refuses values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.config.instantiate import check_targets, instantiate
from trainer_cli.config.own_code import failure, is_refusal, raised_in

OWN = """\
from dataclasses import dataclass

from torch import nn, optim


class Net(nn.Module):
    def __init__(self, how=""):
        super().__init__()
        if how == "bug":
            [1, 2].index(7)
        elif how == "refused":
            raise ValueError("how is refused")
        elif how == "helper":
            refuse("how")
        elif how == "torch":
            optim.SGD([], lr=1.0)
        elif how == "kind":
            raise KeyError("how")


def refuse(name):
    raise TypeError(f"{name} is deep down")


def make(how):
    if how != "made":
        raise ValueError("made is all there is")
    return how


@dataclass
class Rows:
    size: int

    def __post_init__(self):
        if self.size < 0:
            raise ValueError("a negative size")


class Holder:
    def __init__(self, part):
        self.part = part
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def raised(node: dict[str, Any], **offered: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        instantiate("model", node, **offered)
    return caught.value


def line_of(text: str) -> int:
    return OWN[: OWN.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("node", "what", "place"),
    [
        ({"_target_": "own.Net", "how": "refused"}, "how is refused", ("raise ValueError(", "Net.__init__")),
        ({"_target_": "own.make", "how": 1}, "made is all there is", ('raise ValueError("made', "make")),
        (
            {"_target_": "own.Rows", "size": -1},
            "a negative size",
            ('raise ValueError("a neg', "Rows.__post_"),
        ),
        (
            {"_target_": "own.Holder", "part": {"_target_": "own.Net", "how": "refused"}},
            "how is refused",
            ("raise ValueError(", "Net.__init__"),
        ),
        ({"_target_": "own.Net", "which": 1}, "unexpected keyword argument 'which'", None),
        ({"_target_": "own.make"}, "missing 1 required positional argument: 'how'", None),
        ({"_target_": "torch.optim.SGD", "params": [], "lr": 0.1}, "empty parameter list", None),
        ({"_target_": "torch.nn.MultiheadAttention", "embed_dim": 10, "num_heads": 3}, "divisible", None),
        ({"_target_": "trainer_cli.callbacks.EarlyStopping", "patience": "x"}, "", None),
    ],
    ids=lambda value: value.get("_target_", "") if isinstance(value, dict) else "",
)
def test_a_refusal_is_the_configurations(
    node: dict[str, Any], what: str, place: tuple[str, str] | None
) -> None:
    error = raised(node)
    assert isinstance(error, UserError)
    (problem,) = error.problems
    assert (
        problem.what.startswith(f"model ({node['_target_']}) refuses its values: ") and what in problem.what
    )
    if place is None:
        assert problem.right == ""
    else:
        assert problem.right.startswith(f"raised in: own.py:{line_of(place[0])}, in {place[1]}")


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("bug", ValueError, "[1, 2].index(7)"),
        ("helper", TypeError, "raise TypeError("),
        ("torch", ValueError, "optim.SGD([], lr=1.0)"),
        ("kind", KeyError, "raise KeyError("),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_an_error_in_the_users_code_is_no_refusal(
    how: str, kind: type[Exception], text: str, inner: bool
) -> None:
    node: dict[str, Any] = {"_target_": "own.Net", "how": how}
    error = raised({"_target_": "own.Holder", "part": node} if inner else node)
    assert type(error) is kind and not is_refusal(error)
    where, source = raised_in(error).splitlines()
    assert where.startswith(f"raised in: own.py:{line_of(text)}, in ") and source.strip().startswith(text)


def test_what_is_said_is_a_block_with_the_line_and_all_of_it_on_demand() -> None:
    error = raised({"_target_": "own.Net", "how": "bug"})
    error.add_note("in stage 3 of 11, model resolution")
    assert failure(error, traceback=False) == (
        "the run failed: ValueError: 7 is not in list\n"
        "  raised in: own.py:10, in Net.__init__\n"
        "      [1, 2].index(7)\n"
        "  in stage 3 of 11, model resolution\n"
        "  --traceback shows the calls that led there"
    )
    long = failure(error, traceback=True)
    assert long.startswith("Traceback") and long.endswith("the run failed: ValueError: 7 is not in list")


def test_an_error_of_a_library_has_its_traceback() -> None:
    error = raised({"_target_": "torch.nn.Linear", "in_features": -1, "out_features": 2})
    assert isinstance(error, RuntimeError) and raised_in(error) == ""
    assert failure(error, traceback=False).startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError: division by zero", "raised in: broken.py:2\n    1 / 0"),
        (
            "import torch\nimport none_such\n",
            "ModuleNotFoundError: No module named 'none_such'",
            "broken.py:2",
        ),
        ("from own import Nett\n", "ImportError: cannot import name 'Nett'", "raised in: broken.py:1"),
    ],
)
def test_a_module_that_cannot_be_imported_says_where(
    folder: Path, text: str, what: str, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(UserError) as caught:
        check_targets({"plugins": [], "model": {"_target_": "broken.Net"}}, [folder])
    (problem,) = caught.value.problems
    assert problem.what.startswith(f"model._target_=broken.Net cannot be imported: {what}")
    assert place in problem.right
    assert capfd.readouterr().err == ""
