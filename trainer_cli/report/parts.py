"""The parts of a report's page, as HTML."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trainer_cli.report import charts
from trainer_cli.report.markup import Html, element
from trainer_cli.report.origins import origins
from trainer_cli.report.shown import Shown, brief
from trainer_cli.runs.effects import as_text
from trainer_cli.runs.leaderboard import Standing
from trainer_cli.runs.listing import span
from trainer_cli.runs.ranking import Digits
from trainer_cli.runs.select import flat, tree
from trainer_cli.runs.show import provenance as facts_of
from trainer_cli.runs.show import started

MOST_KEYS = 8
"""Keys of the configuration that a table of runs has."""
MOST_SCORES = 4


# ---- elements


def badge(status: str) -> Html:
    """How a run stands."""
    return element("span", status, class_=f"status {status}")


def note(text: str) -> Html:
    """A remark."""
    return element("p", text, class_="note")


def left_out(count: int, what: str) -> list[Html]:
    """What is not shown, if anything."""
    return [note(f"{count:,} {what} are left out.")] if count > 0 else []


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Names and values in a line, those that there are."""
    found = [element("span", f"{name} ", element("b", str(value))) for name, value in pairs if value]
    return element("div", *found, class_="facts")


def command(*words: str) -> Html:
    """A command line, to be copied."""
    return element("pre", shlex.join(words))


def number(text: str) -> Html:
    """A cell of a number."""
    return element("td", text, class_="number")


def cell(text: str, class_: str | None = None) -> Html:
    """A cell of a text."""
    return element("td", text, class_=class_)


def table(headings: Sequence[str], rows: Iterable[Sequence[Html]]) -> Html:
    """A table of cells; a heading that begins with # is that of numbers, and so to the right."""
    head = [
        text
        if isinstance(text, Html)
        else element("th", text.lstrip("#"), class_="number" if text[:1] == "#" else None)
        for text in headings
    ]
    top = element("thead", element("tr", *head)) if headings else Html()
    body = element("tbody", *(element("tr", *row) for row in rows))
    return element("div", element("table", top, body), class_="scroll tall")


