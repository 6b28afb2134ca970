"""Which of many runs are meant, and in which order: filters on all that is known of a run."""

from __future__ import annotations

import datetime
import fnmatch
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.config import bounds
from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.runs.record import CONFIG, Record, now
from trainer_cli.tracker.jsonl import FILE as METRICS
from trainer_cli.tracker.jsonl import as_row

FILTER = re.compile(r"(?P<key>[^=<>!]+)(?P<how>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Filter:
    """What a run's value of `key` must be: `=` and `!=` take globs, `<` and `>` numbers or text."""

    key: str
    how: str
    wanted: str

    @classmethod
    def parse(cls, word: str) -> Filter | None:
        """The filter that a word of the command line is, if it is one."""
        match = FILTER.fullmatch(word)
        return cls(match["key"].strip(), match["how"], match["value"].strip()) if match else None

    def __str__(self) -> str:
        return f"{self.key}{self.how}{self.wanted}"

    def passes(self, value: Any) -> bool:
        """Whether a value is as wanted; a missing one is equal to nothing but null."""
        if self.how in ("=", "!="):
            return is_like(value, self.wanted) == (self.how == "=")
        if is_number(value) and (wanted := number(self.wanted)) is not None:
            order = (value > wanted) - (value < wanted)
        elif isinstance(value, str):
            order = (value > self.wanted) - (value < self.wanted)
        else:
            return False
        return order in {">": (1,), "<": (-1,), ">=": (0, 1), "<=": (-1, 0)}[self.how]


def is_like(value: Any, wanted: str) -> bool:
    """Whether a value is what a text says: equal as a number, or as text and glob."""
    if is_number(value) and (as_number := number(wanted)) is not None:
        return bool(value == as_number)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    text = text if isinstance(value, str) else text.replace('"', "")  # as on the command line: [train,eval]
    return text == wanted or fnmatch.fnmatchcase(text, wanted)


def is_number(value: Any) -> bool:
    """Whether it can be compared as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(text: str) -> float | None:
    """The number that a text is."""
    try:
        return float(text)
    except ValueError:
        return None


@dataclass
class Run:
    """A run as it is looked at; its config.yaml and metrics.jsonl are read only when asked for."""

    record: Record

    @cached_property
    def status(self) -> str:
        """How it stands."""
        return self.record.status

    @cached_property
    def steps(self) -> int | None:
        """Updates so far: of a run that has not said where it ended, as its last row has it."""
        fields = self.record.fields
        has_ended = fields.get("status") != "running" and fields.get("step") is not None
        last = None if has_ended else last_step(self.record.run_dir / METRICS)
        return fields.get("step") if last is None else last

    @property
    def best(self) -> tuple[str, float] | None:
        """The score that picks the best model, at its best."""
        scores = (self.record.fields.get("best") or {}).items()
        return next(((name, value) for name, value in scores if name != "step" and is_number(value)), None)

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has run, in all its sessions; None where one was cut off at an unknown time."""
        fields = self.record.fields
        sessions = fields.get("sessions") or ()
        starts = [moment(one.get("at")) for one in sessions] if len(sessions) > 1 else [self.created]
        ends = [moment(one.get("ended")) for one in sessions[:-1]]
        ends.append(now() if self.status == "running" else moment(fields.get("ended")))
        spans = [(end - start).total_seconds() for start, end in zip(starts, ends) if start and end]
        return sum(spans) if len(spans) == len(starts) else None

    @property
    def created(self) -> datetime.datetime | None:
        """When it was first started."""
        return moment(self.record.fields["created"])

    @property
    def age(self) -> float | None:
        """Seconds since then."""
        return (now() - self.created).total_seconds() if self.created else None

    @cached_property
    def sections(self) -> dict[str, Any]:
        """The sections of its configuration that were asked for."""
        return {}

    @cached_property
    def config_text(self) -> str:
        """Its config.yaml, with a mark in the place of what is no text; empty where there is none."""
        try:
            return durable.read_text(self.record.run_dir / CONFIG, errors="replace")
        except (OSError, ValueError):
            return ""

    def known(self, key: str) -> Any:
        """What its record has of a key; raises KeyError where it has nothing."""
        if key in COLUMNS:
            return COLUMNS[key](self)
        fields = self.record.fields
        results = {**(fields.get("best") or {}), **(fields.get("results") or {})}
        for place in (fields.get("choices") or {}, fields, results):
            if key in place:
                return place[key]
        if f"eval/{key}" in results:
            return results[f"eval/{key}"]
        return at(fields, key)

    def value(self, key: str) -> Any:
        """What its record or its configuration has of a key; raises KeyError."""
        try:
            return self.known(key)
        except KeyError:
            name = key.partition(".")[0]
            if name not in self.sections:
                self.sections[name] = section(self.config_text, name)
            return at(self.sections[name], key)

    def get(self, key: str) -> Any:
        """The same, or None."""
        try:
            return self.value(key)
        except KeyError:
            return None


COLUMNS: dict[str, Callable[[Run], Any]] = {
    "run": lambda run: str(run.record.run_dir),
    "status": lambda run: run.status,
    "steps": lambda run: run.steps,
    "step": lambda run: run.steps,
    "best": lambda run: run.best and run.best[1],
    "took": lambda run: run.seconds,
    "age": lambda run: run.age,
    "sweep": lambda run: (run.record.fields.get("sweep") or {}).get("name"),
}
"""What runs can be filtered and sorted by beside the fields of their records: seconds for times."""


def moment(text: Any) -> datetime.datetime | None:
    """A point in time as run.json has it; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(text).astimezone()
    except (TypeError, ValueError):
        return None


def at(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; raises KeyError."""
    if key in values:
        return values[key]
    first, _, rest = key.partition(".")
    below = values[first] if rest else None
    if not isinstance(below, Mapping):
        raise KeyError(key)
    return at(below, rest)


def section(config: str, name: str) -> dict[str, Any]:
    """One section of a config.yaml: reading the whole of a thousand takes seconds."""
    lines = re.search(rf"^{re.escape(name)}:.*\n(?:(?:[ -].*)?\n)*", config, re.MULTILINE)
    try:
        return tree(lines[0]) if lines else {}
    except ValueError:
        return {}


def tree(config: str) -> dict[str, Any]:
    """What a config.yaml says; raises ValueError where it is damaged."""
    import yaml  # only where a filter needs it

    try:
        bounds.check(config)
        found = yaml.load(config, yaml.CSafeLoader) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("it has no keys")
    return found


ROW = 1 << 16
"""Bytes that a row of metrics.jsonl fits in."""


def last_step(path: Path) -> int | None:
    """The step of the last whole row."""
    try:
        with durable.opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - ROW))
            *lines, _ = file.read().split(b"\n")
    except OSError:
        return None
    row = as_row(lines[-1]) if lines else None
    return None if row is None else int(row["step"])


