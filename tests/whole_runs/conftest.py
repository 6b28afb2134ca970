"""The command line as a user has it: a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

OWN_PROJECT = Path(__file__).parent.parent / "own_project"
MARK = "TRAINER_CLI_TEST"
"""A variable that a started command hands down to every process that it starts."""


@dataclass
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Started:
    """A command that runs while the test looks on."""

    process: subprocess.Popen[str]
    mark: str
    printed: Path

    def end(self, timeout: float = 60) -> Ended:
        """Wait for its end."""
        code = self.process.wait(timeout)
        texts = [(self.printed / name).read_text() for name in ("stdout", "stderr")]
        return Ended(code, *texts)

    def processes(self) -> dict[int, dict[str, str]]:
        """Every process that it has started and that still runs, itself included: id and environment."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (path / "environ").read_text(errors="replace").split("\0")
                environment = dict(item.split("=", 1) for item in variables if "=" in item)
                zombie = (path / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if environment.get(MARK) == self.mark and not zombie:
                    found[int(path.name)] = environment
        return found

    def ranks(self) -> dict[int, int]:
        """The process of each rank."""
        found = self.processes().items()
        return {int(environment["RANK"]): pid for pid, environment in found if "RANK" in environment}

    def kill(self) -> None:
        """End whatever is left of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


@dataclass
class Shell:
    """Runs `trainer-cli` in a folder, with its runs below `outputs` there."""

    folder: Path
    outputs: Path
    started: list[Started] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trainer_cli", *words]

    def environment(self, **extra: str) -> dict[str, str]:
        # An edit of this repository's files while a test runs is no difference that its runs are to tell of.
        outside = {"GIT_CEILING_DIRECTORIES": str(OWN_PROJECT.parent)}
        return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **outside, **extra}

    def __call__(self, *words: str, **extra: str) -> Ended:
        ended = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=800,  # pytest's own, a test's, is the one that counts
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *words: str, program: list[str] | None = None, **extra: str) -> Started:
        """A run below `outputs`, not waited for; `program` stands in front of its words."""
        mark = uuid.uuid4().hex
        printed = self.outputs.parent / f"printed-{mark}"
        printed.mkdir()
        with (printed / "stdout").open("w") as out, (printed / "stderr").open("w") as err:
            process = subprocess.Popen(
                [*(program or self.command()), *words, f"args.output_dir={self.outputs}"],
                cwd=self.folder,
                env=self.environment(**{MARK: mark}, **extra),
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self.started.append(Started(process, mark, printed))
        return self.started[-1]

    def wait_for_rows(self, count: int, runs: int = 1) -> None:
        """Wait until the newest of so many runs has logged so many rows."""
        wait_until(lambda: len(self.runs) >= runs and (self.last / "metrics.jsonl").is_file())
        wait_until(lambda: (self.last / "metrics.jsonl").read_text().count("\n") >= count)

    def run(self, *words: str, **extra: str) -> Ended:
        """A run below `outputs` that must end well."""
        ended = self(*words, f"args.output_dir={self.outputs}", **extra)
        assert ended.code == 0, ended.text
        return ended

    @property
    def runs(self) -> list[Path]:
        """Directories of all runs, oldest first."""
        return sorted((path.parent for path in self.outputs.rglob("run.json")), key=lambda path: path.name)

    @property
    def last(self) -> Path:
        return self.runs[-1]

    def rows(self, run: Path | None = None) -> list[dict[str, Any]]:
        lines = ((run or self.last) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def record(self, run: Path | None = None) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(((run or self.last) / "run.json").read_text())
        return record

    def predictions(self, run: Path | None = None) -> list[dict[str, Any]]:
        lines = ((run or self.last) / "predictions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Look ten times a second; fails when the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


@contextlib.contextmanager
def ending_all(shell: Shell) -> Iterator[Shell]:
    """Leave no process of the shell's behind."""
    try:
        yield shell
    finally:
        for started in shell.started:
            started.kill()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with ending_all(Shell(folder, tmp_path / "outputs")) as shell:
        yield shell


@pytest.fixture(scope="session")
def project_folder() -> Path:
    """The folder of the user's own project."""
    return OWN_PROJECT


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Shell]:
    """A shell in the folder of the user's own project."""
    with ending_all(Shell(OWN_PROJECT, tmp_path / "outputs")) as shell:
        yield shell


@pytest.fixture(scope="session")
def new_shell() -> type[Shell]:
    """`Shell`, for modules that cannot import it."""
    return Shell


@pytest.fixture
def wait() -> Callable[..., None]:
    """`wait_until`, for modules that cannot import it."""
    return wait_until