def pairs_table(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and what they are."""
    return table((), [(element("th", name, scope="row"), cell(text)) for name, text in pairs])


def short(value: float | None) -> str:
    """A number in five digits."""
    return "nan" if value is None else f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.5g}"


# ---- one run


def about(shown: Shown) -> Iterator[tuple[str, Any]]:
    """Which run it is, when and where it ran, and of which code."""
    fields = shown.fields
    yield "run", shown.id
    yield "started", started(shown.run, now=False)
    sweep = fields.get("sweep")
    if sweep:
        yield "sweep", f"{sweep.get('name')}, job {sweep.get('number')}"
    yield from ((name, text) for name, text in facts_of(fields) if name == "code")


def trouble(shown: Shown) -> Iterator[Html]:
    """Why it failed, or stopped before its end."""
    if shown.record.error:
        yield element("pre", shown.record.error, class_="error")
    if shown.fields.get("stopped"):
        yield note(f"Stopped early: {shown.fields['stopped']}.")


def tiles(shown: Shown) -> Html:
    """The few numbers that matter most."""
    fields, run = shown.fields, shown.run
    found: list[tuple[str, str]] = []
    best = run.best
    if best is not None:
        found.append((f"best {charts.title(best[0])}, at step {fields['best'].get('step')}", short(best[1])))
    scores = [
        (charts.title(name), short(value))
        for name, value in (fields.get("results") or {}).items()
        if name.startswith("eval/") and (best is None or name != best[0])
    ]
    found += scores[:MOST_SCORES]
    if run.steps is not None:
        total = fields.get("total_steps")
        found.append(("steps", f"{run.steps:,}" + (f" / {total:,}" if total else "")))
    if run.seconds is not None:
        found.append(("ran for" if run.status != "running" else "runs for", span(run.seconds)))
    for name in ("train/samples_per_second", "train/peak_device_memory_mb", "train/resident_memory_mb"):
        curve = shown.curves.get(name)
        if curve is not None:
            values = sorted(curve.values)
            is_speed = name.endswith("second")
            value = values[len(values) // 2] if is_speed else values[-1]
            found.append((f"{charts.title(name)}, {'median' if is_speed else 'most'}", short(value)))
    made = [
        element("div", element("span", name), element("b", value), class_="tile") for name, value in found
    ]
    return element("div", *made, class_="tiles") if made else Html()


def summary(shown: Shown) -> Iterator[Html]:
    """What the run was to do, and what it came to."""
    said = [(name, str(text)) for name, text in (shown.fields.get("summary") or {}).items()]
    if said:
        yield element("h2", "Summary")
        yield pairs_table(said)
    results = shown.fields.get("results") or {}
    if results:
        yield element("h2", "Results at the end")
        names = {name: element("th", name, scope="row") for name in results}
        yield table((), [(names[name], number(short(value))) for name, value in results.items()])


def configuration(shown: Shown) -> Iterator[Html]:
    """What was set by the command line or a recipe, and the whole of the configuration."""
    try:
        config = tree(shown.run.config_text)
    except ValueError:
        config = {}
    values = flat(config)
    where = origins(shown.fields, values)
    yield element("h2", "Configuration")
    choices = shown.fields.get("choices") or {}
    chosen = [f"{group}={option}" for group, option in choices.items() if option not in ("", "default")]
    if chosen:
        yield facts([("options", " ".join(chosen))])
    rows = [
        (
            element("td", element("code", key), class_="whole"),
            element("td", element("code", choices.get(key) or as_text(values.get(key, "…")))),
            cell(place),
        )
        for key, place in sorted(where.items())
    ]
    if rows:
        yield table(("set", "value", "in"), rows)
    if config:
        whole = element("div", *branches(config, "", where, top=True), class_="tree")
        yield element("details", element("summary", f"all {len(values)} values"), whole)


def branches(
    config: Mapping[str, Any], above: str, where: Mapping[str, str], top: bool = False
) -> Iterator[Html]:
    """The keys of a mapping, those that were set marked, with what they hold."""
    for name, value in config.items():
        key = f"{above}{name}"
        shown = element("mark", str(name), title=where[key]) if key in where else str(name)
        if isinstance(value, Mapping) and value:
            below = branches(value, f"{key}.", where)
            yield element("details", element("summary", shown), *below, open="" if top else None)
        else:
            yield element("p", element("code", shown, ": ", as_text(value)))


def provenance(shown: Shown) -> Iterator[Html]:
    """Code, packages, machine, seed and data, and the run's starts."""
    yield element("h2", "Where it came from")
    fields = shown.fields
    rows = [pair for pair in facts_of(fields) if pair[0] != "packages"]
    if fields.get("packages"):
        versions = fields["packages"].items()
        rows.append(("packages", " · ".join(f"{name} {version}" for name, version in versions)))
    rows += [(name, str(fields[name])) for name in ("parent", "resume_from") if fields.get(name)]
    sessions = fields.get("sessions") or ()
    if len(sessions) > 1:
        starts = (f"{session.get('at')} at step {session.get('step')}" for session in sessions)
        rows.append(("starts", " · ".join(starts)))
    rows.append(("directory", str(shown.record.run_dir.resolve())))
    yield pairs_table(rows)


# ---- several runs


def period(runs: Sequence[Shown]) -> str:
    """When the first and the last of them were started."""
    times = sorted(shown.run.created for shown in runs if shown.run.created)
    days = list(dict.fromkeys(f"{time:%Y-%m-%d}" for time in times[:1] + times[-1:]))
    return " to ".join(days)


def table_of(runs: Sequence[Shown]) -> Html:
    """A row for each run: how it stands, what it is told apart by, and what it came to."""
    keys = list(dict.fromkeys(key for shown in runs for key in shown.values))
    more = f" (+{len(keys) - MOST_KEYS} more)" if len(keys) > MOST_KEYS else ""
    keys = keys[:MOST_KEYS]
    metric = next((shown.metric for shown in runs if shown.metric), None)
    results = [shown.fields.get("results") or {} for shown in runs]
    names = dict.fromkeys(
        name for own in results for name in own if name.startswith("eval/") and name != metric
    )
    others = list(names)[:MOST_SCORES]
    best = best_of(runs)
    rows = []
    for shown, own in zip(runs, results):
        run, fields = shown.run, shown.fields
        of = f" / {fields['total_steps']}" if fields.get("total_steps") not in (None, run.steps) else ""
        error = element("span", f" {shown.record.error}", class_="note") if shown.record.error else ""
        row = [
            element("td", sample(shown), element("code", shown.id), class_="whole"),
            *(cell(as_text(shown.values[key]) if key in shown.values else "") for key in keys),
            element(
                "td",
                "-" if shown.score is None else short(shown.score),
                class_="number first" if shown is best else "number",
            ),
            *(number(short(own[name]) if name in own else "-") for name in others),
            element("td", badge(run.status), error),
            number(f"{'-' if run.steps is None else run.steps}{of}"),
            number(span(run.seconds)),
        ]
        rows.append(row)
    score = f"#{charts.title(metric)}" if metric else "#score"
    own_keys = [element("th", brief(key, keys) + more * (key == keys[-1]), title=key) for key in keys]
    scores = [score, *(f"#{charts.title(name)}" for name in others)]
    return table(["run", *own_keys, *scores, "status", "#steps", "#took"], rows)


def best_of(runs: Sequence[Shown]) -> Shown | None:
    """The run with the best score, where all are scored alike."""
    scored = [(shown.score, shown) for shown in runs if shown.score is not None]
    if len({shown.metric for _, shown in scored}) != 1:
        return None
    greater = scored[0][1].fields["metric"]["greater_is_better"]
    return (max if greater else min)(scored, key=lambda pair: pair[0])[1]


def sample(shown: Shown) -> Html:
    """What the run's lines look like."""
    dashes = ("", "7 3", "2 3", "8 3 2 3")[shown.dash]
    line = element(
        "line", x1="0", x2="18", y1="5", y2="5", class_=f"line c{shown.color}", stroke_dasharray=dashes
    )
    return element("svg", line, width="26", height="10", class_="sample", aria_hidden="true")


def leaderboard(standing: Standing) -> Iterator[Html]:
    """Which setting won and by how much, the table, and what trains the winner."""
    ranking = standing.ranking
    digits = Digits.of(ranking.groups)
    metric = charts.title(ranking.metric) if ranking.metric else "score"
    keys = list(dict.fromkeys(key for group in ranking.groups for key in group.setting))
    yield element("h2", "Leaderboard")
    yield element("p", element("b", standing.answer))
    yield from (note(f"{effect.advice}.") for effect in ranking.effects if effect.advice)
    rows = [
        [
            number("-" if group.rank is None else str(group.rank)),
            *(cell(as_text(group.setting.get(key))) for key in keys),
            number(digits.with_spread(group)),
            number(f"{group.n} of {len(group.jobs)}"),
            cell(", ".join(f"{count} {status}" for status, count in group.statuses.items())),
        ]
        for group in ranking.groups
    ]
    direction = "greatest" if ranking.greater_is_better else "least"
    yield table(
        ["#", *(brief(key, keys) for key in keys), f"#{metric} ({direction} first)", "#n", "jobs"], rows
    )
    if standing.winner is not None:
        yield note("What trains the winner:")
        yield element("pre", standing.winner.command)


# ---- plots


def axis_plots(axes: Sequence[Mapping[str, Any]], runs: Sequence[Shown]) -> Iterator[Html]:
    """A place for the plot of each axis."""
    if not axes:
        return
    scored = [shown for shown in runs if shown.score is not None]
    metric = charts.title(next((shown.metric for shown in scored if shown.metric), None) or "score")
    yield element("h2", "Score by axis")
    without = len(runs) - len(scored)
    remark = f" {without} of {len(runs)} runs have no score." if without else ""
    what = "its seeds" if len(axes) == 1 else "all runs that have it"
    yield note(f"A dot is a run; the bar of a value is the mean ± standard deviation of {what}.{remark}")
    figures = []
    for index, axis in enumerate(axes):
        text = f"{metric} by {axis['key']}" + (", logarithmic" if axis["kind"] == "log" else "")
        caption = element("figcaption", text)
        figures.append(element("figure", caption, data_axis=str(index), data_title=text))
    yield element("div", *figures, class_="charts")


def curves(runs: Sequence[Shown]) -> Iterator[Html]:
    """A place for each chart, below the heading of its section."""
    own = [shown.curves for shown in runs]
    found = charts.charts(charts.names(own), len(runs) > 1)
    yield element("h2", "Curves")
    if not found:
        yield note("No numbers have been logged yet.")
        return
    yield element("noscript", note("The charts are drawn by the page's own script, which is switched off."))
    yield element("div", id="controls")
    rows = max(curve.rows for curves in own for curve in curves.values())
    most = charts.most_points(own)
    if rows > most:
        yield note(
            f"Of a curve with more than {most:,} points (the longest has {rows:,}), the least and the"
            " greatest value of each stretch are drawn: no spike is lost. Smoothing has the means of all."
        )
    figures = []
    for index, chart in enumerate(found):
        wide = "wide" if chart.title == "loss" else None
        caption = element("figcaption", chart.title)
        place = {"data_chart": str(index), "data_title": chart.title}
        figures.append(element("figure", caption, class_=wide, **place))
    yield element("div", *figures, class_="charts")
