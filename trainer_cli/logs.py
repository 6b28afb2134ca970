"""What a process logs: in train.log all of it, on the terminal what its level asks for."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from io import BufferedWriter, TextIOWrapper
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.config.printable import printable
from trainer_cli.config.secrets import masked

FILE = "train.log"

INTERVAL = 0.5
"""Seconds between two looks at what the other processes have logged."""

READ_BY_ALL = ("trainer_cli.data.", "trainer_cli.model.", "trainer_cli.hub.", "trainer_cli.fitting")
"""The loggers of what reads files and weights, which are the same in all processes."""

RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ (?P<theirs>\[rank \d+\] .*)?")
"""How a record of the file begins; further lines of its message follow as they are."""

log = logging.getLogger("trainer_cli")


class Masked(logging.Formatter):
    """Lines without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(masked(super().format(record)))


class Terminal(logging.Handler):
    """Log lines on standard error, as it is at the moment: the live lines stand in front of it meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(self.format(record) + "\n")  # in one piece: threads and processes share it


class LogFile(logging.FileHandler):
    """Lines in a file; what the disk has no room for is left out."""

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(BufferedWriter(durable.append(Path(self.baseFilename))), encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def start_logging(run_dir: Path, args: Mapping[str, Any]) -> None:
    """The main process writes everything to train.log, and what its level asks for to the terminal.

    The others write what theirs asks for to both, with their rank before it. Where this program's launcher
    started them, their terminal is a file below the run's `ranks`, and `relayed` shows their lines.
    """
    rank = int(os.environ.get("RANK", "0"))
    level = terminal_level(args, rank, int(os.environ.get("LOCAL_RANK", rank)))
    who = f"[rank {rank}] " if rank else ""
    file = LogFile(run_dir / FILE, encoding="utf-8")
    file.setFormatter(Masked(f"%(asctime)s %(levelname)s {who}%(message)s"))
    file.setLevel(level if rank else logging.DEBUG)
    terminal = Terminal(level)
    terminal.setFormatter(Masked(f"{who}%(message)s"))
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.handlers[:] = [file, terminal]
    if rank and level == "WARNING":  # a lower level asks for all that each of them says
        for handler in log.handlers:
            handler.addFilter(said_by_rank)


def said_by_rank(record: logging.LogRecord) -> bool:
    """Whether a line may be of this process alone: the main one tells of the files that all read."""
    return not record.name.startswith(READ_BY_ALL)


def terminal_level(args: Mapping[str, Any], rank: int, local_rank: int) -> str:
    """The least level of what this process says on its terminal."""
    speaks = (local_rank if args["log_on_each_node"] else rank) == 0
    level = str(args["log_level"] if speaks else args["log_level_replica"])
    return ("info" if speaks else "warning").upper() if level == "passive" else level.upper()


@contextlib.contextmanager
def relayed(run_dir: Path) -> Iterator[None]:
    """Meanwhile what the other processes add to train.log is on this one's terminal too."""
    relay = Relay(run_dir / FILE)
    relay.start()
    try:
        yield
    finally:
        relay.over.set()
        relay.join()


class Relay(threading.Thread):
    """Shows the lines that other processes add to a train.log, until `over`."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="relay of train.log", daemon=True)
        self.path = path
        self.place = path.stat().st_size
        self.over = threading.Event()
        self.is_theirs = False  # the record that was last begun

    def run(self) -> None:
        while not self.over.wait(INTERVAL):
            self.show()
        self.show()

    def show(self) -> None:
        """What has come since the last look, as far as its lines are whole."""
        try:
            with durable.opened(self.path) as file:
                file.seek(self.place)
                new = file.read()
        except OSError:
            return
        new = new[: new.rfind(b"\n") + 1]
        self.place += len(new)
        for line in new.decode("utf-8", "replace").split("\n")[:-1]:
            if begun := RECORD.match(line):
                self.is_theirs = begun["theirs"] is not None
            if self.is_theirs:
                say(begun["theirs"] if begun else line)


def say(text: str) -> None:
    """A line on the terminal alone."""
    for handler in log.handlers:
        if isinstance(handler, Terminal):
            handler.handle(logging.makeLogRecord({"msg": text}))
