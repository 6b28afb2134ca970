"""What a page draws."""

from __future__ import annotations

import json

import pytest

from trainer_cli.report.charts import axis, charts, number, points, without_equal_rates
from trainer_cli.runs.curves import curve

NAMES = (
    "train/loss",
    "train/lr",
    "train/lr/decay",
    "train/grad_norm",
    "train/samples_per_second",
    "train/tokens_seen",
    "eval/loss",
    "eval/matched/loss",
    "eval/accuracy",
    "eval/matched/accuracy",
    "own",
)


def test_the_charts_of_one_run() -> None:
    assert [(chart.title, *chart.names) for chart in charts(NAMES, several=False)] == [
        ("loss", "train/loss", "eval/loss", "eval/matched/loss"),
        ("accuracy", "eval/accuracy", "eval/matched/accuracy"),
        ("learning rate", "train/lr", "train/lr/decay"),
        ("gradient norm", "train/grad_norm"),
        ("samples a second", "train/samples_per_second"),
        ("tokens seen", "train/tokens_seen"),
        ("own", "own"),
    ]


def test_of_several_runs_a_chart_has_one_number() -> None:
    found = charts(NAMES, several=True)
    assert all(len(chart.names) == 1 for chart in found)
    assert [chart.title for chart in found][:4] == [
        "training loss",
        "evaluation loss",
        "matched/loss",
        "accuracy",
    ]
    assert "train/lr/decay" not in [chart.names[0] for chart in found]


def test_the_rate_of_a_group_is_drawn_where_it_is_another() -> None:
    rate, other = curve([1, 2], [0.1, 0.2]), curve([1, 2], [0.1, 0.1])
    found = without_equal_rates(
        {"train/lr": rate, "train/lr/a": curve([1, 2], [0.1, 0.2]), "train/lr/b": other}
    )
    assert list(found) == ["train/lr", "train/lr/b"]


def test_a_curve_as_json() -> None:
    drawn = points(curve([10, 20, 40], [1 / 3, float("nan"), 2e6]))
    assert drawn == {"n": 3, "x": [10, 10, 20], "y": [0.333333, "nan", 2_000_000]}
    json.dumps(drawn, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234567, "0.123457"), (3.0, "3"), (1e-9, "1e-09"), (1e300, "1e+300"), (float("-inf"), '"-inf"')],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert json.dumps(number(value)) == text


def test_a_numeric_axis() -> None:
    jobs = [(1e-4, 0.5, "a"), (1e-5, 0.25, "b"), (1e-4, 0.75, "c"), (1e-3, None, "failed")]
    plot = axis("optim.lr", jobs)
    assert plot is not None
    assert (plot["kind"], plot["values"]) == ("log", [1e-5, 1e-4])
    assert plot["points"] == [[1e-4, 0.5, "a"], [1e-5, 0.25, "b"], [1e-4, 0.75, "c"]]
    assert plot["means"] == [[1e-5, 0.25, None, 1], [1e-4, 0.625, pytest.approx(0.176777, rel=1e-5), 2]]


def test_an_axis_of_names_and_one_near_zero() -> None:
    plot = axis("optim", [("sgd", 1.0, ""), (None, 2.0, ""), (True, 3.0, "")])
    assert plot is not None
    assert (plot["kind"], plot["labels"]) == ("category", ["sgd", "null", "true"])
    assert [point[0] for point in plot["points"]] == [0, 1, 2]
    linear = axis("wd", [(0.0, 1.0, ""), (0.1, 2.0, "")])
    assert linear is not None
    assert linear["kind"] == "linear"


def test_many_single_values_have_no_means_and_one_value_no_plot() -> None:
    random = axis("lr", [(0.001 * (place + 1), 1.0, "") for place in range(40)])
    assert random is not None
    assert random["means"] == []
    assert axis("lr", [(0.1, 1.0, ""), (0.1, 2.0, "")]) is None
