"""run.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import FILE, Record, identity, is_alive, provenance, start_of

BASE = ("model=mlp", "model.in_features=2", "model.out_features=2", "loss=cross_entropy", "data=python")


def config(*overrides: str) -> dict[str, Any]:
    return compose([*BASE, *overrides]).config


@pytest.mark.parametrize(
    "override",
    ["args.output_dir=elsewhere", "run.name=other", "args.log_level=debug", "resume=auto"],
)
def test_where_a_run_goes_is_no_part_of_its_identity(override: str) -> None:
    assert identity(config(override)) == identity(config())


@pytest.mark.parametrize(
    "override",
    [
        "args.seed=7",
        "optim.lr=1e-3",
        "args.precision=fp32",
        "args.use_cpu=true",
        "model.hidden_features=[3]",
        "strategy=ddp",
        "args.stages=[train]",
        "callbacks=early_stopping",
        "scheduler=cosine",
    ],
)
def test_what_changes_numbers_changes_the_identity(override: str) -> None:
    assert identity(config(override)) != identity(config())


def test_an_identity_does_not_depend_on_the_order_of_keys() -> None:
    plain = config()
    assert identity(dict(reversed(plain.items()))) == identity(plain)
    assert len(identity(plain)) == 16


def test_taking_an_identity_changes_nothing() -> None:
    plain = config()
    before = json.dumps(plain)
    identity(plain)
    assert json.dumps(plain) == before


def test_a_new_run_has_a_directory_of_its_own(tmp_path: Path) -> None:
    first = Record.create(tmp_path, "glue", {"seed": 1})
    second = Record.create(tmp_path, "glue", {"seed": 2})
    assert first.run_dir != second.run_dir
    assert first.run_dir == tmp_path / "glue" / first.fields["id"]
    assert Record.load(first.run_dir).fields == first.fields
    assert first.fields["status"] == "running" and first.fields["seed"] == 1


def test_a_root_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made") as caught:
        Record.create(tmp_path / "file", "glue", {})
    assert "args.output_dir" in caught.value.problems[0].right


def test_fields_are_updated_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record.create(tmp_path, "glue", {"seed": 1})
    before = (record.run_dir / FILE).read_bytes()

    def power_cut(source: Path, target: Path) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("trainer_cli.durable.os.replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        record.update(results={"x": 1.0})
    assert (record.run_dir / FILE).read_bytes() == before
    monkeypatch.undo()
    with pytest.raises(TypeError):
        record.update(broken=object())
    assert (record.run_dir / FILE).read_bytes() == before


def test_updates_leave_no_other_file(tmp_path: Path) -> None:
    record = Record.create(tmp_path, "glue", {})
    record.update(step=3)
    assert [path.name for path in record.run_dir.iterdir()] == [FILE]


def test_the_status_is_what_the_run_said_last(tmp_path: Path) -> None:
    record = Record.create(tmp_path, "glue", {})
    record.start()
    assert record.status == "running" and record.fields["pid"] == os.getpid()
    record.end("finished", step=9)
    assert Record.load(record.run_dir).status == "finished"
    assert record.fields["step"] == 9 and "ended" in record.fields


def test_a_run_whose_process_is_gone_has_failed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    record = Record.create(tmp_path, "glue", {})
    record.update(pid=ended.pid, host=platform.node())
    assert record.status == "failed"
    record.update(host="another machine")
    assert record.status == "running"  # nobody here can know


def test_a_later_process_of_the_same_number_does_not_run_it(tmp_path: Path) -> None:
    record = Record.create(tmp_path, "glue", {})
    assert record.status == "running" and record.lives and record.fields["pid_start"] is not None
    record.update(pid_start="another boot, or another start")
    assert record.status == "failed" and not record.lives
    record.update(pid_start=None)  # of a system that does not say
    assert record.status == "running"


def test_a_process_has_one_start_and_another_one_another() -> None:
    first, second = (subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in "12")
    starts = [start_of(pid) for pid in (first.pid, second.pid, first.pid, os.getpid())]
    assert starts[0] == starts[2] != starts[3] and None not in starts
    for process in (first, second):
        process.communicate(b"\n")
    assert start_of(first.pid) is None


def test_a_process_that_nobody_waited_for_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.read()  # returns at its end
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process.pid)
    process.wait()
    assert is_alive(os.getpid())


def test_no_environment_variable_reaches_run_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret_of_the_user")
    monkeypatch.setenv("SOME_OTHER_VARIABLE", "another_secret_of_the_user")
    record = Record.create(tmp_path, "glue", provenance())
    record.start()
    text = (record.run_dir / FILE).read_text()
    assert "secret_of_the_user" not in text


def test_the_record_says_what_the_numbers_depend_on() -> None:
    found = provenance()
    assert {"torch", "hydra-core", "numpy"} <= found["packages"].keys()
    assert found["machine"]["python"] == platform.python_version()
    assert found["git"] is None or found["git"].keys() >= {"commit", "dirty"}


def damaged(**fields: Any) -> dict[str, Any]:
    """A record in which these fields are what they should not be."""
    return {"id": "20260101-000000-abcd", "created": "2026-01-01", "status": "finished", **fields}


HOSTILE: dict[str, str | bytes] = {
    "nested deeply": '{"id": "x", "created": "x", "results": ' + "[" * 200_000,
    "nested": json.dumps(damaged())[:-1] + ', "more": ' + '{"a": ' * 300 + "1" + "}" * 301,
    "a number of 5,000 digits": '{"id": "x", "created": "x", "step": 1' + "0" * 5000 + "}",
    "a number of 4,000 digits": '{"id": "x", "created": "x", "step": 1' + "0" * 4000 + "}",
    "no utf-8": b'{"id": "\xff", "created": "x"}',
    "a list": "[1]",
    "no id": '{"created": "x"}',
    "id null": '{"id": null, "created": "x"}',
    **{
        f"{name}: {value!r}": json.dumps(damaged(**{name: value}))
        for name, values in {
            "id": (1, ["x"], {}),
            "created": (1.5, []),
            "status": (1, ["finished"]),
            "step": ("5", 1.5, True, [], 10**30),
            "total_steps": ("x", {}),
            "results": ("text", {"eval/loss": "text"}, {"eval/loss": []}, [1], {"a": 10**400}),
            "best": ({"eval/loss": "text"}, 1),
            "metric": ("eval/loss", {"name": 1}, {"name": "x", "greater_is_better": "yes"}),
            "sweep": ("x", {"name": []}, {"values": [1]}),
            "sessions": ({}, [1], [None], [{"step": "x"}], [{"argv": [1]}]),
            "argv": ("x", [1], [None]),
            "overrides": ({"a": 1},),
            "choices": ([], {"model": 1}),
            "git": ("abc", {"commit": 1}, {"diff": ["x"]}),
            "packages": ({"torch": 2.0},),
            "host": (1,),
            "pid": ("1", 2**70),
            "error": ({"a": 1},),
            "project": ("/", [1]),
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_record_that_is_not_what_it_says_is_damaged(tmp_path: Path, what: str) -> None:
    text = HOSTILE[what]
    (tmp_path / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        Record.load(tmp_path)
    assert len(str(caught.value)) < 200


def test_what_stands_in_the_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(OSError, match="it is no file"):
        Record.load(tmp_path)


def test_what_a_record_lacks_or_has_more_is_no_damage(tmp_path: Path) -> None:
    fields = damaged(
        results={"eval/loss": None, "eval/accuracy": 1}, best=None, new={"deep": [1]}, seed=2**80
    )
    (tmp_path / FILE).write_text(json.dumps(fields))
    assert Record.load(tmp_path).fields == fields
