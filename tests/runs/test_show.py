"""`trainer-cli show RUN`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import Record
from trainer_cli.runs.show import is_run, print_run


def test_what_is_meant_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = Record.create(Path("."), "glue", {})
    record.run_dir.rename("mine")
    Path("optim").mkdir()
    for word in ("mine", "./mine", "mine/", "20260101-000000-abcd", "lr-1e-5_0123456789ab", "outputs/none"):
        assert is_run(word), word
    for word in ("optim", "optim.lr", "args", "args.seed", "glue", "+recipe=glue", "nothing"):
        assert not is_run(word), word


def test_the_page_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {
        "argv": ["+recipe=glue", "run.name=two words"],
        "overrides": ["+recipe=glue"],
        "seed": 7,
        "processes": 2,
        "identity": "f247c14f",
        "data_fingerprint": "bf6d",
        "git": {"commit": "0123456789abcdef", "dirty": True, "changes": "a1b2"},
        "packages": {"torch": "2.13.0", "safetensors": "1"},
        "machine": {"host": "here", "cpus": 2, "memory": 2**34, "gpus": []},
        "summary": {"model": "MLP, [16] units", "steps": "30 of 8 samples"},
        "total_steps": 30,
    }
    record = Record.create(tmp_path, "glue", fields)
    (record.run_dir / "metrics.jsonl").touch()
    (record.run_dir / "model").mkdir()
    for step in (10, 20):
        (record.run_dir / f"checkpoint-{step}").mkdir()
    results = {"eval/loss": 0.25, "eval/accuracy": None}
    record.end("preempted", step=20, best={"eval/loss": 0.125, "step": 10}, results=results)
    print_run(str(record.run_dir), as_json=False)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{record.run_dir}  preempted"
    page = {line[:11].strip(): line[13:] for line in lines}
    assert page["command"] == "trainer-cli +recipe=glue 'run.name=two words'"
    assert page["overrides"] == "+recipe=glue"
    assert "0 s ago" in page["started"] and "took 0 s" in page["started"]
    assert page["steps"] == "20 of 30"
    assert page["best"] == "eval/loss 0.125 at step 10"
    assert page["at the end"] == "eval/loss 0.25 · eval/accuracy nan"
    assert page["model"] == "MLP, [16] units"
    assert page["code"] == "commit 0123456789ab, with uncommitted changes (a1b2)"
    assert page["packages"] == "torch 2.13.0"
    assert page["machine"] == "host here · cpus 2 · memory 16.0 GiB"
    assert page["seed"] == "7, in 2 processes"
    assert page["identity"] == "f247c14f, data bf6d"
    assert page["checkpoints"] == "checkpoint-10, checkpoint-20"
    assert page["files"] == "metrics.jsonl, model/"
    assert page["go on"] == f"trainer-cli resume={record.run_dir}"
    assert page["again"] == f"trainer-cli rerun {record.run_dir}"


def test_a_failed_job_of_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = {"name": "sweep-ab12cd", "number": 3, "values": {"optim.lr": 0.001, "optim": "sgd"}}
    record = Record.create(tmp_path, "glue", {"sweep": sweep})
    record.end("failed", error="error: no memory\n  at all")
    print_run(str(record.run_dir), as_json=False)
    out = capsys.readouterr().out
    for part in (
        "sweep-ab12cd, job 3: optim.lr=0.001 optim=sgd",
        "error  no memory at all",
        "the sweep's own command",
        "none of ?",
    ):
        assert part in out


def test_a_run_that_ended_before_it_said_anything_has_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record.create(tmp_path, "glue", {})
    record.update(created="long ago", pid=2**22 + 1)
    print_run(str(record.run_dir), as_json=False)
    out = capsys.readouterr().out
    assert "failed" in out.splitlines()[0]
    assert "checkpoints  none" in out


def test_json_is_the_record_with_its_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.create(tmp_path, "glue", {"seed": 3})
    record.end("finished")
    print_run(str(record.run_dir), as_json=True)
    assert json.loads(capsys.readouterr().out) == {**record.fields, "dir": str(record.run_dir)}


def test_several_runs_are_no_page(tmp_path: Path) -> None:
    last = [Record.create(tmp_path, "glue", {}) for _ in range(3)][-1]
    with pytest.raises(UserError, match="holds 3 runs, and show takes one") as caught:
        print_run(str(tmp_path), as_json=False)
    assert f"trainer-cli show {last.run_dir}" in caught.value.problems[0].right
