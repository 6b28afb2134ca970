"""Bounds of a YAML text: how deep it is, and how much its aliases make of it; few lines can be gigabytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml

DEEPEST = 40
"""Levels of mappings and lists; OmegaConf takes about ten of its own calls for each."""

MOST = 10_000
"""Values that aliases may add to those that are written out."""


class OutOfBounds(ValueError):
    """The text is not to be read; `line` is where that shows."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


@dataclass
class _Node:
    """A mapping or list: the name that it is given, and the values that it has once aliases are replaced."""

    anchor: str | None
    size: int = 1


def check(text: str) -> None:
    """Raise OutOfBounds for a text that is too deep, or that aliases make too large."""
    try:
        _check(yaml.parse(text, yaml.CSafeLoader))
    except RecursionError:  # of a loader without the C library
        raise OutOfBounds("it is nested too deeply", 1) from None


def _check(events: Iterable[yaml.Event]) -> None:
    sizes: dict[str, int] = {}
    above: list[_Node] = [_Node(None)]
    added = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            above.append(_Node(event.anchor))
            if len(above) > DEEPEST:
                raise OutOfBounds(f"it has more than {DEEPEST} levels", line)
            if event.anchor:
                sizes.pop(event.anchor, None)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = above.pop()
            above[-1].size += done.size
            if done.anchor:
                sizes[done.anchor] = done.size
        elif isinstance(event, yaml.ScalarEvent):
            above[-1].size += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(node.anchor == event.anchor for node in above):
                raise OutOfBounds("it has no end: an alias stands within its own anchor", line)
            size = sizes.get(event.anchor, 1)
            above[-1].size += size
            added += size
            if added > MOST:
                raise OutOfBounds(f"its aliases make more than {MOST:,} values of it", line)
