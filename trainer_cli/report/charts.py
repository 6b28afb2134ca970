"""The charts of a page: which curves share one, and what is drawn, as plain JSON."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_cli.runs.curves import Curve, share, thinned
from trainer_cli.runs.effects import as_json, as_text, distinct
from trainer_cli.runs.seeds import deviation

POINTS = 90_000
"""Points of all curves of a page together: about a megabyte of it."""
MOST_POINTS = 3_000
"""Points of one curve: of a chart as wide as a screen, two or three for each pixel."""
RATES = "train/lr/"
"""What the learning rates of parameter groups begin with."""

LOSS, SCORES, OPTIMIZATION, SPEED, OTHER = range(5)
"""What comes after what on the page."""

TITLES = {
    "train/loss": "training loss",
    "eval/loss": "evaluation loss",
    "train/lr": "learning rate",
    "train/grad_norm": "gradient norm",
    "train/skipped_steps": "skipped steps",
    "train/samples_per_second": "samples a second",
    "train/tokens_per_second": "tokens a second",
    "train/seconds_per_step": "seconds a step",
    "train/peak_device_memory_mb": "peak memory of the device, MB",
    "train/resident_memory_mb": "resident memory, MB",
    "train/tokens_seen": "tokens seen",
}
NOISY = re.compile(r"train/(?!lr\b|skipped_steps|tokens_seen|.*memory_mb)")
"""The numbers that a mean over some steps says more of: those of single batches."""


@dataclass(frozen=True)
class Chart:
    """A chart of the curves of these names."""

    title: str
    names: tuple[str, ...]


def charts(names: Iterable[str], several: bool) -> list[Chart]:
    """The charts of the numbers that there are, in the order of the page.

    Of one run, losses share a chart, and so do a score's evaluation sets and the learning rates of parameter
    groups. Of several runs a chart has one line a run.
    """
    shared: dict[str, list[str]] = {}
    for name in sorted(names, key=place):
        if not (several and name.startswith(RATES)):
            shared.setdefault(title(name) if several else topic(name), []).append(name)
    return [Chart(text, tuple(own)) for text, own in shared.items()]


def place(name: str) -> int:
    """Where on the page a number stands."""
    if name.endswith("loss"):
        return LOSS
    if name.startswith("eval/"):
        return SCORES
    if name.startswith(("train/lr", "train/grad", "train/skipped")):
        return OPTIMIZATION
    return SPEED if re.search(r"_per_(second|step)$|memory_mb$", name) else OTHER


def topic(name: str) -> str:
    """What a number is of, whatever set or group it is that of."""
    if name == "train/loss" or re.fullmatch(r"eval/(.+/)?loss", name):
        return "loss"
    if name.startswith("eval/"):
        return name.rpartition("/")[2]
    return TITLES["train/lr"] if name.startswith(RATES) else title(name)


def title(name: str) -> str:
    """A number's name in words."""
    return TITLES.get(name) or name.removeprefix("train/").removeprefix("eval/")


def without_equal_rates(curves: dict[str, Curve]) -> dict[str, Curve]:
    """The curves less those of parameter groups whose learning rate is the run's."""
    rate = curves.get("train/lr")
    return {
        name: curve
        for name, curve in curves.items()
        if rate is None or not name.startswith(RATES) or curve.values != rate.values
    }


def names(curves: Iterable[Mapping[str, Curve]]) -> list[str]:
    """The names of all curves of several runs, each once."""
    return list(dict.fromkeys(name for own in curves for name in own))


def most_points(curves: Iterable[Mapping[str, Curve]]) -> int:
    """Points that a curve may have on the page that all of these are on."""
    lengths = [len(curve.steps) for own in curves for curve in own.values()]
    return min(share(lengths, POINTS), MOST_POINTS)


def drawn(curves: Sequence[Mapping[str, Curve]]) -> list[dict[str, Any]]:
    """The curves of each run as the page draws them."""
    most = most_points(curves)
    return [{name: points(thinned(curve, most)) for name, curve in own.items()} for own in curves]


def points(curve: Curve) -> dict[str, Any]:
    """A curve as JSON: the first step and the differences of the others, six digits of the values."""
    made: dict[str, Any] = {
        "n": curve.rows,
        "x": differences(curve.steps),
        "y": [number(value) for value in curve.values],
    }
    if curve.means:
        made["mx"] = differences([step for step, _ in curve.means])
        made["my"] = [number(mean) for _, mean in curve.means]
    return made


def differences(steps: Sequence[int]) -> list[int]:
    """The first of rising numbers, then by how much each is greater than the one before."""
    return [*steps[:1], *(after - one for one, after in itertools.pairwise(steps))]


def number(value: float) -> float | int | str:
    """A value in as few characters as show it; JSON has no nan and no inf, so these are names."""
    if not math.isfinite(value):
        return str(value)
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def axis(key: str, jobs: Sequence[tuple[Any, float | None, str]]) -> dict[str, Any] | None:
    """The plot of score against a swept key, from each job's value, score and label; None with one value.

    `means` are those of each value, with their deviation; there are none where hardly a value comes twice.
    """
    scored = [(value, score, label) for value, score, label in jobs if score is not None]
    values = distinct([value for value, _, _ in scored])
    if len(values) < 2:
        return None
    kind = "category"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        values = sorted(values)
        kind = "log" if values[0] > 0 and values[-1] >= 8 * values[0] else "linear"
    at = {as_json(value): value if kind != "category" else place for place, value in enumerate(values)}
    means = []
    if len(values) <= 12 or 2 * len(values) <= len(scored):
        for value in values:
            own = [score for other, score, _ in scored if as_json(other) == as_json(value)]
            means.append([at[as_json(value)], statistics.fmean(own), deviation(own), len(own)])
    return {
        "key": key,
        "kind": kind,
        "values": values,
        "labels": [as_text(value) for value in values],
        "points": [[at[as_json(value)], score, label] for value, score, label in scored],
        "means": means,
    }
