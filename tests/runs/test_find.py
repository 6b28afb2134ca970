"""Which run, and which checkpoint of it, `resume` means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.checkpoint.store import FORMAT, MANIFEST, STATE, Checkpoints
from trainer_cli.config.errors import UserError
from trainer_cli.runs.find import all_runs, check, find, why_afresh, why_not
from trainer_cli.runs.record import CONFIG, FILE, Record
from trainer_cli.runs.sweeps import FILE as SWEEP


def save(record: Record, step: int) -> None:
    def fill(directory: Path) -> None:
        (directory / "weights").write_bytes(b"1234")
        (directory / STATE).write_text(json.dumps({"format": FORMAT, "run": {"step": step}}))

    Checkpoints(record.run_dir, None).save(step, 0, fill)


def make_run(root: Path, created: str, *steps: int, name: str = "run", **choices: str) -> Record:
    record = Record.create(root, name, {"choices": choices})
    record.end("finished", created=f"2026-01-01T{created}:00+00:00")
    for step in steps:
        save(record, step)
    return record


def damage(record: Record, step: int) -> None:
    (record.run_dir / f"checkpoint-{step}" / "weights").write_bytes(b"12")


def found_in(resume: str, root: Path, **choices: str) -> tuple[Path, str | None]:
    found = find(resume, root, choices)
    assert found is not None
    return found.record.run_dir, None if found.checkpoint is None else found.checkpoint.name


def test_all_runs_are_in_the_order_of_their_making(tmp_path: Path) -> None:
    late = make_run(tmp_path, "12:00", name="a")
    early = make_run(tmp_path, "09:00", name="b")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE).write_text('{"id": ')
    assert [record.run_dir for record in all_runs(tmp_path)] == [early.run_dir, late.run_dir]


def test_a_foreign_run_json_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).write_text('["of another program"]')
    assert all_runs(tmp_path) == []


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_latest_is_the_newest_run_and_its_newest_checkpoint(tmp_path: Path, resume: str) -> None:
    make_run(tmp_path, "09:00", 3)
    newest = make_run(tmp_path, "10:00", 5, 20, 100)
    assert found_in(resume, tmp_path) == (newest.run_dir, "checkpoint-100")


def test_what_is_in_a_run_and_what_is_hidden_is_not_looked_into(tmp_path: Path) -> None:
    outer = make_run(tmp_path, "09:00")
    make_run(outer.run_dir / "inside", "10:00")
    make_run(tmp_path / ".trash", "10:00")
    (tmp_path / "link").symlink_to(outer.run_dir)
    assert [record.run_dir for record in all_runs(tmp_path)] == [outer.run_dir]
    assert [record.run_dir for record in all_runs(outer.run_dir)] == [outer.run_dir]
    assert all_runs(tmp_path / "missing") == []


def test_jobs_of_a_sweep_are_passed_over(tmp_path: Path) -> None:
    job = make_run(tmp_path, "10:00", 4, recipe="glue")
    job.update(sweep={"name": "sweep-1", "number": 1, "values": {}})
    with pytest.raises(UserError) as caught:
        find("latest", tmp_path, {"recipe": "glue"})
    assert "it goes on by its own command" in caught.value.problems[0].right
    assert find("auto", tmp_path, {"recipe": "glue"}) is None
    assert why_afresh(tmp_path, {"recipe": "glue"}) == []
    own = make_run(tmp_path, "09:00", 3, recipe="glue")
    assert found_in("latest", tmp_path, recipe="glue") == (own.run_dir, "checkpoint-3")
    assert found_in(str(job.run_dir), tmp_path) == (job.run_dir, "checkpoint-4")


def test_the_unreadable_record_of_a_job_is_no_newer_run(tmp_path: Path) -> None:
    own = make_run(tmp_path, "09:00", 3)
    (tmp_path / "sweep-1").mkdir()
    (tmp_path / "sweep-1" / SWEEP).write_text("{}")
    job = make_run(tmp_path, "10:00", 4, name="sweep-1")
    (job.run_dir / FILE).write_text("{")
    job.run_dir.rename(tmp_path / "sweep-1" / "lr-1_0123456789ab")
    assert found_in("latest", tmp_path) == (own.run_dir, "checkpoint-3")


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_a_newer_run_whose_record_is_gone_is_not_passed_over(tmp_path: Path, resume: str) -> None:
    older = make_run(tmp_path, "09:00", 3)
    newer = make_run(tmp_path, "10:00", 4, name="z")
    newer.run_dir.rename(tmp_path / "z" / "99990101-000000-abcd")
    gone = tmp_path / "z" / "99990101-000000-abcd"
    (gone / CONFIG).write_text("")
    (gone / FILE).unlink()
    with pytest.raises(UserError, match=f"{gone / FILE} cannot be read: No such file"):
        find(resume, tmp_path, {})
    # Checkpoints that were copied here are no run.
    (gone / CONFIG).unlink()
    assert found_in(resume, tmp_path) == (older.run_dir, "checkpoint-3")


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_latest_agrees_with_the_choices_of_the_command_line(tmp_path: Path, resume: str) -> None:
    glue = make_run(tmp_path, "09:00", 3, recipe="glue", optim="sgd")
    other = make_run(tmp_path, "10:00", 4, recipe="lm")
    assert found_in(resume, tmp_path, recipe="glue") == (glue.run_dir, "checkpoint-3")
    assert found_in(resume, tmp_path, recipe="glue", optim="sgd") == (glue.run_dir, "checkpoint-3")
    assert found_in(resume, tmp_path) == (other.run_dir, "checkpoint-4")


def test_nothing_to_go_on_with_is_an_error_for_latest_and_a_fresh_run_for_auto(tmp_path: Path) -> None:
    make_run(tmp_path, "09:00", 3, recipe="lm")
    assert find("auto", tmp_path, {"recipe": "glue"}) is None
    with pytest.raises(UserError) as caught:
        find("latest", tmp_path, {"recipe": "glue"})
    assert caught.value.problems[0].what == (
        f"resume=latest: no run below {tmp_path} with recipe=glue has a checkpoint"
    )
    assert "resume=auto starts a fresh run" in caught.value.problems[0].right
    assert find("auto", tmp_path / "missing", {}) is None


def test_a_run_without_a_checkpoint_is_passed_over_and_named(tmp_path: Path) -> None:
    earlier = make_run(tmp_path, "09:00", 3)
    empty = make_run(tmp_path, "10:00")
    empty.update(status="failed")
    found = find("latest", tmp_path, {})
    assert found is not None and found.record.run_dir == earlier.run_dir
    assert found.passed == [f"{empty.run_dir}: it has no checkpoint"]
    # Not by auto, which starts that one again.
    found = find("auto", tmp_path, {})
    assert found is not None and (found.record.run_dir, found.checkpoint) == (empty.run_dir, None)


def test_a_damaged_newest_falls_back_and_says_why(tmp_path: Path) -> None:
    record = make_run(tmp_path, "09:00", 3, 6, 9)
    damage(record, 9)
    (record.run_dir / "checkpoint-6" / MANIFEST).unlink()
    for resume in ("latest", str(record.run_dir), record.fields["id"]):
        found = find(resume, tmp_path, {})
        assert found is not None and found.checkpoint is not None
        assert found.checkpoint.name == "checkpoint-3" and found.newest
        assert found.rejected == [
            "checkpoint-9: weights has 2 bytes, not 4",
            "checkpoint-6: manifest.json is missing",
        ]
        found.lock.release()


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_a_newest_of_damaged_checkpoints_is_not_passed_over(tmp_path: Path, resume: str) -> None:
    make_run(tmp_path, "08:00", 3)
    record = make_run(tmp_path, "09:00", 3)
    record.end("failed")
    damage(record, 3)
    found = find(resume, tmp_path, {})
    assert found is not None and found.record.run_dir == record.run_dir
    with pytest.raises(UserError, match=r"the only checkpoint of .* cannot be used") as caught:
        check(found, resume, "fallback")
    assert "checkpoint-3: weights has 2 bytes, not 4" in caught.value.problems[0].right


def test_how_a_run_is_carried_out_is_no_disagreement(tmp_path: Path) -> None:
    record = make_run(tmp_path, "09:00", 3, recipe="lm", strategy="single", checkpoint="default")
    choices = {"recipe": "lm", "strategy": "ddp", "checkpoint": "own", "tracker": "own"}
    assert found_in("auto", tmp_path, **choices) == (record.run_dir, "checkpoint-3")
    assert find("auto", tmp_path, {**choices, "optim": "sgd"}) is None
    assert why_afresh(tmp_path, {**choices, "recipe": "glue", "optim": "sgd"}) == [
        f"a fresh run: {record.run_dir} was made with recipe=lm no optim"
    ]


def test_a_run_is_found_by_its_directory_and_by_its_id(tmp_path: Path) -> None:
    record = make_run(tmp_path, "09:00", 3, recipe="lm")
    make_run(tmp_path, "10:00", 4, recipe="glue")
    assert found_in(str(record.run_dir), tmp_path / "elsewhere", recipe="glue") == (
        record.run_dir,
        "checkpoint-3",
    )
    assert found_in(record.fields["id"], tmp_path) == (record.run_dir, "checkpoint-3")


def test_a_named_run_without_a_checkpoint_goes_on_from_its_start(tmp_path: Path) -> None:
    record = make_run(tmp_path, "09:00")
    assert found_in(str(record.run_dir), tmp_path) == (record.run_dir, None)


@pytest.mark.parametrize(("step", "newest"), [(3, False), (6, True)])
def test_a_checkpoint_is_found_by_its_path(tmp_path: Path, step: int, newest: bool) -> None:
    record = make_run(tmp_path, "09:00", 3, 6)
    found = find(str(record.run_dir / f"checkpoint-{step}"), tmp_path, {})
    assert found is not None
    assert found.checkpoint == record.run_dir / f"checkpoint-{step}" and found.newest is newest


def test_a_relative_path_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_run(tmp_path, "09:00", 3)
    monkeypatch.chdir(record.run_dir.parent)
    found = find(f"{record.run_dir.name}/checkpoint-3/", tmp_path, {})
    assert found is not None and found.checkpoint is not None
    assert found.checkpoint.resolve() == record.run_dir / "checkpoint-3"


def test_a_damaged_checkpoint_that_is_named_itself_is_refused(tmp_path: Path) -> None:
    record = make_run(tmp_path, "09:00", 3, 6)
    damage(record, 6)
    path = record.run_dir / "checkpoint-6"
    with pytest.raises(UserError) as caught:
        find(str(path), tmp_path, {})
    assert caught.value.problems[0].what == f"resume={path}: weights has 2 bytes, not 4"


@pytest.mark.parametrize("resume", ["no-such-run", "20260101-000000-abcd", "outputs/none/checkpoint-3"])
def test_what_is_neither_run_nor_checkpoint(tmp_path: Path, resume: str) -> None:
    with pytest.raises(UserError, match=f"resume={resume} is neither a run nor a checkpoint") as caught:
        find(resume, tmp_path, {})
    right: Any = caught.value.problems[0].right
    assert f"trainer-cli runs {tmp_path}" in right


def test_one_bad_run_hides_no_other(tmp_path: Path) -> None:
    texts = {"deep": "[" * 200_000, "text": '{"id": "x", "created": "x", "results": {"eval/loss": "text"}}'}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(text)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / FILE)
    Record.create(tmp_path, "good", {})
    unread: list[str] = []
    assert [record.fields["name"] for record in all_runs(tmp_path, unread)] == ["good"]
    why = {Path(line.partition(" cannot")[0]).parent.name: line.partition(": ")[2] for line in unread}
    assert why == {
        "deep": "it is nested too deeply",
        "text": 'its results is {"eval/loss": "text"}',
        "pipe": "it is no file",
    }


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    os.mkfifo(tmp_path / "checkpoint-5" / MANIFEST)
    assert why_not(tmp_path / "checkpoint-5") == "manifest.json cannot be read: it is no file"
