"""The leaderboard of a sweep: what won and by how much, what each axis does, and the winner's command."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.config.printable import say
from trainer_cli.runs.console import console
from trainer_cli.runs.effects import Effect, as_text
from trainer_cli.runs.ranking import (
    SEEDS,
    Digits,
    Group,
    Ranking,
    Result,
    answer,
    label,
    rankings,
    results,
    short,
)
from trainer_cli.runs.sweeps import SweepRecord

CSV = "leaderboard.csv"
JSON = "leaderboard.json"
OUTPUT = "output.log"
"""What a job printed, in its directory."""
BAR = 24
"""Characters of the longest bar."""
WIDEST = 30
"""Characters of a value beside which all columns are shown; a longer one folds."""
MOST_ROWS = 30
MOST_FAILURES = 10
STATUSES = ("finished", "pruned", "running", "waiting", "preempted", "diverged", "failed")
ENDED_EARLY = ("pruned", "preempted")
"""How jobs end that have not failed, and do not count."""


@dataclass(frozen=True)
class Winner:
    """The best job of the setting that won; `model` is its model's directory, below the sweep's."""

    number: int
    command: str
    directory: str
    model: str | None


@dataclass(frozen=True)
class Standing:
    """One metric's ranking, in words, and with what trains its winner."""

    ranking: Ranking
    answer: str
    winner: Winner | None


