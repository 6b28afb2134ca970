"""The journal of a search: lines whole or not at all, by one process at a time."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.config.errors import UserError
from trainer_cli.runs import journal
from trainer_cli.runs.journal import FILE, NUMBER, STUDY, Lock, drop_torn_line, open_journal, trials_of


def made(path: Path) -> Any:
    """A journal with a study, and Optuna's storage in it."""
    from optuna.study import StudyDirection

    storage = open_journal(path)
    storage.create_new_study([StudyDirection.MINIMIZE], STUDY)
    return storage


def add(storage: Any, **attributes: Any) -> int:
    """A new trial with these attributes; its number in Optuna's count."""
    trial = storage.create_new_trial(storage.get_study_id_from_name(STUDY))
    for name, value in attributes.items():
        storage.set_trial_user_attr(trial, name, value)
    return int(trial)


lines = st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"\r") + b"\n"), max_size=4)


@given(lines, st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")))
def test_of_a_file_that_was_torn_all_whole_lines_are_left(whole: list[bytes], torn: bytes) -> None:
    file = io.BytesIO(b"".join(whole) + torn)
    drop_torn_line(file)
    assert file.getvalue() == b"".join(whole)


def test_half_a_line_is_taken_away_before_the_next_is_written(tmp_path: Path) -> None:
    storage = made(tmp_path / FILE)
    add(storage, **{NUMBER: 0})
    whole = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"op_code":6,"wor')
    assert list(trials_of(open_journal(tmp_path / FILE))) == [0]
    add(storage, **{NUMBER: 1})
    assert (tmp_path / FILE).read_bytes().startswith(whole + b'{"')
    assert b"wor\n" not in (tmp_path / FILE).read_bytes()
    assert list(trials_of(open_journal(tmp_path / FILE))) == [0, 1]


def test_a_process_that_keeps_the_lock_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.1)
    storage = made(tmp_path / FILE)
    other = Lock(tmp_path / FILE)
    other.acquire()
    with pytest.raises(TimeoutError, match="another process has held"):
        add(storage)
    other.release()
    other.release()  # of what it no longer holds
    add(storage)


def test_those_who_write_at_the_same_time_write_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.touch()

    def write(letter: bytes) -> None:
        lock = Lock(path)
        for _ in range(20):
            lock.acquire()
            for _ in range(3):
                with path.open("ab", buffering=0) as file:
                    file.write(letter)
            with path.open("ab", buffering=0) as file:
                file.write(b"\n")
            lock.release()

    writers = [threading.Thread(target=write, args=[letter]) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(path.read_bytes().splitlines()) == [b"aaa"] * 20 + [b"bbb"] * 20 + [b"ccc"] * 20


HELD = """
import sys, time
from pathlib import Path
from trainer_cli.runs.journal import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
lock.file.seek(0, 2)
lock.file.write(b'{"op_code":')
lock.file.flush()
print("held", flush=True)
time.sleep(60)
"""


def test_a_kill_leaves_no_lock_and_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"whole\n")
    with subprocess.Popen([sys.executable, "-c", HELD, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        monkeypatch.setattr(journal, "PATIENCE", 0.0)
        with pytest.raises(TimeoutError):
            Lock(path).acquire()
        process.send_signal(signal.SIGKILL)
    lock = Lock(path)
    assert lock.acquire()
    assert path.read_bytes() == b"whole\n"
    lock.release()


def test_trials_go_by_the_number_of_their_suggestion_and_the_last_of_several_counts(tmp_path: Path) -> None:
    storage = made(tmp_path / FILE)
    add(storage, **{NUMBER: 1}, words=["a=1"])
    add(storage, **{NUMBER: 0}, words=["a=0"])
    add(storage)  # of a process that was killed before it said which suggestion it is
    add(storage, **{NUMBER: 1}, words=["a=1"], again=True)
    found = trials_of(open_journal(tmp_path / FILE))
    assert [(number, trial.user_attrs.get("again")) for number, trial in found.items()] == [
        (0, None),
        (1, True),
    ]


def test_a_journal_needs_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="optuna is not installed"):
        open_journal(tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("damage", [b"not json\nnot json\n", b"\xff\xfe\n\n"])
def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(ValueError, match=r"."):
        open_journal(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == damage


def test_a_journal_in_a_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        open_journal(tmp_path / "nowhere" / FILE)
