"""`trainer-cli plan`: what would run, whether it can, and what it would take; trains nothing."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trainer_cli.config.compose import Composition
from trainer_cli.config.environment import as_written
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.config.own_code import headline, raised_in
from trainer_cli.config.printable import say
from trainer_cli.prepare import look
from trainer_cli.runs.console import console
from trainer_cli.signals import leaving_at_signals
from trainer_cli.tracker.jsonl import FILE as METRICS

if TYPE_CHECKING:
    from trainer_cli.engine import Engine


def print_plan(
    overrides: Sequence[str], config_dirs: Sequence[str], preflight: bool = False, traceback: bool = False
) -> int:
    """Compose, check and build everything but a run's directory, and print what came of it.

    With `preflight` each part is then tried once; returns the exit code.
    """
    looked = look(overrides, config_dirs)
    composition, checkpoint = looked.composition, looked.checkpoint
    out = console()
    for note in looked.notes:
        say(note)
    if looked.done:
        return 0
    if checkpoint is None:
        changed = Table("field", "value", "set in", title="values that are no defaults", title_justify="left")
        for key, value, where in set_by_the_user(composition):
            changed.add_row(key, value, where)
        out.print(changed)

    from trainer_cli import preview

    processes = composition.config["strategy"]["num_processes"] or 1
    with built(composition, resume_from=checkpoint) as engine:
        table = Table(show_header=False, title="plan", title_justify="left")
        options = " ".join(f"{group}={option}" for group, option in composition.choices.items())
        for name, text in {
            "options": options,
            **engine.summary,
            **preview.estimates(engine, processes),
        }.items():
            table.add_row(name, text)
        out.print(table)
        if engine.total_steps:
            out.print(preview.groups(engine, composition.config["optim"]))
            width = max(20, min(60, out.width - 12))
            course = preview.learning_rate(engine, composition.config["scheduler"], processes, width)
            out.print(course)
    if not preflight:
        return 0
    from trainer_cli.preflight import preflight as try_run

    del engine  # its memory is for the run that is tried
    return try_run(composition, traceback)


@contextlib.contextmanager
def built(
    composition: Composition, callbacks: bool = True, resume_from: Path | None = None
) -> Iterator[Engine]:
    """The engine of one process of a run, in a directory that is gone after; raises UserError."""
    from trainer_cli import runner

    sys.path[:0] = [str(folder) for folder in composition.folders if str(folder) not in sys.path]
    # One process can plan for several: only the batch depends on their number.
    single = {"name": "single", "num_processes": 1, "max_restarts": 0}
    alone = {**composition.config, "strategy": single, "tracker": {}}
    if not callbacks:
        alone["callbacks"] = {}
    with leaving_at_signals(), tempfile.TemporaryDirectory() as nowhere:
        if resume_from is not None and (rows := resume_from.parent / METRICS).is_file():
            shutil.copy(rows, nowhere)  # the rows that a checkpoint counts
        try:
            engine = runner.build(
                alone, Path(nowhere), resume_from, folders=composition.folders, choices=composition.choices
            )
        except UserError:
            raise
        except Exception as error:
            right = "\n".join(filter(None, [raised_in(error), *getattr(error, "__notes__", ())]))
            raise RunFailed(headline(error), right=right) from error
        yield engine
        for tracker in engine.trackers.values():
            tracker.close()


def set_by_the_user(composition: Composition) -> Iterator[tuple[str, str, str]]:
    """Each key whose last source is no built-in default, with its value and that source."""
    written = as_written(composition.config)
    for key, sources in composition.sources.items():
        value = value_at(written, key)
        if sources[-1].origin != "option" and not isinstance(value, dict):
            yield key, str(value), sources[-1].text


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
