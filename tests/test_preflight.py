"""`trainer-cli plan --preflight`: its directory, its processes, and how they end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from trainer_cli import preflight
from trainer_cli.config.errors import UserError


def test_the_directory_is_in_what_there_is_of_the_outputs(tmp_path: Path) -> None:
    with preflight.temporary_directory(tmp_path / "a" / "b") as folder:
        assert folder.parent == tmp_path and folder.is_dir()
        (folder / "file").write_text("")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_the_users_error() -> None:
    with pytest.raises(UserError, match="no run's directory can be made in /proc"):
        preflight.temporary_directory(Path("/proc/nothing")).__enter__()


def test_callbacks_are_told_of_it_but_the_one_that_shows_progress() -> None:
    mine = {"_target_": "mine.Callback"}
    callbacks = {"progress": {"_target_": "trainer_cli.callbacks.Progress"}, "gone": None, "mine": mine}
    assert preflight.watching(callbacks) == {"mine": mine}


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGTERM, 143, ""),
        (signal.SIGINT, 130, ""),
        (signal.SIGSEGV, 1, "error: the preflight's process was killed by SIGSEGV\n"),
        (signal.SIGKILL, 1, "killed by SIGKILL\n  as the kernel does where main memory runs out\n"),
    ],
)
def test_a_signal_ends_it_with_a_code(
    number: signal.Signals, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preflight.killed(number) == code
    assert capsys.readouterr().err.endswith(says)
