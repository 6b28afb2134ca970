"""Runs on a page: their curves, what tells them apart, and how their lines look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.report.charts import without_equal_rates
from trainer_cli.runs.compare import configuration, differing
from trainer_cli.runs.curves import Curve, curves
from trainer_cli.runs.effects import as_json, as_text
from trainer_cli.runs.find import said
from trainer_cli.runs.ranking import SEEDS
from trainer_cli.runs.record import Record
from trainer_cli.runs.select import Run
from trainer_cli.runs.sweeps import score_of
from trainer_cli.tracker import jsonl

ALL_SHOWN = 16
"""Runs whose curves are all drawn at first; of more than these, FEW are."""
FEW = 10
COLORS = 8
DASHES = 4
LONGEST = 4
"""Values that a label has at most: with more, the run's id says it better."""


@dataclass
class Shown:
    """A run on a page.

    `values` are what it is told apart by; `color` and `dash` number the look of its lines, which are drawn
    at first if it `is_on`. `epochs` are those of one step, None where no row says so.
    """

    record: Record
    values: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    color: int = 0
    dash: int = 0
    is_on: bool = True
    epochs: float | None = None

    @cached_property
    def run(self) -> Run:
        """What can be asked of it."""
        return Run(self.record)

    @property
    def fields(self) -> dict[str, Any]:
        """Its run.json."""
        return self.record.fields

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.fields["id"])

    @property
    def score(self) -> float | None:
        """What it is ranked by, where that is a number."""
        score = score_of(self.fields)
        return score if score is not None and math.isfinite(score) else None

    @property
    def metric(self) -> str | None:
        """The name of what it is ranked by."""
        return (self.fields.get("metric") or {}).get("name")

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Its numbers by step; raises UserError where the file cannot be opened."""
        path = self.record.run_dir / jsonl.FILE
        try:
            return without_equal_rates(curves(self._noting_epochs(jsonl.stream(path))))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {said(error)}") from error

    def _noting_epochs(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows as they come; the last of them says how many epochs a step is."""
        row: dict[str, Any] = {}
        for row in rows:
            yield row
        if row.get("epoch") and row.get("step"):
            self.epochs = row["epoch"] / row["step"]

    @property
    def best_step(self) -> int | None:
        """Where its score was best: as the run says when it ends, and before that by its curve."""
        said_so: int | None = (self.fields.get("best") or {}).get("step")
        curve = self.curves.get(self.metric or "")
        if said_so is not None or curve is None:
            return said_so
        sign = 1 if self.fields["metric"]["greater_is_better"] else -1
        finite = [
            (sign * value, step) for step, value in zip(curve.steps, curve.values) if math.isfinite(value)
        ]
        return max(finite, key=lambda pair: pair[0])[1] if finite else None


def differences(runs: Sequence[Shown]) -> list[dict[str, Any]]:
    """The values of each run's configuration that are not the same in all of them, those that it has.

    Where runs chose other options of a group, the choice stands for the fields that only one of them has.
    """
    configurations = [configuration(shown.run) for shown in runs]
    # Of an empty section, the fields that others have in it say more.
    found = {key: values for key, values in differing(configurations).items() if {} not in values}
    chosen = [key for key in found if "." not in key]
    for key in list(found):
        is_of_choice = "." in key and key.partition(".")[0] in chosen
        if is_of_choice and (
            key.endswith(("._target_", ".name")) or not all(key in own for own in configurations)
        ):
            del found[key]
    keys = sorted(found, key=lambda key: key in SEEDS)
    return [
        {key: found[key][place] for key in keys if key in own} for place, own in enumerate(configurations)
    ]


def tell_apart(runs: Sequence[Shown], best_first: bool) -> None:
    """Give each run a label and a look: settings have a colour, those who share one differ by their dashes.

    Of many runs a few are drawn at first: the best, or the last.
    """
    colors: dict[str, int] = {}
    members: dict[str, int] = {}
    keys = list(dict.fromkeys(key for shown in runs for key in shown.values))
    for place, shown in enumerate(runs):
        setting = as_json({key: value for key, value in shown.values.items() if key not in SEEDS})
        color = colors.setdefault(setting, len(colors))
        members[setting] = members.get(setting, -1) + 1
        shown.color, shown.dash = color % COLORS, (members[setting] + color // COLORS) % DASHES
        rank = place if best_first else len(runs) - 1 - place
        shown.is_on = len(runs) <= ALL_SHOWN or rank < FEW
        shown.label = label(shown.values, keys) if len(keys) <= LONGEST else ""
    labels = [shown.label for shown in runs]
    for shown in runs:
        if labels.count(shown.label) > 1 or not shown.label:
            shown.label = f"{shown.label} {shown.id}".strip()


def label(values: dict[str, Any], keys: Sequence[str]) -> str:
    """Values in a line, with as much of their keys as tells them apart."""
    return " ".join(f"{brief(key, keys)}={as_text(value)}" for key, value in values.items())


def brief(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, if no other has the same."""
    last = key.rpartition(".")[2]
    return key if [other.rpartition(".")[2] for other in keys].count(last) > 1 else last
