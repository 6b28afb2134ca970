"""Weights & Biases offline, read back from the file that it would send."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kept_tracker import points
from small_run import run

from trainer_cli.tracker import Background, WandB

pytest.importorskip("wandb")
pytestmark = pytest.mark.slow

WORDS = ("tracker=wandb", "tracker.wandb.mode=offline", "args.eval_strategy=steps", "args.eval_steps=5")
BLOCK = 2**15


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the user's own settings."""
    for name in ("WANDB_PROJECT", "WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def records(file: Path) -> Iterator[Any]:
    """The records of a wandb file: a LevelDB log of protocol buffers, behind seven bytes of its own."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            yield Record.FromString(whole)
            whole = b""


def sessions(run_dir: Path) -> list[list[Any]]:
    """The records of each start of the run, oldest first, as soon as all of them have their end.

    wandb's own process writes them, and closes a file only after `finish` has returned.
    """
    for _ in range(600):
        found = [list(records(file)) for file in sorted((run_dir / "wandb").glob("offline-run-*/*.wandb"))]
        if found and all(any(one.HasField("exit") for one in session) for session in found):
            return found
        time.sleep(0.1)
    pytest.fail("a session of wandb has no end")


def history(session: list[Any]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for record in session:
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            if not name.startswith("_"):
                found.setdefault(name, []).append((record.history.step.num, json.loads(item.value_json)))
    return found


def test_every_number_is_there_and_a_resumption_goes_on_in_the_same_run(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saving = ("args.save_strategy=steps", "args.save_steps=5", "args.save_total_limit=null")
    run(run_dir, *WORDS, *saving)
    (whole,) = sessions(run_dir)
    assert history(whole) == points(run_dir)
    time.sleep(1)  # wandb tells sessions apart by the second
    run(run_dir, *WORDS, *saving, resume_from=run_dir / "checkpoint-5")
    _, resumed = sessions(run_dir)
    assert history(resumed) == {
        name: later
        for name, at in points(run_dir).items()
        if (later := [(step, value) for step, value in at if step > 5])
    }
    (first,), (second,) = (
        [one.run for one in session if one.HasField("run")] for session in (whole, resumed)
    )
    assert first.run_id == second.run_id
    assert (first.project, first.display_name) == ("demo", run_dir.name)
    config = {one.key or "/".join(one.nested_key): one.value_json for one in first.config.update}
    assert config["optim.lr"] == "0.01"
    assert [one.exit.exit_code for one in whole if one.HasField("exit")] == [0]
    # It says nothing, and writes nothing beside the run.
    out, err = capfd.readouterr()
    assert "wandb" not in out + err
    assert list(Path.cwd().iterdir()) == []


def test_how_a_run_ended_is_told_and_what_is_not_finite_sent(run_dir: Path) -> None:
    tracker = WandB(project="p", entity=None, mode="offline", timeout=30.0)
    tracker.start(run_dir, 0, 0)
    tracker.log({"step": 1, "epoch": 0.0, "a": math.nan, "b": math.inf, "c": "text"})
    tracker.close("preempted")
    (session,) = sessions(run_dir)
    assert [one.exit.exit_code for one in session if one.HasField("exit")] == [1]
    assert any(one.HasField("preempting") for one in session)
    read_back = history(session)
    assert math.isnan(read_back["a"][0][1]) and read_back["b"] == [(1, math.inf)] and "c" not in read_back


def test_without_a_key_it_asks_nobody_and_says_so_once(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    monkeypatch.setenv("HOME", str(run_dir))
    monkeypatch.setenv("NETRC", str(run_dir / "netrc"))
    tracker = WandB(project="p", entity=None, mode="online", timeout=30.0)
    behind = Background("wandb", tracker)
    behind.start(run_dir, 0, 0)
    behind.log({"step": 1, "epoch": 0.0})
    behind.close()
    (warning,) = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert "tracker wandb fails, training goes on" in warning and "key" in warning
    wandb.teardown()
