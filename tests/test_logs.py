"""What a process logs, and where it is seen."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from trainer_cli.logs import Relay, relayed, start_logging, terminal_level

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


def close(handlers: Iterable[logging.Handler]) -> None:
    for handler in handlers:
        handler.close()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    log = logging.getLogger("trainer_cli")
    before = log.handlers[:], log.level, log.propagate
    yield log
    close(log.handlers)
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
        close(logger.handlers)
    assert capsys.readouterr().err.splitlines() == ["info of 0", "warning of 0", "[rank 1] warning of 1"]
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()]
    assert lines == [
        "DEBUG debug of 0",
        "INFO info of 0",
        "WARNING warning of 0",
        "WARNING [rank 1] warning of 1",
    ]


@pytest.mark.parametrize(("replica", "theirs"), [("warning", 0), ("info", 1)])
def test_what_all_processes_read_is_told_by_the_main_one(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, replica: str, theirs: int
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        start_logging(tmp_path, {**LEVELS, "log_level_replica": replica})
        logging.getLogger("trainer_cli.data.labels").warning("labels")
        logging.getLogger("trainer_cli.loop").warning("loop")
        close(logger.handlers)
    text = (tmp_path / "train.log").read_text()
    assert text.count("WARNING labels") == 1 and text.count("[rank 1] loop") == 1
    assert text.count("[rank 1] labels") == theirs


OURS, THEIRS = "2026-11-22 10:00:00,123 WARNING ", "2026-11-22 10:00:00,456 ERROR [rank 1] "


@pytest.fixture
def relay(tmp_path: Path, logger: logging.Logger) -> Relay:
    """One that has not looked yet, at the log of a run that goes on."""
    (tmp_path / "train.log").write_text(f"{THEIRS}of an earlier start\n")
    start_logging(tmp_path, {**LEVELS, "log_level": "critical"})
    return Relay(tmp_path / "train.log")


def add(relay: Relay, text: str) -> None:
    with relay.path.open("a") as file:
        file.write(text)


def test_the_lines_of_the_others_are_shown_whole_once_and_as_they_are(
    relay: Relay, capsys: pytest.CaptureFixture[str]
) -> None:
    add(
        relay,
        f"{OURS}mine\nand more of it\n{THEIRS}50% of [bold]it\nsecond \u2028 line\n{OURS}mine\n{THEIRS}ha",
    )
    relay.show()
    assert capsys.readouterr().err == "[rank 1] 50% of [bold]it\nsecond \u2028 line\n"
    relay.show()
    assert capsys.readouterr().err == ""
    add(relay, "lf\nthe rest\n")
    relay.show()
    assert capsys.readouterr().err == "[rank 1] half\nthe rest\n"


def test_what_another_process_logs_is_found(
    relay: Relay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logger: logging.Logger,
) -> None:
    mine = logger.handlers[:]
    monkeypatch.setenv("RANK", "11")
    start_logging(tmp_path, {**LEVELS, "log_level_replica": "info"})
    logger.debug("unheard")
    logger.info("heard\ntwice")
    close(logger.handlers)
    logger.handlers[:] = mine
    capsys.readouterr()
    relay.show()
    assert capsys.readouterr().err == "[rank 11] heard\ntwice\n"


def test_nothing_is_left_unsaid_at_the_end(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    with relayed(relay.path.parent):
        add(relay, f"{THEIRS}the last word\n")
    assert capsys.readouterr().err == "[rank 1] the last word\n"


def test_a_log_that_has_gone_ends_nothing(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    relay.path.unlink()
    relay.show()
    assert capsys.readouterr().err == ""
