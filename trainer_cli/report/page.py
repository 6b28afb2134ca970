"""`trainer-cli report RUN...`: runs as one page of HTML, which asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_cli import __version__, durable
from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.errors import UserError
from trainer_cli.report import charts, parts
from trainer_cli.report.markup import Html, element, script_json
from trainer_cli.report.shown import Shown, differences, label, tell_apart
from trainer_cli.runs import sweeps
from trainer_cli.runs.find import said
from trainer_cli.runs.leaderboard import leaderboard
from trainer_cli.runs.named import OUTPUTS, runs_named
from trainer_cli.runs.ranking import SEEDS
from trainer_cli.runs.record import now
from trainer_cli.runs.sweeps import SweepRecord

FILE = "report.html"
MOST_RUNS = 300
"""Runs of a page; its axis plots have all jobs of a sweep."""
ASSETS = Path(__file__).parent


def write_report(words: Sequence[str], output: str | None) -> Path:
    """Write the page of the runs that the words name, and return where it is.

    That is below the run's directory, or the sweep's; of several runs the current one. Raises UserError.
    """
    if not words:
        raise UserError("report needs a run", right="trainer-cli report RUN...; trainer-cli runs lists them")
    sweep = sweep_named(words)
    runs = [] if sweep else [Shown(record) for record in runs_named(words)]
    if sweep is not None:
        text, home = page_of_sweep(sweep), sweep.sweep_dir
    elif len(runs) == 1:
        text, home = page_of_run(runs[0]), runs[0].record.run_dir
    else:
        text, home = page_of_runs(runs), Path()
    path = home / FILE if output is None else Path(output).expanduser()
    path = path / FILE if path.is_dir() else path
    try:
        durable.write(path, text)
    except OSError as error:
        right = "--output FILE names another place"
        raise UserError(f"{path} cannot be written: {said(error)}", right=right) from error
    return path


def sweep_named(words: Sequence[str]) -> SweepRecord | None:
    """The sweep that the one word is the directory of; raises UserError where its record is damaged."""
    for path in (Path(words[0]).expanduser(), OUTPUTS / words[0]):
        if len(words) == 1 and (path / sweeps.FILE).is_file():
            try:
                return SweepRecord.load(path)
            except (OSError, ValueError) as error:
                raise UserError(f"{path / sweeps.FILE} cannot be read: {said(error)}") from error
    return None


def page_of_run(shown: Shown) -> Html:
    """One run."""
    fields = shown.fields
    name = str(fields.get("name") or shown.id)
    body = [
        element("h1", f"{name} ", parts.badge(shown.run.status)),
        parts.facts(parts.about(shown)),
        parts.command("trainer-cli", *fields.get("argv", ())),
        *parts.trouble(shown),
        parts.tiles(shown),
        *parts.curves([shown]),
        *parts.summary(shown),
        *parts.configuration(shown),
        *parts.provenance(shown),
    ]
    return page(name, body, data_of([shown], []))


def page_of_runs(runs: Sequence[Shown]) -> Html:
    """Several runs, in the order in which they were named."""
    of_sweeps = {(shown.fields.get("sweep") or {}).get("name") for shown in runs}
    sweep = of_sweeps.pop() if len(of_sweeps) == 1 else None
    of_runs = [shown.fields["sweep"]["values"] for shown in runs] if sweep else differences(runs)
    for shown, values in zip(runs, of_runs):
        shown.values = dict(values)
    axes = axes_of(runs) if sweep else []
    last = runs[-MOST_RUNS:]
    tell_apart(last, best_first=False)
    title = f"{len(runs)} runs" + (f" of {sweep}" if sweep else "")
    body = [
        element("h1", title),
        parts.facts([("started", parts.period(runs)), ("runs", tally(shown.run.status for shown in runs))]),
        element("h2", "Runs"),
        *parts.left_out(len(runs) - len(last), "older runs"),
        parts.table_of(last),
        *parts.axis_plots(axes, runs),
        *parts.curves(last),
    ]
    return page(title, body, data_of(last, axes))


def page_of_sweep(sweep: SweepRecord) -> Html:
    """A sweep: its answer, its leaderboard, its axes, and the curves of its jobs, best first."""
    board = leaderboard(sweep)
    entries = {entry.number: entry for entry in sweep.asked}
    groups = [group for standing in board.standings for group in standing.ranking.groups]
    found = [(entries[job], sweep.record(entries[job])) for group in groups for job in group.jobs]
    runs = [Shown(record, dict(entry.values)) for entry, record in found if record is not None]
    if not runs:
        raise UserError(f"no job of {sweep.sweep_dir} has been started")
    axes = axes_of(runs)
    best = runs[:MOST_RUNS]
    tell_apart(best, best_first=True)
    name = str(sweep.fields.get("name") or sweep.sweep_dir.name)
    stand = tally(job.status for job in board.asked)
    body = [
        element("h1", f"Sweep {name}"),
        parts.facts([("search", board.search), ("started", parts.period(runs)), ("jobs", stand)]),
        parts.command("trainer-cli", *(sweep.fields.get("argv") or ())),
        *(part for standing in board.standings for part in parts.leaderboard(standing)),
        *parts.axis_plots(axes, runs),
        *parts.curves(best),
        element("h2", "Jobs"),
        *parts.left_out(len(runs) - len(best), "jobs that came to less"),
        parts.table_of(best),
    ]
    return page(name, body, data_of(best, axes))


def page(title: str, body: Iterable[str], data: Mapping[str, Any]) -> Html:
    """The whole document; its policy lets it run its own script and ask for nothing."""
    script = Html((ASSETS / "page.js").read_text(encoding="utf-8"))
    style = Html((ASSETS / "page.css").read_text(encoding="utf-8"))
    policy = f"default-src 'none'; img-src data:; script-src {digest(script)}; style-src {digest(style)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", style),
    )
    inside = element(
        "body",
        *body,
        parts.note(f"Written by trainer-cli {__version__} on {now():%Y-%m-%d at %H:%M %Z}."),
        element("script", script_json(data), type="application/json", id="data"),
        element("script", script),
    )
    return Html(f"<!doctype html>\n{element('html', head, inside, lang='en')}\n")


def digest(text: str) -> str:
    """What a policy knows a script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_of(runs: Sequence[Shown], axes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the script draws."""
    drawn = charts.drawn([shown.curves for shown in runs])
    names = charts.names([shown.curves for shown in runs])
    metrics = {shown.metric for shown in runs if shown.metric}
    return {
        "runs": [
            {
                "id": shown.id,
                "label": shown.label,
                "color": shown.color,
                "dash": shown.dash,
                "on": shown.is_on,
                "epochs": shown.epochs,
                "best": shown.best_step,
                "marks": marks(shown) if len(runs) == 1 else [],
                "curves": curves,
            }
            for shown, curves in zip(runs, drawn)
        ],
        "charts": [chart.names for chart in charts.charts(names, len(runs) > 1)],
        "noisy": [name for name in names if charts.NOISY.match(name)],
        "metric": metrics.pop() if len(metrics) == 1 else None,
        "axes": axes,
    }


def marks(shown: Shown) -> list[tuple[str, int]]:
    """Where a run saved, as far as that is kept, and where it went on after a stop."""
    saved = Checkpoints(shown.record.run_dir, None).steps()
    sessions = [session.get("step") for session in shown.fields.get("sessions") or ()]
    return [("checkpoint", step) for step in saved] + [("resumed", step) for step in sessions if step]


def axes_of(runs: Sequence[Shown]) -> list[dict[str, Any]]:
    """The plots of the score against each key that was swept over, but for seeds."""
    keys = list(dict.fromkeys(key for shown in runs for key in shown.values))
    labels = [label(shown.values, keys) for shown in runs]
    plots = [
        charts.axis(key, [(shown.values.get(key), shown.score, text) for shown, text in zip(runs, labels)])
        for key in keys
        if key not in SEEDS
    ]
    return [plot for plot in plots if plot is not None]


def tally(statuses: Iterable[str]) -> str:
    """How many stand how."""
    return ", ".join(f"{number} {status}" for status, number in Counter(statuses).most_common())
