"""Checkpoints on the disk: whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.checkpoint.store import (
    MANIFEST,
    MANIFEST_FORMAT,
    UNFINISHED,
    Checkpoints,
    as_written,
    verify,
)
from trainer_cli.config.errors import DiskFull


def fill(directory: Path) -> None:
    """What a run would write."""
    (directory / "weights.bin").write_bytes(bytes(range(100)))
    (directory / "sub").mkdir()
    (directory / "sub" / "state.json").write_text('{"step": 1}')


def saved(run_dir: Path, *steps: int, limit: int | None = None) -> Checkpoints:
    checkpoints = Checkpoints(run_dir, limit)
    for step in steps:
        checkpoints.save(step, 0, fill)
    return checkpoints


def test_a_saved_checkpoint_is_whole(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, None).save(12, 0, fill)
    assert path == tmp_path / "checkpoint-12"
    assert verify(path) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint-12"]
    assert json.loads((path / MANIFEST).read_text())["files"].keys() == {"weights.bin", "sub/state.json"}


def test_steps_are_in_order_of_number_and_nothing_else_is_one(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 100, 9, 20)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-7-copy").mkdir()
    assert checkpoints.steps() == [9, 20, 100]


def test_a_damaged_step_is_written_anew(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    (tmp_path / "checkpoint-3" / "weights.bin").write_bytes(b"")
    assert verify(checkpoints.save(3, 0, fill)) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_what_is_no_checkpoint_gives_way_to_one(tmp_path: Path, kind: str) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    if kind == "file":
        checkpoints.path(3).write_text("")
    else:
        checkpoints.path(3).symlink_to(checkpoints.path(1) if kind == "link" else tmp_path / "nowhere")
    assert verify(checkpoints.save(3, 0, fill)) is None
    assert checkpoints.newest() == (checkpoints.path(3), [])
    assert verify(checkpoints.path(1)) is None


def test_nothing_has_the_final_name_before_all_is_written(tmp_path: Path) -> None:
    def look(directory: Path) -> None:
        fill(directory)
        assert Checkpoints(tmp_path, None).steps() == []

    saved_path = Checkpoints(tmp_path, None).save(1, 0, look)
    assert saved_path.is_dir()


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(28, "No space left on device"), DiskFull),
        (RuntimeError("I/O error: No space left on device (os error 28)"), DiskFull),
        (OSError(5, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_writer_that_raises_leaves_nothing(
    tmp_path: Path, error: BaseException, seen: type[BaseException]
) -> None:
    def fail(directory: Path) -> None:
        fill(directory)
        raise error

    checkpoints = saved(tmp_path, 1)
    with pytest.raises(seen):
        checkpoints.save(2, 0, fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_committed_step_is_not_written_again(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)

    def never(_: Path) -> None:
        raise AssertionError("written again")

    assert checkpoints.save(3, 0, never) == tmp_path / "checkpoint-3"
    assert verify(tmp_path / "checkpoint-3") is None


def test_leftovers_of_a_dead_save_are_replaced_and_discarded(tmp_path: Path) -> None:
    for step in (1, 2):
        leftover = tmp_path / f"{UNFINISHED}checkpoint-{step}"
        leftover.mkdir()
        (leftover / "half").write_text("x")
    checkpoints = saved(tmp_path, 1)
    assert sorted(path.name for path in checkpoints.path(1).iterdir()) == [MANIFEST, "sub", "weights.bin"]
    assert checkpoints.steps() == [1]
    checkpoints.discard_unfinished()
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint-1"]


@pytest.mark.parametrize("kind", ["file", "link", "link to a directory"])
def test_what_is_no_directory_in_the_place_of_a_save_is_no_hindrance(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in ("checkpoint-1", "checkpoint-9"):
        place = run_dir / f"{UNFINISHED}{name}"
        if kind == "file":
            place.write_text("x")
        else:
            place.symlink_to(outside if kind == "link to a directory" else "nowhere")
    checkpoints = saved(run_dir, 1)
    assert verify(checkpoints.path(1)) is None
    checkpoints.discard_unfinished()
    assert [entry.name for entry in run_dir.iterdir()] == ["checkpoint-1"]
    assert (outside / "kept").exists()


def test_a_save_whose_directory_is_gone_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        saved(tmp_path / "gone", 1)
    assert caught.value.filename == str(tmp_path / "gone")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads what nobody may read")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-1" / "weights.bin").chmod(0)
    assert verify(tmp_path / "checkpoint-1") == "weights.bin cannot be read: Permission denied"


def test_a_manifest_that_cannot_be_read_is_no_missing_one(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-1" / MANIFEST).unlink()
    (tmp_path / "checkpoint-1" / MANIFEST).mkdir()
    assert verify(tmp_path / "checkpoint-1") == "manifest.json cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("limit", "protected", "kept"),
    [
        (None, None, [1, 2, 3, 10]),
        (2, None, [3, 10]),
        (1, None, [10]),
        (1, 2, [2, 10]),
        (2, 10, [3, 10]),
        (9, 1, [1, 2, 3, 10]),
        (1, 7, [10]),
    ],
)
def test_rotation_keeps_the_newest_and_the_protected(
    tmp_path: Path, limit: int | None, protected: int | None, kept: list[int]
) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3, 10, limit=limit)
    checkpoints.rotate(10, protected)
    assert checkpoints.steps() == kept


def test_a_damaged_newer_one_does_not_drive_out_the_whole(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3, limit=1)
    remove_manifest(checkpoints.path(3))
    checkpoints.rotate(2, None)
    assert checkpoints.newest()[0] == checkpoints.path(2) and checkpoints.steps() == [2, 3]


def damage_nothing(path: Path) -> None:
    """Leave it whole."""


def remove_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def cut_manifest(path: Path) -> None:
    text = (path / MANIFEST).read_text()
    (path / MANIFEST).write_text(text[: len(text) // 2])


def empty_manifest(path: Path) -> None:
    (path / MANIFEST).write_text("{}")


def list_manifest(path: Path) -> None:
    (path / MANIFEST).write_text('{"files": ["weights.bin"]}')


def misspell_manifest(path: Path) -> None:
    text = (path / MANIFEST).read_text()
    (path / MANIFEST).write_text(text.replace('"size"', '"sixe"'))


def remove_file(path: Path) -> None:
    (path / "sub" / "state.json").unlink()


def cut_file(path: Path) -> None:
    (path / "weights.bin").write_bytes(bytes(range(60)))


def change_file(path: Path) -> None:
    (path / "weights.bin").write_bytes(bytes(reversed(range(100))))


DAMAGES = [
    (damage_nothing, None),
    (remove_manifest, "manifest.json is missing"),
    (cut_manifest, "manifest.json is damaged"),
    (empty_manifest, "manifest.json is damaged"),
    (list_manifest, "manifest.json is damaged"),
    (misspell_manifest, "manifest.json is damaged"),
    (remove_file, "sub/state.json is missing"),
    (cut_file, "weights.bin has 60 bytes, not 100"),
    (change_file, "weights.bin has changed since it was written (SHA-256)"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_verification_says_what_is_wrong(tmp_path: Path, damage, reason: str | None) -> None:
    path = saved(tmp_path, 1).path(1)
    damage(path)
    assert verify(path) == reason


@given(data=st.data())
def test_no_flipped_bit_in_any_file_goes_unseen(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder), 1).path(1)
        before = json.loads((path / MANIFEST).read_text())["files"]
        name = data.draw(st.sampled_from(["weights.bin", "sub/state.json", MANIFEST]))
        content = bytearray((path / name).read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
        (path / name).write_bytes(content)
        if verify(path) is None:  # it hit what says nothing of the files, such as a space of the manifest
            assert name == MANIFEST
            assert json.loads((path / MANIFEST).read_text())["files"] == before


def test_the_newest_whole_one_is_found_and_each_newer_one_accounted_for(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3, 4)
    remove_manifest(checkpoints.path(4))
    cut_file(checkpoints.path(3))
    assert checkpoints.newest() == (
        checkpoints.path(2),
        ["checkpoint-4: manifest.json is missing", "checkpoint-3: weights.bin has 60 bytes, not 100"],
    )


def test_without_a_whole_one_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, None).newest() == (None, [])
    checkpoints = saved(tmp_path, 5)
    change_file(checkpoints.path(5))
    path, rejected = checkpoints.newest()
    assert path is None
    assert rejected == ["checkpoint-5: weights.bin has changed since it was written (SHA-256)"]


@pytest.mark.parametrize(
    "files",
    [
        {"weights.bin": 1},
        {"weights.bin": {"size": "9", "sha256": "x"}},
        {"weights.bin": {"sha256": "x"}},
        {"../weights.bin": {"size": 9, "sha256": "x"}},
        {"/etc/passwd": {"size": 9, "sha256": "x"}},
        {"a//b": {"size": 9, "sha256": "x"}},
        [],
        "x",
    ],
    ids=str,
)
def test_a_manifest_that_agrees_with_itself_and_makes_no_sense_is_damaged(tmp_path: Path, files: Any) -> None:
    content = {"format": MANIFEST_FORMAT, "step": 1, "files": files}
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-1" / MANIFEST).write_text(as_written(content))
    assert verify(tmp_path / "checkpoint-1") == "manifest.json is damaged"


@pytest.mark.parametrize("name", [MANIFEST, "weights.bin"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-1" / name).unlink()
    os.mkfifo(tmp_path / "checkpoint-1" / name)
    assert verify(tmp_path / "checkpoint-1") in (
        f"{name} cannot be read: it is no file",
        f"{name} is missing",
    )


def test_a_manifest_nested_beyond_all_sense_is_damaged(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-1" / MANIFEST).write_text("[" * 200_000)
    assert verify(tmp_path / "checkpoint-1") == "manifest.json is damaged"
