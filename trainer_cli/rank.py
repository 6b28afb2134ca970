"""One process of a run: reads the run's directory, builds, runs, and says how it ended."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.compose import load
from trainer_cli.config.errors import DiskFailed, Diverged, RunFailed, UserError
from trainer_cli.config.own_code import failure
from trainer_cli.config.printable import printable
from trainer_cli.config.secrets import masked
from trainer_cli.launch import die_with_parent, record_failure
from trainer_cli.logs import relayed, start_logging
from trainer_cli.prepare import newest_saved
from trainer_cli.runs.console import console
from trainer_cli.runs.lock import joined
from trainer_cli.runs.record import CONFIG, Record
from trainer_cli.runs.screen import short
from trainer_cli.signals import ONE_SIGNAL, SIGNALS, EarlySignals, Stopped
from trainer_cli.tracker.background import stuck

if TYPE_CHECKING:
    from trainer_cli.engine import Engine

log = logging.getLogger("trainer_cli")


def main() -> int:
    """`python -m trainer_cli.rank RUN_DIR [--traceback]`, as the launcher and sweeps start it."""
    die_with_parent()
    several, run_dir = "RANK" in os.environ, Path(sys.argv[1])
    with joined(run_dir):
        return leave(execute(run_dir, "--traceback" in sys.argv[2:], speaks_for_all=several))


def leave(code: int) -> int:
    """The exit code; a process of several ends here with it, before the interpreter tidies up.

    A thread of gloo outlives its process group and aborts the process if it wakes while Python ends. One
    with a tracker that hangs ends so too: its package may wait for its service for ever.
    """
    if "RANK" in os.environ or stuck():
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def execute(run_dir: Path, show_traceback: bool, speaks_for_all: bool = False) -> int:
    """Carry out the run of this directory in this process; returns the exit code.

    With `speaks_for_all` the main process shows what the others log, who have no terminal.
    """
    record = Record.load(run_dir)
    is_main = os.environ.get("RANK", "0") == "0"
    early = EarlySignals()
    ending = Ending(record, is_main, early)
    try:
        early.watch()
        sys.path[:0] = [folder for folder in record.fields["project"] if folder not in sys.path]
        config = load(run_dir / CONFIG, folders=[Path(folder) for folder in record.fields["project"]])
        start_logging(run_dir, config["args"])
        with relayed(run_dir) if speaks_for_all and is_main else contextlib.nullcontext():
            return carry_out(config, run_dir, ending, early)
    except Stopped as stopped:
        return ending.interrupted(stopped.number)
    except RunFailed as error:
        status = "diverged" if isinstance(error, Diverged) else "failed"
        return ending.failed(error.block(), 1, error if show_traceback else None, status, in_a_line(error))
    except UserError as error:
        code = 1 if is_restart() else 2  # a run that has been restarted is no longer one that can be refused
        return ending.failed(error.block(), code, error if show_traceback else None, cause=in_a_line(error))
    except Exception as error:
        if (known := DiskFailed.of(error, run_dir)) is not None:
            return ending.failed(known.block(), 1, error if show_traceback else None, cause=in_a_line(known))
        if early.came is not None:  # the error is what was left of the import that the signal broke off
            return ending.interrupted(early.came)
        log.debug("failed", exc_info=error)
        return ending.failed(failure(error, show_traceback), 1, None, cause=in_a_line(error))
    finally:
        early.unwatch()


def carry_out(config: Mapping[str, Any], run_dir: Path, ending: Ending, early: EarlySignals) -> int:
    """Build the engine and run its stages."""
    # Importing torch and transformers makes a million objects that stay: the collector's walks over them are
    # a fifth of the time to the first step.
    gc.disable()
    from trainer_cli import runner

    record = ending.record
    if ending.is_main:
        # After a restart; whose process it is, and when it began, the one that prepared it has said.
        record.update(status="running", error=None)
    folders = [Path(folder) for folder in record.fields["project"]]
    engine = runner.build(config, run_dir, resume_from(record), folders, record.fields["choices"])
    gc.enable()
    early.stop_if_came()
    if ending.is_main:
        record.update(
            summary=engine.summary,
            total_steps=engine.total_steps,
            data_fingerprint=engine.fingerprint,
            metric=metric_of(engine),
        )
    with signals(engine, early):
        results = runner.run(engine)
        if engine.state.interrupted:
            code = ending.interrupted(engine.state.signal or signal.SIGTERM, engine.state.step)
        else:
            code = ending.finished(engine, results, runner.status_of(engine))
        # A launcher ends every process as soon as one ends with a code: the main one has to be done by then.
        engine.strategy.barrier()
        # Not where an error ends the run: the others would take the closed connection for a failure of
        # theirs, and may say so before this process has said why.
        engine.strategy.close()
        return code


def metric_of(engine: Engine) -> dict[str, Any] | None:
    """The score that picks the best model, and whether more of it is better; None where nothing is scored."""
    if not engine.scores:
        return None
    name = engine.score_name(None)
    return {"name": name, "greater_is_better": engine.greater_is_better(name)}


def resume_from(record: Record) -> Path | None:
    """The checkpoint to go on from: the one that was asked for, or after a restart the newest."""
    if is_restart():
        newest, rejected = Checkpoints(record.run_dir, None).newest()
        for reason in rejected:
            log.warning("rejected %s", reason)
        if newest is not None:
            return newest
    path = record.fields["resume_from"]
    return None if path is None else Path(path)


def is_restart() -> bool:
    """Whether the launcher started this process again, after one of the run's had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextlib.contextmanager
