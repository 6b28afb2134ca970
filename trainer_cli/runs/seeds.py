"""What the seeds do to a score, and whether two settings can be told apart in spite of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CHANCE = 0.05
"""Two means whose difference would come of chance this often are not told apart."""


@dataclass(frozen=True)
class Lead:
    """How far one setting's mean is ahead of another's.

    `spread` is the standard deviation that their seeds have in common, `ratio` the difference in units of it,
    `p` how often seeds alone make two means differ as much. They are None where there is no spread to know:
    with one seed each; `ratio` also where the seeds change nothing.
    """

    difference: float
    spread: float | None = None
    ratio: float | None = None
    p: float | None = None

    @property
    def is_told(self) -> bool:
        """Whether the two can be told apart."""
        return self.p is not None and self.p < CHANCE


def deviation(scores: Sequence[float]) -> float | None:
    """The sample standard deviation, of n - 1 degrees of freedom; None for one score alone."""
    return statistics.stdev(scores) if len(scores) > 1 else None


def lead(first: Sequence[float], second: Sequence[float]) -> Lead:
    """Compare the scores of two settings, a score a seed, by Student's t with the pooled deviation.

    With n and m scores of deviations s and r, the spread is sqrt(((n - 1) s² + (m - 1) r²) / (n + m - 2)),
    and t = difference / (spread · sqrt(1/n + 1/m)), of n + m - 2 degrees of freedom. Pooled rather than
    Welch's, as three seeds say little of each setting's own spread. It is meant for the winner and its
    runner-up: the two best of many lie nearer to each other by chance than any two named in advance, so it
    calls them different in fewer than one case in twenty where they are not.
    """
    difference = abs(statistics.fmean(first) - statistics.fmean(second))
    freedom = len(first) + len(second) - 2
    if freedom == 0:
        return Lead(difference)
    # No squares of scores, which are no floats where a perplexity got out of hand.
    several = [scores for scores in (first, second) if len(scores) > 1]
    parts = [statistics.stdev(scores) * math.sqrt(len(scores) - 1) for scores in several]
    spread = math.hypot(*parts) / math.sqrt(freedom)
    if spread == 0:
        return Lead(difference, spread, p=0.0 if difference else 1.0)
    ratio = difference / spread
    t = ratio / math.sqrt(1 / len(first) + 1 / len(second))
    return Lead(difference, spread, ratio, student(t, freedom))


def student(t: float, freedom: int) -> float:
    """How often Student's t is further from 0 than this (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for index in range(freedom // 2):
        total += term
        term *= math.cos(angle) ** 2 * (2 * index + 1 + odd) / (2 * index + 2 + odd)
    within = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + within) if odd else within))
