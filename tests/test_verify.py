"""`trainer-cli verify`: every file of a checkpoint is as it was written, or is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trainer_cli import verify as module
from trainer_cli.checkpoint.store import Checkpoints, verify
from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import Record
from trainer_cli.verify import verify_checkpoints


def make_run(root: Path, *steps: int) -> Record:
    """A run with checkpoints of two files."""
    record = Record.create(root, "mine", {})
    for step in steps:

        def fill(directory: Path, step: int = step) -> None:
            (directory / "model.safetensors").write_bytes(b"w" * 1000 * step)
            (directory / "state.json").write_text("{}")

        Checkpoints(record.run_dir, None).save(step, 0, fill)
    return record


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(Path("outputs"), 100, 200).run_dir


def test_each_checkpoint_has_a_line(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_checkpoints([str(run_dir)], as_json=False) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == [str(run_dir / "checkpoint-100"), "3", "files", "0.1", "MB", "ok"]
    assert second.split()[0] == str(run_dir / "checkpoint-200") and second.endswith("  ok")


def test_a_damaged_one_is_told_with_the_reason(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run_dir / "checkpoint-100" / "model.safetensors"
    file.write_bytes(b"v" + file.read_bytes()[1:])
    assert verify_checkpoints([str(run_dir)], as_json=False) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  model.safetensors has changed since it was written (SHA-256)")
    assert second.endswith("  ok")
    assert verify_checkpoints([str(run_dir / "checkpoint-200")], as_json=False) == 0
    assert verify_checkpoints([str(run_dir / "checkpoint-100")], as_json=False) == 1


def test_a_run_is_found_by_its_id(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_checkpoints([run_dir.name], as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [verdict["step"] for verdict in found] == [100, 200]
    assert found[0].keys() == {"checkpoint", "step", "files", "bytes", "damage"}
    assert found[0]["damage"] is None and found[0]["files"] == 3 and found[0]["bytes"] > 100_000


def test_several_runs_and_a_copy_elsewhere(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(Path("outputs"), 7).run_dir
    copy = (run_dir / "checkpoint-200").rename(tmp_path / "kept")
    (other / "checkpoint-7" / "state.json").unlink()
    assert verify_checkpoints([str(other), str(copy)], as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(other / "checkpoint-7"), str(copy)]
    assert lines[0].endswith("state.json is missing")


def test_what_has_nothing_to_check_is_the_users_error(run_dir: Path, tmp_path: Path) -> None:
    empty = make_run(Path("outputs"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to("gone")
    for word, what in (
        (str(empty.run_dir), "has no checkpoints"),
        ("folder", "folder is neither a run nor a checkpoint"),
        ("20200101-000000-abcd", "is neither a run nor a checkpoint"),
        ("nowhere", "nowhere is a symbolic link to gone, where there is nothing"),
    ):
        with pytest.raises(UserError, match=what):
            verify_checkpoints([str(run_dir), word], as_json=False)
    with pytest.raises(UserError, match="needs a run or a checkpoint"):
        verify_checkpoints([], as_json=False)


def test_an_empty_checkpoint_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    assert verify_checkpoints([str(tmp_path / "checkpoint-3")], as_json=False) == 1
    assert capsys.readouterr().out.endswith("manifest.json is missing\n")


def test_what_rotation_takes_away_meanwhile_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, 1, 2, 3).run_dir

    def rotating(checkpoint: Path) -> str | None:
        Checkpoints(run_dir, 1).rotate(3, None)
        return verify(checkpoint)

    monkeypatch.setattr(module, "verify", rotating)
    assert verify_checkpoints([str(run_dir)], as_json=True) == 0
    assert [item["step"] for item in json.loads(capsys.readouterr().out)] == [3]
    shutil.rmtree(run_dir / "checkpoint-3")
    with pytest.raises(UserError, match="has no checkpoints"):
        verify_checkpoints([str(run_dir)], as_json=False)


def test_where_all_are_taken_away_meanwhile_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(tmp_path, 1).run_dir

    def gone(checkpoint: Path) -> str | None:
        shutil.rmtree(checkpoint)
        return verify(checkpoint)

    monkeypatch.setattr(module, "verify", gone)
    with pytest.raises(UserError, match="taken away while they were read"):
        verify_checkpoints([str(run_dir / "checkpoint-1")], as_json=False)


def test_one_that_is_written_again_meanwhile_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, 1).run_dir
    (run_dir / "checkpoint-1" / "state.json").write_text("{} ")
    looks = []

    def saved_again(checkpoint: Path) -> str | None:
        looks.append(verify(checkpoint))
        if len(looks) == 1:
            Checkpoints(run_dir, None).save(1, 0, lambda directory: None)
        return looks[-1]

    monkeypatch.setattr(module, "verify", saved_again)
    assert verify_checkpoints([str(run_dir)], as_json=False) == 0
    assert len(looks) == 2 and looks[0] is not None and looks[1] is None
