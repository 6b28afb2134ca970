"""Whether the classes that a configuration names keep the contracts of their groups, before any is made."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra.utils

from trainer_cli.callbacks import Callback
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.hugging_face import EVENTS
from trainer_cli.config.nearest import did_you_mean, nearest
from trainer_cli.config.places import short
from trainer_cli.data.source import DataSource
from trainer_cli.loss import Loss
from trainer_cli.metrics import Metric
from trainer_cli.tracker import Tracker

CONTRACTS: dict[str, type] = {"callbacks": Callback, "tracker": Tracker, "metrics": Metric, "loss": Loss}
"""The class that every class of a group is made on."""


def check_contracts(config: Mapping[str, Any]) -> None:
    """Raise UserError for methods that no one would call, cannot be called, or are not there."""
    problems: list[Problem] = []
    for group, contract in CONTRACTS.items():
        section = config[group]
        nodes = {group: section} if "_target_" in section else section
        for name, node in nodes.items():
            if node is None:
                continue
            where, made = (
                name if name == group else f"{group}.{name}",
                hydra.utils.get_object(node["_target_"]),
            )
            if isinstance(made, type) and issubclass(made, contract):
                problems += misfits(f"{where} ({node['_target_']})", made, contract)
    if problems:
        raise UserError.many(problems)


def check_source(target: str, data: Any) -> None:
    """Raise UserError where what `data._target_` makes is no source of data."""
    members = [name for name in vars(DataSource) if not name.startswith("_")]
    lacks = [name for name in members if name not in dir(data)]
    if lacks:
        hints = [_instead(name, type(data)) for name in lacks]
        raise UserError.many([_lacking(f"data ({target})", lacks, "source of data", hints)])


def misfits(what: str, made: type, contract: type) -> Iterator[Problem]:
    """What is wrong with the methods of a class by its contract."""
    lacks = sorted(getattr(made, "__abstractmethods__", ()))
    if lacks:
        hints = [_instead(name, made) for name in lacks]
        yield _lacking(what, lacks, contract.__name__, hints)
    known = {name: method for name, method in vars(contract).items() if inspect.isfunction(method)}
    for name in dir(made):
        method = inspect.getattr_static(made, name)
        if not inspect.isfunction(method) or method is known.get(name):
            continue
        if name in known and not (name.startswith("__") and name != "__call__"):
            given = list(inspect.signature(known[name]).parameters)[1:]
            if not _takes(method, len(given)):
                takes = ", ".join(list(inspect.signature(method).parameters)[1:])
                wrong = f"{what}: {name} takes ({takes}), and is given ({', '.join(given)})"
                right = f"def {name}({', '.join(['self', *given])})"
                yield Problem(wrong, _line(method), right)
        elif contract is Callback and name.startswith("on_"):
            events = [event.removeprefix("on_") for event in known if event.startswith("on_")]
            near = did_you_mean(name.removeprefix("on_"), events, prefix="on_")
            near = f"it is {EVENTS[name]} here" if name in EVENTS else near
            right = near or f"there are: on_{', on_'.join(events)}"
            yield Problem(f"{what} has {name}, and there is no such event", _line(method), right)


def _takes(method: Any, count: int) -> bool:
    """Whether the method can be called with itself and so many values."""
    try:
        inspect.signature(method).bind(None, *[None] * count)
    except TypeError:
        return False
    return True


def _lacking(what: str, lacks: list[str], kind: str, hints: list[str]) -> Problem:
    right = "\n".join(filter(None, hints)) or "docs/callbacks_and_metrics.md has an example"
    return Problem(f"{what} has no {', '.join(lacks)}, which a {kind} needs", right=right)


def _instead(name: str, made: type) -> str:
    """A hint at the method of the class that was probably meant."""
    near = nearest(name, [other for other in vars(made) if not other.startswith("_")])
    return f"did you mean {name} for {near[0]}?" if near else ""


def _line(method: Any) -> str:
    code = method.__code__
    return f"{short(Path(code.co_filename))}:{code.co_firstlineno}"