@dataclass(frozen=True)
class Leaderboard:
    """What a sweep came to: of the last command's jobs; `jobs` are all that it ever had.

    No time and no absolute path is in it, so that a sweep that was stopped and gone on with ends in the same.
    """

    sweep: str
    search: str | None
    standings: list[Standing]
    jobs: list[Result]

    @property
    def asked(self) -> list[Result]:
        """The last command's jobs."""
        return [job for job in self.jobs if job.asked]

    def as_json(self) -> str:
        """The whole of it."""
        standings = [
            {
                **asdict(standing.ranking),
                "answer": standing.answer,
                "winner": standing.winner and asdict(standing.winner),
            }
            for standing in self.standings
        ]
        fields = {"sweep": self.sweep, "search": self.search, "standings": standings}
        return json.dumps({**fields, "jobs": [asdict(job) for job in self.jobs]}, indent=1)

    def as_csv(self) -> str:
        """A line for each setting, best first."""
        settings = dict.fromkeys(key for job in self.asked for key in job.setting)
        columns = ["metric", "rank", *settings, "mean", "sd", "n", "jobs", "best_job", "best_score"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for standing in self.standings:
            for group in standing.ranking.groups:
                values = [cell(group.setting.get(key)) for key in settings]
                numbers = [group.mean, group.sd, group.n, len(group.jobs), group.best, group.best_score]
                writer.writerow([standing.ranking.metric, group.rank, *values, *numbers])
        return text.getvalue()


def cell(value: Any) -> Any:
    """A value in a CSV file: a number or a name as it is, all else as JSON."""
    return (
        value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
    )


def leaderboard(sweep: SweepRecord) -> Leaderboard:
    """What the jobs of a sweep have come to so far, by their run.json."""
    jobs = results(sweep)
    asked = [job for job in jobs if job.asked]
    seeds = any(job.seeds for job in asked)
    standings = [
        Standing(ranking, answer(ranking, seeds), winner(sweep, ranking, asked))
        for ranking in rankings(asked)
    ]
    return Leaderboard(sweep.fields["name"], sweep.fields.get("search"), standings, jobs)


def winner(sweep: SweepRecord, ranking: Ranking, jobs: Sequence[Result]) -> Winner | None:
    """What trains the best job of the setting that won, and the model that it has trained already."""
    if ranking.winner is None:
        return None
    (best,) = [job for job in jobs if job.number == ranking.winner.best]
    command = shlex.join(["trainer-cli", *folders(sweep.fields.get("argv", ())), *best.words])
    model = f"{best.directory}/model"
    return Winner(best.number, command, best.directory, model if (sweep.sweep_dir / model).is_dir() else None)


def folders(argv: Sequence[str]) -> list[str]:
    """The flags of a command line that say where configurations are looked for."""
    found, rest = [], iter(argv)
    for word in rest:
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            found += ["--config-dir", value or next(rest)]
    return found


def write_leaderboard(sweep_dir: Path) -> None:
    """Put leaderboard.csv and leaderboard.json into a sweep's directory; says so where that fails."""
    board = leaderboard(SweepRecord.load(sweep_dir))
    for name, text in ((CSV, board.as_csv()), (JSON, board.as_json() + "\n")):
        try:
            durable.write(sweep_dir / name, text)
        except OSError as error:
            say(f"{sweep_dir / name} was not written: {error.strerror}")


def print_leaderboard(sweep_dir: Path, as_json: bool) -> None:
    """The leaderboard of a sweep's directory; raises UserError where there is no sweep."""
    try:
        board = leaderboard(SweepRecord.load(sweep_dir))
    except (OSError, ValueError) as error:
        raise UserError(f"{sweep_dir} is no sweep: {error}") from error
    if as_json:
        print(board.as_json())
    else:
        show(board, sweep_dir)


def show(board: Leaderboard, sweep_dir: Path) -> None:
    """Print it: a table and its answer for each metric, then what failed and the winner's command."""
    out = console()
    out.print(Text.assemble((board.sweep, "bold"), f": {tally(board.asked)}"))
    others = len(board.jobs) - len(board.asked)
    if others:
        out.print(f"{plural(others, 'job')} of earlier commands: in {JSON}")
    for standing in board.standings:
        ranking = standing.ranking
        if any(group.mean is not None for group in ranking.groups):
            out.print()
            out.print(table(ranking, board.jobs, out.width))
        for effect in ranking.effects:
            if effect.range is not None:
                alone = "" if len(ranking.effects) == 1 else " over everything else"
                title = f"{effect.key}: mean {short(ranking.metric or '')}{alone}"
                out.print(f"\n{title}", style="italic")
                out.print(effect_table(effect, ranking))
                for note in notes(effect, ranking):
                    out.print(note)
    failures = [job for job in board.asked if job.cause is not None and job.status not in ENDED_EARLY]
    left = [job for job in board.asked if job.status in ("waiting", "preempted")]
    if failures or left:
        out.print()
    for line in causes(failures, sweep_dir):
        out.print(line, soft_wrap=True)
    if left:
        out.print(f"{plural(len(left), 'job')} not done: the same command goes on with what is missing")
    for standing in board.standings:
        out.print()
        out.print(standing.answer, style="bold", soft_wrap=not out.is_terminal)
        if standing.winner is not None:
            out.print(f"  {standing.winner.command}", soft_wrap=True)
            if standing.winner.model is not None:
                text = f"  its model: {os.path.normpath(sweep_dir / standing.winner.model)}"
                out.print(text, soft_wrap=True)


def tally(jobs: Sequence[Result]) -> str:
    """How many jobs there are, and how they stand."""
    statuses = sorted((job.status for job in jobs), key=STATUSES.index)
    parts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    return f"{plural(len(jobs), 'job')}, {', '.join(parts)}"


def plural(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(ranking: Ranking, jobs: Sequence[Result], width: int) -> Table:
    """A row for each setting, best first; what there is no room for is left out from the right."""
    assert ranking.metric is not None
    groups = ranking.groups[:MOST_ROWS]
    seeded = any(len(group.jobs) > 1 for group in groups)
    title = f"{ranking.metric}, {'greatest' if ranking.greater_is_better else 'least'} first"
    if seeded:
        title += "; mean ± standard deviation of the seeds"
    result = Table(title=title, title_justify="left")
    digits, by_number = Digits.of(ranking.groups), {job.number: job for job in jobs}
    keys = list(dict.fromkeys(key for group in groups for key in group.setting))
    columns = [("", [str(group.rank or "-") for group in groups])]
    columns += [(heading(key, keys), [as_text(group.setting.get(key)) for group in groups]) for key in keys]
    scores = [digits.with_spread(group) if group.rank else status(group) for group in groups]
    columns += [(short(ranking.metric), scores)]
    if seeded:
        columns += [("n", [of(group.n, len(group.jobs)) for group in groups])]
    needed = len(columns)
    columns += [("behind", [behind(group, digits) for group in groups])]
    if seeded:
        columns += [("best", [best(group, by_number, digits) for group in groups])]
    for name in dict.fromkeys(name for group in groups for name in group.others):
        means = [f"{group.others[name]:.4g}" if name in group.others else "-" for group in groups]
        columns += [(short(name), means)]
    while len(columns) > needed and room(columns, len(keys)) > width:
        columns.pop()
    for place, (name, _) in enumerate(columns):
        result.add_column(name, overflow="fold", no_wrap=place > len(keys))
    for cells in zip(*(cells for _, cells in columns), strict=True):
        result.add_row(*cells)
    if len(ranking.groups) > MOST_ROWS:
        result.caption = f"and {len(ranking.groups) - MOST_ROWS} more in {CSV}"
    return result


def room(columns: Sequence[tuple[str, Sequence[str]]], keys: int) -> int:
    """The width of a table, in characters: rank, so many columns of values, which fold, and scores."""
    widths = [max(cell_len(text) for text in [name, *cells]) for name, cells in columns]
    folded = [min(width, WIDEST) if 0 < place <= keys else width for place, width in enumerate(widths)]
    return 1 + sum(3 + width for width in folded)


def of(n: int, jobs: int) -> str:
    """How many of the jobs have a score."""
    return str(n) if n == jobs else f"{n} of {jobs}"


def heading(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, if no other has the same."""
    last = key.rpartition(".")[2]
    return last if [other.rpartition(".")[2] for other in keys].count(last) == 1 else key


def status(group: Group) -> str:
    """How the jobs of a group that has no score stand."""
    if group.statuses.keys() == {"finished"}:
        return "no score"
    return ", ".join(
        name if number == len(group.jobs) else f"{number} {name}" for name, number in group.statuses.items()
    )


def behind(group: Group, digits: Digits) -> str:
    """How far the winner is ahead, and how many times the spread of the seeds that is."""
    if group.behind is None:
        return ""
    ratio = group.behind.ratio
    return digits.text(group.behind.difference) + ("" if ratio is None else f" = {ratio:.1f} sd")


def best(group: Group, jobs: dict[int, Result], digits: Digits) -> str:
    """The best score of a group, and the seed that has it."""
    if group.best is None or group.best_score is None:
        return "-"
    seeds = " ".join(f"{heading(key, SEEDS)} {value}" for key, value in jobs[group.best].seeds.items())
    return f"{digits.text(group.best_score)} ({seeds})"


def effect_table(effect: Effect, ranking: Ranking) -> Table:
    """The mean score of each value, with a bar from the least to the greatest."""
    digits = Digits.of(ranking.groups)
    result = Table(show_header=False, box=None, padding=(0, 1))
    result.add_column(overflow="fold")
    for _ in range(3):
        result.add_column(no_wrap=True)
    means = [level.mean for level in effect.levels if level.mean is not None]
    low, high = min(means), max(means)
    for level in effect.levels:
        mean = "-" if level.mean is None else digits.text(level.mean)
        share = 0.0 if level.mean is None or high == low else (level.mean - low) / (high - low)
        result.add_row(
            level.label,
            mean,
            f"n {of(level.n, level.jobs)}",
            "" if level.mean is None else bar(share),
        )
    return result


def bar(share: float) -> str:
    """A bar of one to BAR characters, to an eighth of one."""
    eighths = 8 + round(share * 8 * (BAR - 1))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def notes(effect: Effect, ranking: Ranking) -> Iterator[str]:
    """What an axis comes to in words."""
    if effect.range is not None:
        text = f"  {Digits.of(ranking.groups).text(effect.range)} between the best and the worst"
        if effect.correlation is not None:
            text += f"; rank correlation {effect.correlation:+.2f}"
        yield text
    if effect.advice is not None:
        yield f"  {effect.advice}"


def causes(failures: Sequence[Result], sweep_dir: Path) -> Iterator[str]:
    """Two lines for each job that does not count: why, and where the rest of it can be read."""
    for job in failures[:MOST_FAILURES]:
        yield f"job {job.number} {job.status}: {label(job.values)}: {job.cause}"
        yield f"  {os.path.normpath(sweep_dir / job.directory / OUTPUT)}"
    if len(failures) > MOST_FAILURES:
        yield f"and {len(failures) - MOST_FAILURES} more such jobs in {JSON}"
