"""Names and places: what a folder of runs may be called, and that no empty text is taken for a place."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from trainer_cli.config.errors import Problem
from trainer_cli.config.sources import Sources

FOLDERS = {"run.name": "args.output_dir", "sweep.name": "the run's name"}
"""Keys that name a folder, and what it is below."""

PLACES = (
    "resume",
    "args.output_dir",
    "model.pretrained",
    "data.train_file",
    "data.eval_file",
    "data.test_file",
    "data.source",
    "data.tokenizer",
    "data.cache",
    "hub.repo_id",
)
"""Keys whose text, or each of whose texts, leads to a file, a directory or a repository."""

LONGEST = 255
"""Bytes of a file's name, on all common file systems."""

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that are not seen, or that turn what is."""

UNSET = "is it a variable of the shell that is not set?"


def misnamed(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """The problems of a configuration's names and places."""
    for key, above in FOLDERS.items():
        name = _value(config, key)
        if isinstance(name, str) and (why := _folder(name)):
            what = f"{key}={shown(name)} is no folder below {above}: {why}"
            yield Problem(what, sources.where(key), f"{key}=mine", key)
    for key in PLACES:
        for text in _texts(_value(config, key)):
            if not text.strip():
                what = f"{key} is empty text, which is no place"
                instead = "args.output_dir=outputs" if key == "args.output_dir" else f"{key}=null"
                yield Problem(what, sources.where(key), f"{UNSET} {instead}, or leave it out", key)
            elif any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
                what = f"{key}={shown(text)} has a control character"
                yield Problem(what, sources.where(key), f"{key}=PLACE, of characters that can be seen", key)


def shown(text: str) -> str:
    """The text with what cannot be seen in it as escapes."""
    text = text if len(text) <= 60 else f"{text[:40]}…{text[-10:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) or "''"


def _folder(name: str) -> str:
    """Why it is no name of a folder; empty where it is one."""
    if not name.strip():
        return f"it is empty; {UNSET}"
    if os.path.isabs(name):
        return "it is a path from the root"
    for part in name.split("/"):
        if not part:
            return "a name is missing before or after a slash"
        if part == "..":
            return "it leads out of it"
        if part.startswith("."):
            return "it is hidden by its dot, and nothing would find the runs in it"
        if part != part.strip() or part.endswith("."):
            return "it ends with a dot, or begins or ends with a blank"
        if any(unicodedata.category(character) in INVISIBLE for character in part):
            return "it has a character that cannot be seen"
        if len(os.fsencode(part)) > LONGEST:
            return f"a name has at most {LONGEST} bytes"
    return ""


def _value(config: Mapping[str, Any], key: str) -> Any:
    """The value of a key; None where it is not there."""
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _texts(value: Any) -> Iterator[str]:
    """A text, or those of a list or mapping."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, Mapping):
        yield from (item for item in value.values() if isinstance(item, str))
