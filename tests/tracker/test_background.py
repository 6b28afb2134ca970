"""A tracker that fails says so once, and the run goes on as if it were not there."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kept_tracker import Kept
from small_run import built, run

from trainer_cli import runner
from trainer_cli.config.errors import Diverged
from trainer_cli.tracker import Background, background
from trainer_cli.tracker.jsonl import FILE, read

KEPT = ("plugins=[small_run,kept_tracker]", "tracker.mine._target_=kept_tracker.Kept")


@pytest.fixture(autouse=True)
def none_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker hung in another test."""
    monkeypatch.setattr(background, "_stuck", set())


@pytest.fixture
def plain(tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of the run without a tracker."""
    run(tmp_path / "plain")
    return read(tmp_path / "plain" / FILE)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelno >= logging.WARNING]


def test_it_is_told_every_row_in_order_on_a_thread_of_its_own(
    tmp_path: Path, plain: list[dict[str, Any]]
) -> None:
    run(tmp_path / "run", *KEPT)
    start, *rows, status = Kept.last.calls
    assert (start, status) == ((0, 0), "finished")
    assert rows == read(tmp_path / "run" / FILE)
    assert [{**row, "epoch": 0} for row in rows] == [{**row, "epoch": 0} for row in plain]
    assert len(Kept.last.threads - {threading.get_ident()}) == 1


@pytest.mark.parametrize("fails_in", ["init", "start", "log", "close"])
@pytest.mark.parametrize("error", ["OSError", "exit", "KeyboardInterrupt"])
def test_a_tracker_that_fails_is_said_once_and_the_run_ends_with_the_right_numbers(
    tmp_path: Path,
    plain: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    fails_in: str,
    error: str,
) -> None:
    if (fails_in, error) == ("init", "KeyboardInterrupt"):
        pytest.skip("on the main thread that is the user's own")
    with caplog.at_level(logging.INFO):
        run(tmp_path / "run", *KEPT, f"+tracker.mine.fails_in={fails_in}", f"+tracker.mine.error={error}")
    assert read(tmp_path / "run" / FILE) == plain
    (warning,) = warnings(caplog)
    assert "tracker mine" in warning and "metrics.jsonl has its rows" in warning
    assert {"OSError": "OSError: no service", "exit": "SystemExit: 3"}.get(error, error) in warning
    assert "there" not in warning
    assert not background.stuck()


def test_one_that_cannot_start_is_told_no_more(tmp_path: Path) -> None:
    run(tmp_path / "run", *KEPT, "+tracker.mine.fails_in=start")
    assert Kept.last.calls == [(0, 0)]


def test_one_that_keeps_failing_is_told_no_more_rows_but_that_the_run_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(tmp_path / "run", *KEPT, "+tracker.mine.fails_in=log", "args.num_train_epochs=4")
    _, *rows, status = Kept.last.calls
    assert len(rows) == background.MOST_FAILURES and status == "finished"
    count = len(read(tmp_path / "run" / FILE))
    assert f"tracker mine lacks {count} of {count} rows that metrics.jsonl has" in caplog.messages


@pytest.mark.parametrize("fails_in", ["start", "log", "close"])
def test_one_that_hangs_holds_nothing_up_but_the_end_and_that_only_so_long(
    tmp_path: Path, plain: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, fails_in: str
) -> None:
    words = (f"+tracker.mine.fails_in={fails_in}", "+tracker.mine.error=hang", "+tracker.mine.timeout=0.5")
    with built(tmp_path / "run", *KEPT, *words) as engine:
        begin = time.monotonic()
        runner.run(engine)
        assert time.monotonic() - begin < 5
    Kept.last.go_on.set()
    assert read(tmp_path / "run" / FILE) == plain
    (warning,) = warnings(caplog)
    assert "in time" in warning or "no answer" in warning
    assert background.stuck()


def test_one_that_hangs_while_training_is_said_then(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Kept("log", "hang", timeout=0.05)
    behind = Background("mine", tracker)
    behind.start(Path(), 0, 0)
    behind.log({"step": 1})
    time.sleep(0.2)
    behind.log({"step": 2})
    assert warnings(caplog) == [
        "tracker mine fails, training goes on; metrics.jsonl has its rows: no answer for 0.05 s"
    ]
    tracker.go_on.set()
    behind.close()


@pytest.mark.parametrize(("timeout", "said"), [(0.3, ["waiting for tracker mine, 0.3 s at most"]), (0.1, [])])
def test_a_wait_that_takes_long_is_spoken_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, timeout: float, said: list[str]
) -> None:
    monkeypatch.setattr(background, "PATIENCE", 0.2)
    tracker = Kept("close", "hang", timeout=timeout)
    behind = Background("mine", tracker)
    behind.start(Path(), 0, 0)
    with caplog.at_level(logging.INFO):
        behind.close()
    tracker.go_on.set()
    assert caplog.messages == [*said, "tracker mine did not end in time; metrics.jsonl has its rows"]


def test_rows_that_wait_do_not_fill_the_memory(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_WAITING", 5)
    tracker = Kept("start", "hang")
    behind = Background("mine", tracker)
    behind.start(Path(), 0, 0)
    while behind.calls.qsize():
        time.sleep(0.01)
    for step in range(20):
        behind.log({"step": step})
    tracker.go_on.set()
    with caplog.at_level(logging.INFO):
        behind.close()
    assert [row["step"] for row in tracker.calls[1:-1]] == [0, 1, 2, 3, 4]
    assert caplog.messages == ["tracker mine lacks 15 of 20 rows that metrics.jsonl has"]


def test_a_signal_while_it_waits_ends_the_wait_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Kept("close", "hang")
    behind = Background("mine", tracker)
    behind.start(Path(), 0, 0)
    real = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        monkeypatch.setattr(threading.Thread, "join", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    behind.close()
    tracker.go_on.set()
    assert background.stuck()


def test_where_no_thread_can_be_had_there_is_no_tracker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    behind = Background("mine", Kept())
    behind.start(Path(), 0, 0)
    behind.log({"step": 1})
    behind.close()
    assert len(warnings(caplog)) == 1 and behind.calls.qsize() <= 1


def test_a_row_is_sent_as_it_was_logged() -> None:
    tracker = Kept()
    behind = Background("mine", tracker)
    behind.start(Path(), 0, 0)
    row = {"step": 1}
    behind.log(row)
    row["step"] = 2
    behind.close()
    behind.close()  # which changes nothing
    assert tracker.calls == [(0, 0), {"step": 1}, "finished"]


def test_how_the_run_ended_is_told(tmp_path: Path) -> None:
    with built(tmp_path / "stopped", *KEPT) as engine:
        engine.state.signal = 15
        runner.run(engine)
    assert Kept.last.calls[-1] == "preempted"
    with built(tmp_path / "diverged", *KEPT, "optim.lr=1e30", "optim=sgd") as engine, pytest.raises(Diverged):
        runner.run(engine)
    assert Kept.last.calls[-1] == "diverged"
    with built(tmp_path / "failed", *KEPT) as engine:
        engine.args.stages.append("none")  # type: ignore[arg-type]
        with pytest.raises(KeyError):
            runner.run(engine)
    assert Kept.last.calls[-1] == "failed"


def test_a_rollback_starts_it_again(tmp_path: Path) -> None:
    words = ("args.on_nonfinite=rollback", "args.save_strategy=steps", "args.save_steps=2")
    poisoned = ("data.train._target_=small_run.Poisoned",)
    model = ("model._target_=small_run.DoubleMLP", "data.eval._target_=small_run.DoubleRows")
    run(tmp_path, *KEPT, *words, *poisoned, *model, "args.num_train_epochs=1")
    starts = [call for call in Kept.last.calls if isinstance(call, tuple)]
    assert starts[0] == (0, 0) and len(starts) == 2 and starts[1][0] > 0
