"""trainer-cli plan --preflight: each part of a run tried once, in the processes that it will have."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import Composition, dump, load
from trainer_cli.config.environment import Configuration
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.config.printable import say
from trainer_cli.launch import die_with_parent, launch, record_failure, run_alone
from trainer_cli.runs.record import CONFIG
from trainer_cli.signals import SIGNALS, leaving_at_signals
from trainer_cli.start import process_count

PROGRESS = "trainer_cli.callbacks.Progress"


def preflight(composition: Composition, show_traceback: bool) -> int:
    """Try the run in processes of its own, and leave nothing behind; returns the exit code.

    Raises UserError where the output's file system cannot be written to.
    """
    changed = {"resume": None, "callbacks": watching(composition.config["callbacks"])}
    config = Configuration({**composition.config, **changed}, composition.config.read)
    strategy = config["strategy"]
    sys.stdout.flush()
    give_back_memory()
    with leaving_at_signals(), temporary_directory(Path(config["args"]["output_dir"])) as folder:
        dump(config, folder / CONFIG, "a preflight")
        flags = ["--traceback"] if show_traceback else []
        command = ["-m", "trainer_cli.preflight", str(folder), *map(str, composition.folders), *flags]
        if strategy["name"] == "single":
            code = run_alone(command)
            return code if code >= 0 else killed(signal.Signals(-code))

        from torch.distributed.elastic.multiprocessing.api import SignalException

        try:
            failure = launch(command, process_count(strategy), 0, folder / "ranks")
        except SignalException as stopped:
            return 128 + int(stopped.sigval)
        if failure is None:
            return 0
        if failure.exit_code < 0:
            return killed(signal.Signals(-failure.exit_code))
        print(
            failure.message or f"process {failure.rank} ended with code {failure.exit_code}", file=sys.stderr
        )
        return failure.exit_code


def watching(callbacks: Mapping[str, Any]) -> dict[str, Any]:
    """The callbacks, less those that show a run's progress."""
    return {
        name: node for name, node in callbacks.items() if node is not None and node["_target_"] != PROGRESS
    }


def give_back_memory() -> None:
    """Return what this process holds of the run that it planned: the one that is tried may need it."""
    import torch

    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def temporary_directory(output_dir: Path) -> Iterator[Path]:
    """An empty directory on the file system of the runs, below what there is of their root; gone after."""
    root = next(path for path in (output_dir, *output_dir.absolute().parents) if path.is_dir())
    try:
        folder = tempfile.TemporaryDirectory(prefix=".preflight-", dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(
            f"no run's directory can be made in {root}: {error.strerror}",
            right="args.output_dir=DIR names a directory that can be written",
        ) from error
    with folder as name:
        yield Path(name)


def killed(number: signal.Signals) -> int:
    """Say that a signal ended the process, unless the user sent it; returns the exit code."""
    if number in SIGNALS:
        return 128 + number
    print(f"error: the preflight's process was killed by {number.name}", file=sys.stderr)
    if number == signal.SIGKILL:
        print("  as the kernel does where main memory runs out", file=sys.stderr)
    return 1


def main() -> int:
    """`python -m trainer_cli.preflight RUN_DIR FOLDER... [--traceback]`, one process of a preflight."""
    die_with_parent()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # there is nothing to save, and no traceback to show
    run_dir, *folders = [Path(word) for word in sys.argv[1:] if word != "--traceback"]
    sys.path[:0] = [str(folder) for folder in folders]
    logging.getLogger("trainer_cli").addHandler(logging.NullHandler())  # an error is said once, at its stage
    from trainer_cli.trials import StageFailed, attempt

    try:
        attempt(load(run_dir / CONFIG, folders=folders), run_dir, folders)
        code = 0
    except StageFailed as failed:
        error = failed.__cause__
        assert error is not None
        code = 2 if isinstance(error, UserError) and not isinstance(error, RunFailed) else 1
        text = failed.block()
        if "--traceback" in sys.argv:
            text = "".join(traceback.format_exception(error)) + text
        if "TORCHELASTIC_ERROR_FILE" in os.environ:
            record_failure(text, code)
        else:
            say(text)
    if "RANK" in os.environ:  # as a rank of a run ends: a thread of gloo may abort the interpreter's end
        sys.stdout.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
