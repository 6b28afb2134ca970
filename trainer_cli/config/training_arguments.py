"""The arguments of the Hugging Face Trainer as a file has them: JSON or YAML, and never a pickle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import ARGUMENTS, OLD
from trainer_cli.config.places import read as read_yaml
from trainer_cli.config.types import Kind, Mismatch, coerce

_UNPICKLE = """\
where you trust it, Python writes its values as JSON:
  import pathlib, torch
  args = torch.load({file!r}, weights_only=False)
  pathlib.Path("training_args.json").write_text(args.to_json_string())"""

_ENUM = re.compile(r"(?:Interval|Save|Hub)Strategy\.|SchedulerType\.|OptimizerNames\.|DebugOption\.")
_MEMBERS = {
    "adamw_bnb": "adamw_bnb_8bit",
    "lion": "lion_32bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_ademamix": "paged_ademamix_32bit",
    "paged_lion": "paged_lion_32bit",
    "rmsprop_8bit": "rmsprop_bnb_8bit",
    "rmsprop_32bit": "rmsprop_bnb_32bit",
    "reduce_on_plateau": "reduce_lr_on_plateau",
}
"""The members of transformers' enumerations whose value is not their name in small letters."""

_NOTHING: dict[str, tuple[Any, ...]] = {
    "activation_checkpointing": (False,),
    "gradient_checkpointing": (False,),
    "disable_tqdm": (False,),
    "include_num_input_tokens_seen": (False,),
    "report_to": ([], ["none"]),
    "debug": ([],),
    "lr_scheduler_kwargs": ({},),
    "fsdp": ("", [], False),
    "hub_token": ("<HUB_TOKEN>",),
    "push_to_hub_token": ("<PUSH_TO_HUB_TOKEN>",),
}
"""Values that mean the default, as transformers itself or its version 4 writes it."""

_SWITCHES = {word: True for text in ("yes", "on") for word in (text, text.title(), text.upper())} | {
    word: False for text in ("no", "off") for word in (text, text.title(), text.upper())
}

_ACCELERATOR = {"even_batches": True, "use_seedable_sampler": True}
"""What is true in accelerate's own configuration; all else in it is false or null."""


def read(path: Path) -> dict[str, Any]:
    """The arguments in a file of JSON or YAML; raises UserError for any other, a pickle unopened."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith((b"PK", b"\x80")) or b"\0" in content:
        what = f"{path} is a pickle, which can run any code when it is opened, so it is not"
        raise UserError(what, right=_UNPICKLE.format(file=str(path)))
    try:
        values = durable.parse_json(content)
    except (ValueError, UnicodeDecodeError):
        # Transformers reads YAML 1.1, where these are true and false.
        found = read_yaml(path).values if content.strip() else {}
        values = {name: _SWITCHES.get(str(item), item) for name, item in found.items()}
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a mapping of arguments to values")
    return {str(name): value for name, value in values.items()}


def changed(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that differ from transformers' defaults, each value as its field has it."""
    found = {}
    for name, value in given.items():
        argument = ARGUMENTS.get(name) or OLD.get(name)
        if argument is None:
            found[name] = value
            continue
        value = argument.default if value is None else _as_field(value, argument.default)
        if value != argument.default and not _is_nothing(name, value):
            found[name] = value
    if found.get("do_eval") and not found.get("do_train") and "eval_strategy" in found:
        del found["do_eval"]  # transformers sets it wherever there are evaluations while training
    return found


def _as_field(value: Any, default: Any) -> Any:
    """An enumeration's member as its value, and text as the number or truth value that the field holds."""
    if isinstance(value, str) and _ENUM.match(value):
        member = value.split(".")[1].lower()
        return _MEMBERS.get(member, member)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, str) and isinstance(default, int | float):
        try:
            number: float = coerce(value, Kind("float"))
        except Mismatch:
            return value
        return int(number) if number.is_integer() and isinstance(default, int) else number
    return value


def _is_nothing(name: str, value: Any) -> bool:
    if name == "accelerator_config" and isinstance(value, dict):
        return all(bool(item) == _ACCELERATOR.get(key, False) for key, item in value.items())
    if name == "fsdp_config" and isinstance(value, dict):
        return not any(value.values())
    return any(value == nothing and type(value) is type(nothing) for nothing in _NOTHING.get(name, ()))


def mapping(value: Any) -> dict[str, Any]:
    """A field that is a mapping, JSON text, or `k=v,k=v`; raises UserError for anything else."""
    if isinstance(value, dict):
        return value
    text = str(value).strip()
    try:
        if text.startswith("{"):
            found: dict[str, Any] = json.loads(text)
            return found
        pairs = dict(item.split("=", 1) for item in text.replace(" ", "").split(",") if item)
        return {name: _scalar(item) for name, item in pairs.items()}
    except (ValueError, YAMLError, OmegaConfBaseException):
        raise UserError(f"{value!r} is neither a mapping nor key=value,key=value") from None


def _scalar(text: str) -> Any:
    """The value that a text stands for in a recipe."""
    read: Any = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=True)
    return read["value"]
