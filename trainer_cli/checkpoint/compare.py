"""Two checkpoints compared bit by bit: tensors by name, JSON by key, any other file as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from trainer_cli import durable
from trainer_cli.checkpoint.store import MANIFEST, digest


@dataclass(frozen=True)
class Comparison:
    """What two checkpoints have in a file of the same name: `count` parts, and how each that differs does."""

    file: str
    count: int
    differing: dict[str, str]


def compare(expected: Path, actual: Path) -> list[Comparison]:
    """A comparison of each file that either has, the model's first; of the manifests none."""
    names = {path.relative_to(root).as_posix() for root in (expected, actual) for path in root.rglob("*")}
    files = [name for name in names if (expected / name).is_file() or (actual / name).is_file()]
    files.sort(key=lambda name: (not name.startswith("model"), not name.endswith(".safetensors"), name))
    return [compare_file(name, expected / name, actual / name) for name in files if name != MANIFEST]


def compare_file(name: str, expected: Path, actual: Path) -> Comparison:
    """The comparison of one file."""
    if not (expected.is_file() and actual.is_file()):
        return Comparison(name, 1, {"": "is missing" if expected.is_file() else "is not expected"})
    if name.endswith(".safetensors"):
        return compare_tensors(name, expected, actual)
    if name.endswith(".json"):
        return compare_json(name, expected, actual)
    return Comparison(name, 1, {} if digest(expected) == digest(actual) else {"": "has other bytes"})


def compare_tensors(name: str, expected: Path, actual: Path) -> Comparison:
    """The tensors of two files, one after the other: no more than two of them are in memory."""
    with safe_open(expected, "pt") as first, safe_open(actual, "pt") as second:
        there, here = set(first.keys()), set(second.keys())
        differing = {}
        for key in sorted(there | here):
            if key not in there & here:
                differing[key] = "is missing" if key in there else "is not expected"
            elif (how := difference(first.get_tensor(key), second.get_tensor(key))) is not None:
                differing[key] = how
    return Comparison(name, len(there | here), differing)


def difference(expected: Tensor, actual: Tensor) -> str | None:
    """How two tensors differ; None where they are the same to the bit."""
    if (expected.dtype, expected.shape) != (actual.dtype, actual.shape):
        forms = [
            f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            for tensor in (actual, expected)
        ]
        return f"is {forms[0]}, not {forms[1]}"
    if torch.equal(as_bytes(expected), as_bytes(actual)):
        return None
    gaps = (expected.double() - actual.double()).abs()
    share = (gaps != 0).float().mean()  # NaN counts as other than itself
    return f"differs by up to {gaps.max():.2g}, in {share:.0%} of its values"


def as_bytes(tensor: Tensor) -> Tensor:
    """The tensor's values as bytes, on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def compare_json(name: str, expected: Path, actual: Path) -> Comparison:
    """The values of two JSON files, by dotted keys."""
    there, here = (dict(leaves(durable.read_json(path))) for path in (expected, actual))
    keys = dict.fromkeys([*there, *here])
    differing = {
        key: f"is {shortened(here.get(key))}, not {shortened(there.get(key))}"
        for key in keys
        if there.get(key) != here.get(key)
    }
    return Comparison(name, len(keys), differing)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every value that is no mapping, as text, with its dotted key."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{key}.{name}" if key else name)
    else:
        yield key, json.dumps(value)


def shortened(text: str | None) -> str:
    """A value's text, as much of it as fits into a line."""
    if text is None:
        return "absent"
    return text if len(text) <= 40 else f"{text[:36]}…"
