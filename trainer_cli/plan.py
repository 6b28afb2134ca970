"""`trainer-cli plan`: what would run, whether it can, and what it would take; trains nothing."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trainer_cli.config.compose import Composition, compose
from trainer_cli.runs.console import console

if TYPE_CHECKING:
    from trainer_cli.engine import Engine


def print_plan(overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Compose, check and build everything but a run's directory, and print what came of it."""
    composition = compose(overrides, config_dirs=config_dirs)
    out = console()
    for warning in composition.warnings:
        print(warning, file=sys.stderr)
    changed = Table("field", "value", "set in", title="values that are no defaults", title_justify="left")
    for key, value, where in set_by_the_user(composition):
        changed.add_row(key, value, where)
    out.print(changed)

    from trainer_cli import runner

    sys.path[:0] = [str(folder) for folder in composition.folders]
    processes = composition.config["strategy"]["num_processes"] or 1
    # One process can plan for several: only the batch depends on their number.
    alone = {**composition.config, "strategy": {"name": "single", "num_processes": 1, "max_restarts": 0}}
    with tempfile.TemporaryDirectory() as nowhere:
        engine = runner.build(alone, Path(nowhere), folders=composition.folders)
        table = Table(show_header=False, title="plan", title_justify="left")
        options = " ".join(f"{group}={option}" for group, option in composition.choices.items())
        for name, text in {"options": options, **engine.summary, **estimates(engine, processes)}.items():
            table.add_row(name, text)
        out.print(table)
        for tracker in engine.trackers.values():
            tracker.close()
    return 0


def set_by_the_user(composition: Composition) -> Iterator[tuple[str, str, str]]:
    """Each key whose last source is no built-in default, with its value and that source."""
    for key, sources in composition.sources.items():
        value = value_at(composition.config, key)
        if sources[-1].origin != "option" and not isinstance(value, dict):
            yield key, str(value), sources[-1].text


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def estimates(engine: Engine, processes: int) -> dict[str, str]:
    """Steps, tokens, memory and disk, from the sizes of what was built."""
    from trainer_cli.data.build import count_steps
    from trainer_cli.data.loader import KnowsLengths

    loader = dataclasses.replace(engine.train_loader, world_size=processes)
    steps = count_steps(engine.args, loader)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in engine.module.parameters())
    trained = sum(parameter.numel() * parameter.element_size() for parameter in engine.parameters)
    state = 2 * trained  # what Adam keeps; SGD keeps half of it or nothing
    lines = {
        "parameters": f"{weights / 4e6:.2f}M, {trained / 4e6:.2f}M of them trained",
        "batch": f"{loader.per_device} rows × {loader.accumulation} micro-batches × {processes} processes"
        f" = {loader.global_batch}",
        "steps": f"{steps}" + (f", {loader.updates_per_epoch} an epoch" if loader.updates_per_epoch else ""),
    }
    if isinstance(loader.dataset, KnowsLengths) and loader.size:
        tokens = sum(loader.dataset.lengths)
        epochs = steps * loader.global_batch / loader.size
        lines["tokens"] = f"{tokens:,} an epoch, about {int(tokens * epochs):,} in all"
    lines["memory"] = (
        f"{size(weights + trained + state)} for weights, gradients and Adam's state, and activations"
    )
    kept = engine.args.save_total_limit
    checkpoint = weights + state
    lines["disk"] = f"{size(checkpoint)} a checkpoint" + (
        f", {size(checkpoint * (kept + 1) + weights)} at most" if kept else ", all of them kept"
    )
    return lines


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