def select(runs: Sequence[Run], filters: Sequence[Filter], sort: str | None) -> list[Run]:
    """The runs that pass all filters, sorted by `key`, or `-key` for the greatest first.

    Runs that lack the value come last. Raises UserError for a key that no run has.
    """
    keys = [one.key for one in filters] + ([sort.removeprefix("-")] if sort else [])
    for key in keys:
        refuse_unknown(key, runs)
    chosen = list(runs)
    # What the records have narrows down whose configurations are read.
    for one in sorted(filters, key=lambda one: not any(knows(run, one.key) for run in runs)):
        chosen = [run for run in chosen if one.passes(run.get(one.key))]
    if sort is None:
        return chosen
    values = [(run.get(keys[-1]), run) for run in chosen]
    there = [(value, run) for value, run in values if value is not None]
    there.sort(key=lambda pair: rank(pair[0]), reverse=sort.startswith("-"))
    return [run for _, run in there] + [run for value, run in values if value is None]


def knows(run: Run, key: str) -> bool:
    """Whether the run's record alone has the key."""
    try:
        run.known(key)
    except KeyError:
        return False
    return True


def has(run: Run, key: str) -> bool:
    """Whether the run's record or its configuration has the key."""
    try:
        run.value(key)
    except KeyError:
        return False
    return True


def rank(value: Any) -> tuple[bool, float, str]:
    """For sorting values of all kinds: numbers before text."""
    return (False, value, "") if is_number(value) else (True, 0.0, str(value))


def refuse_unknown(key: str, runs: Sequence[Run]) -> None:
    """Raise UserError for a key that none of the runs has."""
    if not runs or any(knows(run, key) for run in runs) or any(has(run, key) for run in runs):
        return
    names = list(dict.fromkeys(names_of(runs)))
    ends = [name for name in names if name.endswith((f".{key}", f"/{key}"))][:3]
    right = f"did you mean {' or '.join(ends)}?" if ends else did_you_mean(key, names)
    usual = "a column, a field of run.json, a score (eval/loss), or a key of the configuration (optim.lr)"
    raise UserError(f"no run has {key}", right=right or usual)


def names_of(runs: Sequence[Run]) -> Iterator[str]:
    """What the runs can be filtered by; of the configurations the newest's."""
    yield from COLUMNS
    for run in runs:
        fields = run.record.fields
        for place in ("choices", "results", "best"):
            yield from fields.get(place) or ()
        yield from (name for name, value in fields.items() if not isinstance(value, Mapping))
    try:
        yield from flat(tree(runs[-1].config_text))
    except ValueError:
        return


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted keys; an empty section is a value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{above}{name}"
        found |= flat(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value}
    return found
