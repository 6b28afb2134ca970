"""From a configuration to objects, and what is said where that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.config.instantiate import (
    check_targets,
    guarded,
    instantiate,
    part,
    parts,
    target_nodes,
)

MADE = """
from trainer_cli.callbacks import Callback
from trainer_cli.config.errors import UserError


class Part:
    def __init__(self, size, name=None, labels=None, inner=None):
        if size < 0:
            raise ValueError(f"size is {size}")
        if size == 0:
            raise UserError("no size at all", right="a size")
        if size == 1:
            raise OSError("a disk")
        self.given = size, name, labels, inner


class Watcher(Part, Callback):
    pass


class Any:
    def __init__(self, **options):
        self.options = options
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules to name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    return tmp_path


def node(**keys: Any) -> dict[str, Any]:
    return {"_target_": "made.Part", **keys}


def problems(config: dict[str, Any]) -> list[str]:
    """What the second check has against a configuration, as one report."""
    with pytest.raises(UserError) as caught:
        check_targets({"plugins": ["made", "broken"], **config}, [])
    return [problem.block() for problem in caught.value.problems]


def test_offered_values_go_where_there_is_a_parameter_and_no_key() -> None:
    made = instantiate("model", node(size=2, name="own"), name="offered", labels=[1], tokenizer=3)
    assert made.given == (2, "own", [1], None)
    # A target that takes anything has asked for nothing.
    assert instantiate("model", {"_target_": "made.Any", "a": 1}, labels=[1]).options == {"a": 1}


def test_values_are_plain_and_inner_nodes_are_made() -> None:
    made = instantiate("model", node(size=2, name={"a": [1, {"b": 2}]}, inner=node(size=3)))
    assert type(made.given[1]) is dict and type(made.given[1]["a"]) is list
    assert made.given[3].given == (3, None, None, None)
    inner = instantiate("model", node(size=2, inner=node(size=3, _partial_=True))).given[3]
    assert inner(name="later").given == (3, "later", None, None)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", r"\${x}", "${", "$", "???x", r"\\${a}", "${a:${b}}"])
def test_text_is_meant_literally(text: str) -> None:
    assert instantiate("model", node(size=2, name=text, inner=[{"a": text}])).given == (
        2,
        text,
        None,
        [{"a": text}],
    )


def test_what_a_target_refuses_is_the_users_to_put_right() -> None:
    with pytest.raises(UserError, match=r"^model \(made.Part\) refuses its values: size is -3$"):
        instantiate("model", node(size=-3))
    with pytest.raises(UserError, match=r"refuses its values: .*missing 1 required .*'size'"):
        instantiate("model", node())
    # An inner part's refusal is told by the outer one's key: it is what the value stands in.
    with pytest.raises(UserError, match=r"^model \(made.Part\) refuses its values: .*size is -1"):
        instantiate("model", node(size=2, inner=node(size=-1)))


@pytest.mark.parametrize("inner", [False, True])
def test_what_a_target_says_itself_is_left_as_it_is(inner: bool) -> None:
    def sized(size: int) -> dict[str, Any]:
        return node(size=2, inner=node(size=size)) if inner else node(size=size)

    with pytest.raises(UserError) as caught:
        instantiate("model", sized(0))
    assert caught.value.block() == "error: no size at all\n  a size"
    # What is no refusal is no user's error either.
    with pytest.raises(OSError, match="a disk"):
        instantiate("model", sized(1))


def test_a_target_whose_parameters_python_cannot_tell_is_made_all_the_same() -> None:
    made = instantiate(
        "data", {"_target_": "collections.deque", "_args_": [[1, 2, 3]], "maxlen": 2}, labels=1
    )
    assert list(made) == [2, 3]


def test_named_parts_keep_their_order_and_null_is_left_out() -> None:
    nodes = {"b": node(size=2), "gone": None, "a": node(size=3)}
    nodes = {name: None if of is None else {**of, "_target_": "made.Watcher"} for name, of in nodes.items()}
    made = parts("callbacks", nodes, labels=[1])
    assert [(name, watcher.given) for name, watcher in made.items()] == [
        ("b", (2, None, [1], None)),
        ("a", (3, None, [1], None)),
    ]
    with pytest.raises(UserError, match=r"^callbacks.a \(made.Watcher\) refuses"):
        parts("callbacks", {"a": {**node(size=-1), "_target_": "made.Watcher"}})


def test_a_part_is_of_its_groups_kind() -> None:
    with pytest.raises(UserError) as caught:
        part("callbacks.a", node(size=2))
    first, *rest = caught.value.block().splitlines()
    assert first == "error: callbacks.a._target_ gives a Part, not a trainer_cli.callbacks.Callback"
    assert "callbacks takes a trainer_cli.callbacks.Callback" in rest[0]


@pytest.mark.parametrize(
    ("target", "defaults"),
    [
        ("transformers.AutoModel.from_pretrained", {"trust_remote_code": False, "use_safetensors": True}),
        ("transformers.AutoModelForCausalLM.from_config", {"trust_remote_code": False}),
        ("transformers.AutoTokenizer.from_pretrained", {"trust_remote_code": False}),
        ("transformers.BertModel.from_pretrained", {"use_safetensors": True}),
        ("transformers.BertConfig.from_pretrained", {}),
        ("torch.nn.Linear", {}),
        ("made.Part", {}),
    ],
)
def test_what_transformers_loads_is_neither_unpickled_nor_run_unasked(
    target: str, defaults: dict[str, bool]
) -> None:
    node = {"_target_": target, "x": [{"y": {"_target_": target, "trust_remote_code": True}}]}
    found = guarded(node)
    assert {name: value for name, value in found.items() if name not in node} == defaults
    inner = {**defaults, "_target_": target, "trust_remote_code": True}
    assert found["x"] == [{"y": inner}]


def test_nodes_are_found_at_any_depth_with_their_keys() -> None:
    deep = {"_target_": "c"}
    config = {"a": {"_target_": "a", "x": [1, {"_target_": "b", "y": deep}]}, "n": {"m": [[deep]]}, "s": "t"}
    assert [(where, node["_target_"]) for where, node in target_nodes(config)] == [
        ("a", "a"),
        ("a.x.1", "b"),
        ("a.x.1.y", "c"),
        ("n.m.0.0", "c"),
    ]


def test_the_second_check_puts_all_it_finds_in_one_report() -> None:
    first, second, third, fourth = problems(
        {
            "model": {"inner": node(sise=2)},
            "data": {"_target_": "broken.Rows"},
            "loss": {"_target_": "made.Nothing"},
        }
    )
    assert (
        "model.inner.sise: made.Part has no parameter sise" in first
        and "did you mean model.inner.size?" in first
    )
    assert second.startswith("model.inner.size is missing")
    assert third.startswith("data._target_=broken.Rows cannot be imported: ")
    assert "division by zero" in third
    assert fourth.startswith("loss._target_=made.Nothing cannot be imported: ")


def test_what_the_runner_offers_is_not_missing() -> None:
    check_targets({"plugins": ["made"], "model": {"inner": node(size=2)}, "metrics": {"a": None}}, [])
    torch = {"_target_": "torch.optim.SGD", "lr": 1.0}
    check_targets({"plugins": [], "optim": torch}, [])
    (only,) = problems({"callbacks": {"a": torch}})
    assert only.startswith("callbacks.a._target_ may not name torch.optim.SGD")
