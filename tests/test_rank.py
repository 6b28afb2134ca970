"""One process of a run, before there is a step to end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from trainer_cli.rank import EarlySignals, Stopped, start_logging, terminal_level


@pytest.fixture
def early() -> Iterator[EarlySignals]:
    signals = EarlySignals()
    signals.watch()
    yield signals
    signals.unwatch()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_raised_where_the_process_is(early: EarlySignals, number: int) -> None:
    early.stop_if_came()
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), number)
    assert stopped.value.number == number


def test_a_signal_that_a_library_caught_is_raised_once_more(early: EarlySignals) -> None:
    try:  # noqa: SIM105
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as modules do around what they import
        pass
    with pytest.raises(Stopped):
        early.stop_if_came()


def test_a_signal_that_comes_twice_at_once_is_one(early: EarlySignals) -> None:
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # from the terminal, and from the launcher


def test_who_answered_before_answers_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals = EarlySignals()
    signals.watch()
    assert signal.getsignal(signal.SIGTERM) != before
    signals.unwatch()
    assert signal.getsignal(signal.SIGTERM) == before


LEVELS = {"log_level": "passive", "log_level_replica": "warning", "log_on_each_node": True}


@pytest.mark.parametrize(
    ("args", "rank", "local_rank", "level"),
    [
        ({}, 0, 0, "INFO"),
        ({}, 1, 1, "WARNING"),
        ({}, 8, 0, "INFO"),
        ({"log_on_each_node": False}, 8, 0, "WARNING"),
        ({"log_on_each_node": False}, 0, 0, "INFO"),
        ({"log_level": "critical"}, 0, 0, "CRITICAL"),
        ({"log_level": "critical"}, 8, 0, "CRITICAL"),
        ({"log_level_replica": "debug"}, 9, 1, "DEBUG"),
        ({"log_level_replica": "passive"}, 9, 1, "WARNING"),
    ],
)
def test_each_process_says_what_its_level_asks_for(
    args: Mapping[str, object], rank: int, local_rank: int, level: str
) -> None:
    assert terminal_level({**LEVELS, **args}, rank, local_rank) == level


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    log = logging.getLogger("trainer_cli")
    before = log.handlers[:], log.level, log.propagate
    yield log
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def test_all_processes_write_one_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logger: logging.Logger,
) -> None:
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        start_logging(tmp_path, LEVELS)
        for level in ("debug", "info", "warning"):
            getattr(logger, level)("%s of %d", level, rank)
        for handler in logger.handlers:
            handler.close()
    assert capsys.readouterr().err.splitlines() == ["info of 0", "warning of 0", "[rank 1] warning of 1"]
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()]
    assert lines == [
        "DEBUG debug of 0",
        "INFO info of 0",
        "WARNING warning of 0",
        "WARNING [rank 1] warning of 1",
    ]
