"""The arguments of the Hugging Face Trainer, as files and as text have them."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import ARGUMENTS
from trainer_cli.config.training_arguments import changed, mapping, read

VALUES = {"learning_rate": 3e-5, "fp16": True, "report_to": ["wandb"], "1": None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_and_yaml_hold_the_same_whatever_the_files_name(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "training_args.bin"
    file.write_text(json.dumps(VALUES), encoding=encoding)
    assert read(file) == VALUES
    file.write_text('learning_rate: 3e-5\nfp16: yes\nreport_to: [wandb]\n"1":\n', encoding=encoding)
    assert read(file) == VALUES


class Opened:
    """An object whose pickle says so when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_stays_closed(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "args.bin"
    file.write_bytes(pickle.dumps(Opened(), protocol))
    with pytest.raises(UserError) as caught:
        read(file)
    # The oldest is text, and not told from other text that is no mapping.
    assert ("is a pickle" in caught.value.block()) == (protocol >= 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04", "is a pickle"),
        (b"learning_rate\0: 1", "is a pickle"),
        (b"[1, 2]", "is not a mapping"),
        (b"3", "is not a mapping"),
        (b"a: 1\n- b", "is not YAML"),
        (b"a: \xff", "cannot be read"),
        (b"a: ${b", "a cannot be read"),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "args.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read(file)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_defaults_are_no_change_and_null_stands_for_them() -> None:
    assert changed({name: argument.default for name, argument in ARGUMENTS.items()}) == {}
    assert changed(dict.fromkeys(ARGUMENTS)) == {}
    assert (
        changed(
            {
                name: str(argument.default)
                for name, argument in ARGUMENTS.items()
                if isinstance(argument.default, bool | int | float)
            }
        )
        == {}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report_to", ["none"]),
        ("fsdp", False),
        ("fsdp", ""),
        ("fsdp_config", {"min_num_params": 0, "xla": False}),
        ("accelerator_config", {"split_batches": False, "even_batches": True, "gradient_state": None}),
        ("hub_token", "<HUB_TOKEN>"),
    ],
)
def test_what_transformers_writes_for_a_default_is_no_change(name: str, value: Any) -> None:
    assert changed({name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("learning_rate", "3e-05", 3e-5),
        ("max_steps", "7", 7),
        ("max_steps", "7.5", 7.5),
        ("learning_rate", "fast", "fast"),
        ("learning_rate", "inf", math.inf),
        ("max_steps", "-inf", -math.inf),
        ("fp16", "True", True),
        ("eval_strategy", "IntervalStrategy.STEPS", "steps"),
        ("optim", "OptimizerNames.ADAMW_BNB", "adamw_bnb_8bit"),
        ("accelerator_config", {"even_batches": False}, {"even_batches": False}),
        ("fsdp_config", {"min_num_params": 1}, {"min_num_params": 1}),
        ("no_such_argument", None, None),
    ],
)
def test_a_change_has_the_value_of_its_field(name: str, value: Any, found: Any) -> None:
    assert repr(changed({name: value})) == repr({name: found})


def test_a_rate_that_is_no_number_is_kept_as_it_is() -> None:
    assert math.isnan(changed({"learning_rate": "nan"})["learning_rate"])


@given(
    st.sampled_from([name for name, argument in ARGUMENTS.items() if type(argument.default) is float]),
    st.floats(allow_nan=False),
)
def test_a_number_is_the_same_as_a_number_and_as_text(name: str, number: float) -> None:
    assert changed({name: number}) == changed({name: str(number)})


def test_evaluation_that_the_cadence_implies_is_no_stage() -> None:
    assert changed({"eval_strategy": "steps", "do_eval": True}) == {"eval_strategy": "steps"}
    assert changed({"do_eval": True}) == {"do_eval": True}
    both = {"eval_strategy": "steps", "do_eval": True, "do_train": True}
    assert changed(both) == both


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": [1, null], "b": "x"}', {"a": [1, None], "b": "x"}),
        ("a=1e-3, b=true,c=null,d=x", {"a": 0.001, "b": True, "c": None, "d": "x"}),
        ("a=b=c,", {"a": "b=c"}),
        ("a=[0.5]", {"a": [0.5]}),
        ("a={b}", {"a": {"b": None}}),
        ("", {}),
    ],
)
def test_a_mapping_is_read_from_any_of_its_forms(value: Any, found: dict[str, Any]) -> None:
    result = mapping(value)
    assert result == found
    # Plain values alone can be written to a recipe.
    assert json.loads(json.dumps(result)) == found


@pytest.mark.parametrize("value", ["a", "a,b=1", "[1]", '{"a": ', [1, 2], 3, "a={b", "a=${b", "a=${b}"])
def test_what_is_no_mapping_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="is neither a mapping nor key=value,key=value"):
        mapping(value)
