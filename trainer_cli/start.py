"""Starting a prepared run: in this process, in one of its own, or in several; the exit code out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import load
from trainer_cli.config.errors import UserError
from trainer_cli.config.printable import say
from trainer_cli.launch import die_with_parent
from trainer_cli.prepare import Prepared, newest_saved, prepare, take_back
from trainer_cli.runs.lock import joined
from trainer_cli.runs.record import CONFIG, Record
from trainer_cli.signals import SIGNALS, EarlySignals, Stopped


def main() -> int:
    """`python -m trainer_cli.start RUN_DIR [--traceback]`: a sweep's prepared run of several processes."""
    die_with_parent()
    run_dir = Path(sys.argv[1])
    with joined(run_dir):
        folders = [Path(folder) for folder in Record.load(run_dir).fields["project"]]
        strategy = load(run_dir / CONFIG, folders=folders)["strategy"]
        return execute_ranks(run_dir, strategy, "--traceback" in sys.argv[2:])


def execute(prepared: Prepared, traceback: bool) -> int:
    """Run it in as many processes as its strategy asks for, this one where that is one; the exit code.

    A run that is refused leaves no trace; one that has trained anything is kept, whatever its end.
    """
    strategy = prepared.config["strategy"]
    try:
        if strategy["name"] != "single" and "RANK" not in os.environ:
            code = execute_ranks(prepared.run_dir, strategy, traceback)
        else:
            from trainer_cli import rank

            code = rank.execute(prepared.run_dir, traceback)
    except UserError:
        take_back(prepared)
        raise
    if code == 2:
        take_back(prepared)
    return code


def carry_out(make: Callable[[], Prepared], traceback: bool) -> int:
    """Make a run ready, say what is to be said of it, and run it; returns the exit code.

    Its directory is held to the end.
    """
    early = EarlySignals()
    prepared: Prepared | None = None
    try:
        with early.held():  # a run's directory is made whole, or not at all
            early.watch()
            prepared = make()
        for note in prepared.notes:
            say(note)
        if prepared.done:
            return 0
        from trainer_cli import rank

        return rank.leave(execute(prepared, traceback))
    except Stopped as signalled:
        if prepared is None:
            raise
        return stopped(prepared.run_dir, signalled.number)
    finally:
        if prepared is not None:
            prepared.lock.release()


def rank_command(run_dir: Path, traceback: bool) -> list[str]:
    """Python's arguments for one process of a run."""
    return ["-m", "trainer_cli.rank", str(run_dir), *(["--traceback"] if traceback else [])]


def execute_under_launcher(
    overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str], traceback: bool
) -> int:
    """This process's part of a run that a launcher started: rank 0 prepares, the others follow."""
    from trainer_cli import rank
    from trainer_cli.strategy import join

    key = f"trainer-cli/run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if os.environ["RANK"] != "0":
        run_dir = join().get(key).decode()
        join().set(f"{key}/{os.environ['RANK']}", "read")
        with joined(Path(run_dir)) if run_dir else contextlib.nullcontext():
            return rank.leave(rank.execute(Path(run_dir), traceback) if run_dir else 0)
    prepared = prepare(overrides, config_dirs, argv)
    for note in prepared.notes:
        say(note)
    join().set(key, "" if prepared.done else str(prepared.run_dir.resolve()))
    if prepared.done:  # this process, which is about to end, may be the one that holds the store
        join().wait([f"{key}/{number}" for number in range(1, int(os.environ["WORLD_SIZE"]))])
    return rank.leave(0 if prepared.done else execute(prepared, traceback))


def execute_ranks(run_dir: Path, strategy: Mapping[str, Any], traceback: bool) -> int:
    """Start the processes of a run and wait for them; the first failure is shown once."""
    from torch.distributed.elastic.multiprocessing.api import SignalException

    from trainer_cli.launch import launch

    command, count = rank_command(run_dir, traceback), process_count(strategy)
    try:
        failure = launch(command, count, strategy["max_restarts"], run_dir / "ranks")
    except SignalException as signalled:
        return stopped(run_dir, int(signalled.sigval))
    if failure is None:
        return 0
    if failure.exit_code in [128 + number for number in SIGNALS]:
        return failure.exit_code
    code, text = failure.exit_code, failure.message
    if not text:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        text = f"the run failed: process {failure.rank} {how}; more is in {run_dir / 'ranks'}"
    code = 2 if code == 2 else 1
    report_failure(run_dir, text, code)
    return code


def stopped(run_dir: Path, number: int) -> int:
    """A signal ended the run, which its own process may not have been able to answer; the exit code."""
    record = found(run_dir)
    if record is None:
        return 128 + number
    if record.fields["status"] == "running":
        print(f"{signal.Signals(number).name}: stopped before it could save", file=sys.stderr)
        with contextlib.suppress(OSError):  # where the disk is full the record stays as it is
            record.end("preempted")
    return 0 if record.fields["status"] == "finished" else 128 + number


def report_failure(run_dir: Path, text: str, code: int = 1) -> None:
    """Say it and note it, for a process that could not."""
    say(text + (newest_saved(run_dir) if code == 1 else ""))
    record = found(run_dir)
    # Else the main process has said it itself; one that the agent stopped on that account has not.
    if record is not None and record.fields["status"] in ("running", "preempted"):
        with contextlib.suppress(OSError):
            record.end("failed", error=headline(text))


def headline(text: str) -> str:
    """The line of an error's text that says what failed: the one that begins so, else the last."""
    lines = text.rstrip().splitlines()
    return next((line for line in lines if line.startswith(("the run failed: ", "error: "))), lines[-1])


def found(run_dir: Path) -> Record | None:
    """The run's record; None where its directory was deleted meanwhile."""
    try:
        return Record.load(run_dir)
    except (OSError, ValueError):
        return None


def process_count(strategy: Mapping[str, Any]) -> int:
    """Processes to start on this machine: as many as asked for, else one per GPU."""
    if strategy["num_processes"] is not None:
        return int(strategy["num_processes"])
    import torch

    if torch.cuda.device_count() == 0:
        raise UserError(
            "strategy.num_processes is not set, and there is no GPU to count",
            right="strategy.num_processes=2",
        )
    return torch.cuda.device_count()


if __name__ == "__main__":
    sys.exit(main())
