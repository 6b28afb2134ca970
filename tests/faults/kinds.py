"""The kinds of damage that a checkpoint's files, and its directory, are tried with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file

from .bench import files

Damage = Callable[[Path, Path, Random], None]
"""Done to a file, with the file of the same name in an older checkpoint at hand."""


def flip(path: Path, place: int, bit: int) -> None:
    """Turn one bit."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def flip_near(where: str) -> Damage:
    """A bit turned in the first or the last eight bytes, or in between."""

    def damage(path: Path, older: Path, draw: Random) -> None:
        size = path.stat().st_size
        first, last = {"begin": (0, 7), "middle": (8, size - 9), "end": (size - 8, size - 1)}[where]
        flip(path, draw.randint(first, last), draw.randrange(8))

    return damage


def rewritten(change: Callable[[bytes, bytes, Random], bytes]) -> Damage:
    """The file with other bytes, made of its own and those of the older one."""

    def damage(path: Path, older: Path, draw: Random) -> None:
        path.write_bytes(change(path.read_bytes(), older.read_bytes(), draw))

    return damage


def zeroed(data: bytes, older: bytes, draw: Random) -> bytes:
    """A block of zeros where there was something else."""
    at = draw.choice([place for place in range(len(data)) if data[place]])
    return (data[:at] + bytes(64) + data[at + 64 :])[: len(data)]


def swapped_bytes(data: bytes, older: bytes, draw: Random) -> bytes:
    """Two neighbours that differ, in each other's place."""
    at = draw.choice([place for place in range(len(data) - 1) if data[place] != data[place + 1]])
    return data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]


def moved_block(data: bytes, older: bytes, draw: Random) -> bytes:
    """The first part once more in the second's place, as a disk that writes to the wrong block does."""
    half = len(data) // 2
    return data[:half] + data[: len(data) - half]


