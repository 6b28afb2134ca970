"""`trainer-cli list` and `trainer-cli show`: what there is to choose from, and what a field is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text

from trainer_cli.config.compose import Composition, compose
from trainer_cli.config.environment import as_written
from trainer_cli.config.errors import UserError
from trainer_cli.config.schema import ORDER
from trainer_cli.config.secrets import Secret
from trainer_cli.config.show import options, show
from trainer_cli.runs.console import console


def print_options(group: str | None, config_dirs: Sequence[str]) -> None:
    """Each option with its description and file, recipes first; of one group or of all."""
    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, found in groupby(options(group, config_dirs=config_dirs), key=lambda option: option.group):
        table.add_row(Text(f"{name}s" if name == "recipe" else name, style="bold"))
        for option in found:
            shadowed = f" (shadows {', '.join(option.shadows)})" if option.shadows else ""
            table.add_row(f"  {option.name}", option.description, Text(option.path + shadowed, style="dim"))
    out.print(table)


def print_field(words: Sequence[str], config_dirs: Sequence[str]) -> None:
    """The field that the one bare word names, in the run that the overrides compose; none: all fields.

    Raises UserError for what a run would refuse, but for values that are still to be given.
    """
    keys = [word for word in words if "=" not in word and not word.startswith("~")]
    overrides = [word for word in words if word not in keys]
    if len(keys) > 1:
        raise UserError(f"show takes one field, not {len(keys)}: {', '.join(keys)}")
    composition = compose(overrides, config_dirs=config_dirs, strict=False)
    problems = [problem for problem in composition.problems if not problem.unset]
    if problems:
        raise UserError.many(problems)
    if keys:
        print_one(keys[0], composition)
    else:
        print_all(composition)


def print_all(composition: Composition) -> None:
    """Every field with its value, and where that was set."""
    table = Table("field", "value", "set in", box=None, pad_edge=False)
    written = as_written(composition.config)
    for section in ORDER:
        for key, value in leaves(section, written.get(section)):
            sources = composition.sources.get(key)
            table.add_row(key, in_line(value), Text(sources[-1].text if sources else "", style="dim"))
    console().print(table)


def print_one(key: str, composition: Composition) -> None:
    """A field's value, type and meaning, and every place that sets it, the one that counts first."""
    shown = show(key, composition)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row(Text(key, style="bold"), in_line(shown.value))
    if shown.type:
        table.add_row("type", Text(shown.type))
    if shown.meaning:
        table.add_row("meaning", Text(shown.meaning))
    for label, source in zip(["set in", *[""] * len(shown.sources)], reversed(shown.sources)):
        table.add_row(label, Text(f"{source.text} ({in_line(source.value)})"))
    console().print(table)


def leaves(key: str, value: Any) -> list[tuple[str, Any]]:
    """The dotted keys below a key that are no mappings, with their values."""
    if not isinstance(value, dict) or not value:
        return [(key, value)]
    return [leaf for name, item in value.items() for leaf in leaves(f"{key}.{name}", item)]


class OneLine(yaml.SafeDumper):  # type: ignore[misc]
    """YAML without a line break; what refers to a secret is text."""

    def text(self, text: str) -> yaml.ScalarNode:
        """Text of several lines has them as \\n."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None)


OneLine.add_representer(str, OneLine.text)
OneLine.add_representer(Secret, OneLine.text)


def in_line(value: Any) -> str:
    """The value as YAML has it, in one line."""
    text: str = yaml.dump(value, Dumper=OneLine, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n...\n").strip()
