"""What stands in a file's place when writing it is broken off, by whatever and wherever."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer_cli import durable
from trainer_cli.config.errors import UserError

OLD, NEW = "the old text\n" * 9, "the new text, which is longer than a buffer\n" * 999
PLACES = 60
"""More than there are calls of C functions in a write."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that was written before, alone in its folder."""
    path = tmp_path / "folder" / "run.json"
    path.parent.mkdir()
    durable.write(path, OLD)
    return path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def broken_off(path: Path, place: int, how: Callable[[], Any]) -> bool:
    """Write the new text, with `how` called in front of so many-th call of a C function; whether it was."""
    calls = 0

    def look(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        if event == "c_call":
            calls += 1
            if calls == place:
                sys.setprofile(None)
                how()

    sys.setprofile(look)
    try:
        durable.write(path, NEW)
    finally:
        sys.setprofile(None)
    return calls >= place


def test_a_kill_anywhere_leaves_the_old_text_or_the_new_one(path: Path) -> None:
    found = []
    for place in range(1, PLACES):
        durable.write(path, OLD)  # in spite of what the kill before has left
        pid = os.fork()
        if pid == 0:
            broken_off(path, place, lambda: os.kill(os.getpid(), signal.SIGKILL))
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        text = path.read_text()
        assert text in (OLD, NEW), place
        found.append((killed, text == NEW))
        if not killed:
            break
    assert found[0] == (True, False) and (False, True) in found
    # Nothing of a kill is in the way of the next write, or in its text.
    durable.write(path, "short")
    durable.discard_unfinished(path.parent)
    assert path.read_text() == "short" and names(path) == ["run.json"]


@pytest.mark.filterwarnings("ignore:Exception ignored in")  # a file that was open at that moment
def test_an_interruption_anywhere_leaves_no_other_file(path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    came = []
    for place in range(1, PLACES):
        durable.write(path, OLD)
        try:
            if not broken_off(path, place, interrupt):
                break
        except KeyboardInterrupt:
            came.append(path.read_text())
        assert names(path) == ["run.json"], place
    assert set(came) <= {OLD, NEW} and OLD in came
    assert path.read_text() == NEW


def test_all_of_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: dict[int, int] = {}
    renamed = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        on_disk[found.st_ino] = found.st_size

    def note_rename(source: Path, target: Path) -> None:
        found = source.stat()
        renamed.append((target, found.st_size, on_disk.get(found.st_ino)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    durable.write(path, NEW)
    assert renamed == [(path, len(NEW), len(NEW))]


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files of this process may be no longer than some kilobytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_the_old_text_stays(path: Path, no_room: None) -> None:
    with pytest.raises(OSError, match="File too large"):
        durable.write(path, NEW)
    assert path.read_text() == OLD and names(path) == ["run.json"]


def test_a_text_that_is_no_text_is_refused_whole(path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        durable.write(path, NEW + "\ud800")
    assert path.read_text() == OLD and names(path) == ["run.json"]


def test_a_folder_in_its_place_or_none_to_be_in_is_said(path: Path) -> None:
    (path.parent / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        durable.write(path.parent / "taken", NEW)
    with pytest.raises(FileNotFoundError):
        durable.write(path.parent / "missing" / "run.json", NEW)
    assert names(path) == ["run.json", "taken"]


def test_every_byte_is_kept(path: Path) -> None:
    text = b"no utf-8 \xff\xfe, \r\n of another system, \xe2\x82\xac".decode(errors="surrogateescape")
    durable.write(path, text)
    assert path.read_bytes() == text.encode(errors="surrogateescape")


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_who_may_read_a_file_may_read_the_next_text_and_no_one_else(path: Path, mode: int) -> None:
    path.chmod(mode)
    durable.write(path, NEW)
    assert path.stat().st_mode & 0o777 == mode and path.read_text() == NEW


def test_a_new_file_is_as_open_as_any_other(tmp_path: Path) -> None:
    durable.write(tmp_path / "durable", NEW)
    (tmp_path / "plain").write_text(NEW)
    assert (tmp_path / "durable").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), ValueError("Error while serializing: I/O error: words (os error 5)")],
    ids=["python", "safetensors"],
)
def test_an_error_of_the_disk_names_the_file(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OSError) as caught, durable.naming(tmp_path / "file"):
        raise error
    assert (caught.value.errno, caught.value.filename) == (5, str(tmp_path / "file"))


def test_an_error_that_is_none_of_the_disk_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"), durable.naming(tmp_path):
        raise ValueError("other")


def test_a_folder_that_is_gone_is_told_by_the_file_s_own_name(path: Path) -> None:
    missing = path.parent / "gone" / "run.json"
    with pytest.raises(FileNotFoundError) as caught:
        durable.write(missing, NEW)
    assert caught.value.filename == str(missing)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the user's that no run has to do with."""
    outside = tmp_path / "outside"
    outside.write_text("of the user's\n")
    return outside


def test_a_link_is_replaced_and_what_it_leads_to_stays(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside)
    durable.write(path, NEW)
    assert not path.is_symlink() and path.read_text() == NEW
    path.unlink()
    os.link(outside, path)
    durable.write(path, NEW)
    assert path.read_text() == NEW and outside.read_text() == "of the user's\n"


def test_nobody_foresees_the_name_of_what_is_unfinished(path: Path, outside: Path) -> None:
    assert len({durable.unfinished(path) for _ in range(9)}) == 9
    for name in (".run.json", ".unfinished-run.json"):
        (path.parent / name).symlink_to(outside)
    durable.write(path, NEW)
    durable.discard_unfinished(path.parent)
    assert names(path) == [".run.json", "run.json"] and outside.read_text() == "of the user's\n"


def test_a_new_file_takes_the_place_of_nothing(path: Path, outside: Path) -> None:
    for name, target in (("link", outside), ("loose", path.parent / "nowhere")):
        (path.parent / name).symlink_to(target)
        with pytest.raises(FileExistsError):
            durable.create(path.parent / name)
    assert outside.read_text() == "of the user's\n" and not (path.parent / "nowhere").exists()


def test_a_file_is_added_to_read_and_cut(path: Path) -> None:
    with durable.append(path) as file:
        file.write(b"more\n")
        file.seek(0)
        assert file.read() == OLD.encode() + b"more\n"
        file.truncate(len(OLD))
    assert path.read_text() == OLD
    with durable.append(path.with_name("new")) as file:
        file.write(b"one\n")
    assert path.with_name("new").read_text() == "one\n"


PLANTED: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "a link": (lambda path, outside: path.symlink_to(outside), "is a symbolic link to"),
    "a link to nowhere": (lambda path, outside: path.symlink_to(f"{outside}-new"), "is a symbolic link to"),
    "another name": (lambda path, outside: os.link(outside, path), "another name elsewhere"),
    "a pipe": (lambda path, outside: os.mkfifo(path), "is no file"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_nothing_is_added_to_what_is_not_the_run_s_own(path: Path, outside: Path, what: str) -> None:
    plant, reason = PLANTED[what]
    path.unlink()
    plant(path, outside)
    with pytest.raises(UserError, match=reason) as caught:
        durable.append(path)
    assert str(path) in caught.value.block() and "move" in caught.value.block()
    assert outside.read_text() == "of the user's\n" and names(path) == ["run.json"]
    assert not outside.with_name("outside-new").exists()


def test_a_directory_that_is_reached_through_a_link_is_the_user_s_own(path: Path, tmp_path: Path) -> None:
    (tmp_path / "big-disk").symlink_to(path.parent)
    there = tmp_path / "big-disk" / "run.json"
    durable.write(there, NEW)
    with durable.append(there) as file:
        file.write(b"more")
    assert path.read_text() == f"{NEW}more"


def test_a_folder_of_a_run_is_no_link(tmp_path: Path, outside: Path) -> None:
    assert durable.folder(tmp_path / "ranks") == durable.folder(tmp_path / "ranks")
    (tmp_path / "link").symlink_to(tmp_path / "ranks")
    for name in ("link", "outside"):
        with pytest.raises(UserError, match=r"symbolic link to|is no directory"):
            durable.folder(tmp_path / name)
    events = durable.whole_folder(tmp_path / "events")
    (events / "deep").mkdir()
    (events / "deep" / "rows").touch()
    assert durable.whole_folder(events) == events
    (events / "deep" / "link").symlink_to(outside)
    with pytest.raises(UserError, match="deep/link is a symbolic link"):
        durable.whole_folder(events)


def test_what_is_removed_is_the_link_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "kept")
    for name in ("link", "folder", "missing"):
        durable.remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept" / "file").exists()


def test_a_text_is_read_from_a_file_alone(tmp_path: Path, path: Path) -> None:
    assert durable.read_text(path) == OLD
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"it is no file|Is a directory"):
            durable.read(other)
    with path.open("r+b") as file:
        file.truncate(durable.MOST + 1)
    with pytest.raises(ValueError, match="it has 268,435,457 bytes"):
        durable.read_text(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 200_000 + "]" * 200_000,
        "[" * 500 + "]" * 500,
        '{"a":' * 200_000 + "1" + "}" * 200_000,
        "1" * 5000,
        "",
        "{'a': 1}",
        b"\xff\xfe{",
        b'{"a": "\xff"}',
    ],
    ids=lambda text: repr(text)[:9],
)
def test_json_that_makes_no_sense_is_refused_as_any_other(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        durable.parse_json(text)


def test_json_is_read_as_it_is() -> None:
    value = {"a": [1, 2.5, None, {"b": "ä"}], "c": []}
    assert durable.parse_json(json.dumps(value)) == value