def signals(engine: Engine, early: EarlySignals) -> Iterator[None]:
    """While the run trains, a signal ends the step at hand and saves; a second one leaves at once.

    So does the first where it does not train: there is nothing to save.
    """
    came = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if engine.state.signal is not None:
            if time.monotonic() - came > ONE_SIGNAL:
                os._exit(128 + number)
        elif engine.training:
            engine.state.signal, came = number, time.monotonic()
        else:
            early.stop(number, frame)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield
    finally:
        early.answer()


class Ending:
    """How the run ends: in run.json, on the screen and as an exit code."""

    def __init__(self, record: Record, is_main: bool, early: EarlySignals) -> None:
        self.record = record
        self.is_main = is_main
        self.early = early

    def finished(self, engine: Engine, results: Mapping[str, float], status: str) -> int:
        """Every stage was carried out, of a pruned run as far as it came."""
        self.early.end()
        if self.is_main:
            clean = {name: value if math.isfinite(value) else None for name, value in results.items()}
            best = engine.state.best_metric
            self.record.end(
                status,
                step=engine.state.step,
                stopped=engine.state.stop,
                results=clean,
                best=best
                if best is None
                else {engine.score_name(None): best, "step": engine.state.best_step},
            )
            print_results(engine, results)
        return 0

    def interrupted(self, number: int, step: int | None = None) -> int:
        """A signal ended it, after this step where it trained."""
        self.early.end()
        if self.is_main:
            steps = Checkpoints(self.record.run_dir, None).steps()
            self._note("preempted", **({} if step is None else {"step": step}))
            at = "" if step is None else f" at step {step}"
            again = "the sweep's command" if "sweep" in self.record.fields else "resume=latest"
            if not steps:
                saved = " with no step to save"
            elif step == steps[-1]:
                saved = f", which is saved; {again} goes on"
            else:
                saved = f"; step {steps[-1]} is saved, and {again} goes on from it"
            print(f"{signal.Signals(number).name}: stopped{at}{saved}", file=sys.stderr)
        return 128 + number

    def _note(self, status: str, **fields: Any) -> None:
        """Write it into run.json, if the disk takes it; what is printed says it all the same."""
        with contextlib.suppress(OSError):
            self.record.end(status, **fields)

    def failed(
        self,
        text: str,
        code: int,
        error: BaseException | None,
        status: str = "failed",
        cause: str | None = None,
    ) -> int:
        """An error ended it; it is shown here, or by the parent that started this process.

        `cause` is what the record has of it; None: the text's last line.
        """
        self.early.end()
        log.debug("failed", exc_info=error)
        if error is not None:
            text = "".join(traceback.format_exception(error)) + text
        text = printable(masked(text))
        if self.is_main:
            self._note(status, error=masked(cause) if cause else text.rstrip().splitlines()[-1])
        if "TORCHELASTIC_ERROR_FILE" in os.environ:
            record_failure(text, code)
        else:
            print(text + (newest_saved(self.record.run_dir) if code == 1 else ""), file=sys.stderr)
        return code


def in_a_line(error: Exception) -> str:
    """An error in one line: of one that nobody foresaw its kind, too."""
    if not isinstance(error, UserError):
        return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    return error.problems[0].what.splitlines()[0] + more


def print_results(engine: Engine, results: Mapping[str, float]) -> None:
    """The table at the end of a run."""
    table = Table(title=f"step {engine.state.step}", title_justify="left", show_header=False)
    for name, value in results.items():
        table.add_row(name, short(value))
    out = console()
    if results:
        out.print(table)
    if "train" in engine.args.stages:
        out.print(f"model: {engine.run_dir / 'model'}", soft_wrap=True)
    if "predict" in engine.args.stages:
        from trainer_cli.predict import FILE

        out.print(f"predictions: {engine.run_dir / FILE}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