def half_old(data: bytes, older: bytes, draw: Random) -> bytes:
    """The first half of this file, and of the older one the rest."""
    return data[: len(data) // 2] + older[len(data) // 2 :]


def as_directory(path: Path, older: Path, draw: Random) -> None:
    """A directory of the file's name."""
    path.unlink()
    path.mkdir()


def as_link(target: str) -> Damage:
    """A symbolic link in the file's place: to nowhere, to itself or to the older file."""

    def damage(path: Path, older: Path, draw: Random) -> None:
        path.unlink()
        path.symlink_to({"nowhere": path.with_name("gone"), "itself": path, "older": older}[target])

    return damage


def under_another_name(path: Path, older: Path, draw: Random) -> None:
    """The file renamed."""
    path.rename(path.with_name(f"{path.name}.old"))


def swapped_with_another(path: Path, older: Path, draw: Random) -> None:
    """Two files of the checkpoint, each under the other's name."""
    other = draw.choice([found for found in sorted(path.parent.iterdir()) if found != path])
    data = other.read_bytes()
    other.write_bytes(path.read_bytes())
    path.write_bytes(data)


ANY_FILE: dict[str, Damage] = {
    "bit flipped near its begin": flip_near("begin"),
    "bit flipped in the middle": flip_near("middle"),
    "bit flipped near its end": flip_near("end"),
    "a block of zeros": rewritten(zeroed),
    "zeros alone": rewritten(lambda data, older, draw: bytes(len(data))),
    "random bytes": rewritten(lambda data, older, draw: draw.randbytes(len(data))),
    "empty": rewritten(lambda data, older, draw: b""),
    "one byte short": rewritten(lambda data, older, draw: data[:-1]),
    "half of it": rewritten(lambda data, older, draw: data[: len(data) // 2]),
    "its first byte alone": rewritten(lambda data, older, draw: data[:1]),
    "without its first byte": rewritten(lambda data, older, draw: data[1:]),
    "one byte more": rewritten(lambda data, older, draw: data + draw.randbytes(1)),
    "twice in a row": rewritten(lambda data, older, draw: data + data),
    "two bytes swapped": rewritten(swapped_bytes),
    "a block in the wrong place": rewritten(moved_block),
    "half of an older one": rewritten(half_old),
    "an older one": rewritten(lambda data, older, draw: older),
    "missing": lambda path, older, draw: path.unlink(),
    "under another name": under_another_name,
    "swapped with another": swapped_with_another,
    "a directory": as_directory,
    "a link to nowhere": as_link("nowhere"),
    "a link to itself": as_link("itself"),
    "a link to an older one": as_link("older"),
}


def tensors_changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """A file of tensors written again, whole in itself, with other tensors."""

    def damage(path: Path, older: Path, draw: Random) -> None:
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)

    return damage


def swap_alike(tensors: dict[str, torch.Tensor]) -> None:
    """Two tensors of one shape, each under the other's name."""
    for name, tensor in tensors.items():
        for other, candidate in tensors.items():
            if other != name and candidate.shape == tensor.shape and not torch.equal(candidate, tensor):
                tensors[name], tensors[other] = candidate, tensor
                return


TENSORS: dict[str, Damage] = {
    "a tensor missing": tensors_changed(lambda tensors: tensors.popitem()),
    "a tensor more": tensors_changed(lambda tensors: tensors.update(extra=torch.zeros(1))),
    "a tensor renamed": tensors_changed(lambda tensors: tensors.update(renamed=tensors.popitem()[1])),
    "two tensors swapped": tensors_changed(swap_alike),
    "a value not a number": tensors_changed(lambda tensors: next(iter(tensors.values())).fill_(torch.nan)),
    "tensors of half precision": tensors_changed(
        lambda tensors: tensors.update({name: tensor.half() for name, tensor in tensors.items()})
    ),
}


def json_changed(change: Callable[[dict[str, object], Random], object]) -> Damage:
    """A JSON file written again with other values."""

    def damage(path: Path, older: Path, draw: Random) -> None:
        values = json.loads(path.read_text())
        change(values, draw)
        path.write_text(json.dumps(values, indent=1))

    return damage


STATE: dict[str, Damage] = {
    "the step edited": json_changed(lambda state, draw: state["run"].update(step=state["run"]["step"] + 1)),
    "the position edited": json_changed(lambda state, draw: state["run"].update(samples=0)),
    "the best score edited": json_changed(lambda state, draw: state["run"].update(best_metric=-1.0)),
    "the schedule removed": json_changed(lambda state, draw: state.pop("scheduler")),
    "the generators removed": json_changed(lambda state, draw: state.update(generators=[])),
    "the callbacks removed": json_changed(lambda state, draw: state.update(callbacks={})),
    "another format": json_changed(lambda state, draw: state.update(format=99)),
    "written in many lines": rewritten(
        lambda data, older, draw: json.dumps(json.loads(data), indent=2).encode()
    ),
}


def entry_changed(**values: object) -> Damage:
    """A file's entry in the manifest with other values."""

    def change(manifest: dict[str, dict[str, dict[str, object]]], draw: Random) -> None:
        manifest["files"][draw.choice(sorted(manifest["files"]))].update(values)

    return json_changed(change)


def entry_of_older(path: Path, older: Path, draw: Random) -> None:
    """One of the older checkpoint's entries in the manifest."""
    manifest, before = json.loads(path.read_text()), json.loads(older.read_text())
    names = [name for name, entry in manifest["files"].items() if before["files"].get(name) != entry]
    name = draw.choice(sorted(names))
    manifest["files"][name] = before["files"][name]
    path.write_text(json.dumps(manifest, indent=1))


MANIFEST: dict[str, Damage] = {
    "an entry removed": json_changed(
        lambda manifest, draw: manifest["files"].pop(draw.choice(sorted(manifest["files"])))
    ),
    "all entries removed": json_changed(lambda manifest, draw: manifest.update(files={})),
    "an entry more": json_changed(
        lambda manifest, draw: manifest["files"].update(gone={"size": 0, "sha256": "0"})
    ),
    "a size edited": entry_changed(size=1),
    "a digest edited": entry_changed(sha256="0" * 64),
    "an entry of an older one": entry_of_older,
    "no files": json_changed(lambda manifest, draw: manifest.pop("files")),
    "a list": rewritten(lambda data, older, draw: b"[]"),
    "null": rewritten(lambda data, older, draw: b"null"),
    "another format": json_changed(lambda manifest, draw: manifest.update(format=99)),
}


def emptied(path: Path, older: Path) -> None:
    """An empty directory of its name."""
    shutil.rmtree(path)
    path.mkdir()


def as_file(path: Path, older: Path) -> None:
    """A file of its name."""
    shutil.rmtree(path)
    path.touch()


def linked(path: Path, older: Path) -> None:
    """A symbolic link to nowhere of its name."""
    shutil.rmtree(path)
    path.symlink_to(path.with_name("gone"))


def older_under_its_name(path: Path, older: Path) -> None:
    """The older checkpoint, whole, under its name."""
    shutil.rmtree(path)
    shutil.copytree(older, path)


DIRECTORY: dict[str, Callable[[Path, Path], None]] = {
    "an empty directory": emptied,
    "a file": as_file,
    "a link to nowhere": linked,
    "an older checkpoint": older_under_its_name,
}


def kinds_for(name: str) -> dict[str, Damage]:
    """Every kind of damage that a file of this name can have."""
    more = {"state.json": STATE, "manifest.json": MANIFEST}.get(name, {})
    return ANY_FILE | more | (TENSORS if name.endswith(".safetensors") else {})


def cases(checkpoint: Path) -> Iterator[tuple[str, str]]:
    """Every kind of damage on every file, and those of the directory, named `.`."""
    for name in sorted(files(checkpoint)):
        yield from ((name, kind) for kind in kinds_for(name))
    yield from ((".", kind) for kind in DIRECTORY)


def do(name: str, kind: str, checkpoint: Path, older: Path, draw: Random) -> None:
    """Damage a checkpoint."""
    if name == ".":
        DIRECTORY[kind](checkpoint, older)
        return
    kinds_for(name)[kind](checkpoint / name, older / name, draw)
