"""Methods that nobody would call, that cannot be called, or that are missing, are said before the build."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from small_run import OVERRIDES, built

from trainer_cli.callbacks import Callback
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import EVENTS
from trainer_cli.contracts import check_contracts, check_source

OWN = """\
from trainer_cli.callbacks import Callback
from trainer_cli.loss import CrossEntropy
from trainer_cli.metrics import Accuracy, Metric
from trainer_cli.tracker import Tracker


class Good(Callback):
    def on_step_end(self, engine):
        pass

    def on_log(self, engine, *rest, more=None):
        pass

    def helper(self, a, b):
        pass

    def measure(self, engine):
        return {}


class Better(Good):
    @property
    def on_air(self):
        return True


class Misspelt(Good):
    def on_step_ends(self, engine):
        pass


class Below(Misspelt):
    pass


class Far(Callback):
    def on_the_moon(self, engine):
        pass


class Lightning(Callback):
    def on_train_batch_end(self, engine):
        pass


class Transformers(Callback):
    def on_step_end(self, args, state, control, **kwargs):
        pass


class Short(Callback):
    def on_log(self, engine):
        pass

    def state_dict(self, engine):
        return {}


class NoCompute(Metric):
    def update(self, logits, labels, loss_sum, items):
        pass

    def state(self):
        pass

    def computed(self, states):
        pass

    def reset(self):
        pass


class Torchmetrics(Accuracy):
    def update(self, preds, target):
        pass


class NoStatus(Tracker):
    def start(self, run_dir, step, rows):
        pass

    def log(self, row):
        pass

    def close(self):
        pass


class Plain(CrossEntropy):
    def __call__(self, model, batch):
        pass


class Source:
    labels = None
    tokenizer = None

    def __init__(self, whole=False):
        if whole:
            self.description = "made up"

    def loads(self, splits):
        pass


class Whole(Source):
    def load(self, splits):
        pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def config(*words: str) -> dict[str, Any]:
    return compose([*OVERRIDES, "plugins=[small_run,own]", *words]).config


def line_of(text: str) -> int:
    return OWN[: OWN.index(text)].count("\n") + 1


@pytest.mark.parametrize("name", ["Good", "Better"])
def test_a_class_that_keeps_its_contract_passes(name: str) -> None:
    check_contracts(config(f"callbacks.mine._target_=own.{name}", "callbacks.gone=null", "tracker=[]"))


@pytest.mark.parametrize(
    ("word", "what", "place", "right"),
    [
        (
            "callbacks.mine._target_=own.Misspelt",
            "callbacks.mine (own.Misspelt) has on_step_ends, and there is no such event",
            "def on_step_ends",
            "did you mean on_step_end",
        ),
        (
            "callbacks.mine._target_=own.Below",
            "callbacks.mine (own.Below) has on_step_ends, and there is no such event",
            "def on_step_ends",
            "did you mean on_step_end",
        ),
        (
            "callbacks.mine._target_=own.Far",
            "callbacks.mine (own.Far) has on_the_moon, and there is no such event",
            "def on_the_moon",
            "there are: on_begin, on_resume, on_train_begin, ",
        ),
        (
            "callbacks.mine._target_=own.Lightning",
            "callbacks.mine (own.Lightning) has on_train_batch_end, and there is no such event",
            "def on_train_batch_end",
            "it is on_step_end here",
        ),
        (
            "callbacks.mine._target_=own.Transformers",
            "callbacks.mine (own.Transformers): on_step_end takes (args, state, control, kwargs),"
            " and is given (engine)",
            "def on_step_end(self, args",
            "def on_step_end(self, engine)",
        ),
        (
            "metrics.mine._target_=own.NoCompute",
            "metrics.mine (own.NoCompute) has no compute, which a Metric needs",
            "",
            "did you mean compute for computed?",
        ),
        (
            "metrics.mine._target_=own.Torchmetrics",
            "metrics.mine (own.Torchmetrics): update takes (preds, target), and is given (logits, labels,"
            " loss_sum, items)",
            "def update(self, preds",
            "def update(self, logits, labels, loss_sum, items)",
        ),
        (
            "tracker.mine._target_=own.NoStatus",
            "tracker.mine (own.NoStatus): close takes (), and is given (status)",
            "def close",
            "def close(self, status)",
        ),
        (
            "loss._target_=own.Plain",
            "loss (own.Plain): __call__ takes (model, batch), and is given (model, batch, count)",
            "def __call__",
            "def __call__(self, model, batch, count)",
        ),
    ],
)
def test_what_breaks_its_contract_is_said_with_the_line_and_the_nearest(
    word: str, what: str, place: str, right: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_contracts(config(word))
    (problem,) = caught.value.problems
    assert problem.what == what and problem.right.startswith(right)
    assert problem.where == (f"own.py:{line_of(place)}" if place else "")


def test_all_that_is_wrong_comes_in_one_report_before_anything_is_built(tmp_path: Path) -> None:
    words = ("plugins=[small_run,own]", "callbacks.a._target_=own.Short", "metrics.b._target_=own.NoCompute")
    with pytest.raises(UserError) as caught, built(tmp_path / "run", *words):
        pass
    assert [problem.what.split(":")[0].split(" has")[0] for problem in caught.value.problems] == [
        "callbacks.a (own.Short)",
        "callbacks.a (own.Short)",
        "metrics.b (own.NoCompute)",
    ]


def test_data_that_lacks_what_a_source_has_is_told_what() -> None:
    own = importlib.import_module("own")
    with pytest.raises(UserError) as caught:
        check_source("own.Source", own.Source())
    (problem,) = caught.value.problems
    assert problem.what == "data (own.Source) has no description, load, which a source of data needs"
    assert problem.right == "did you mean load for loads?"
    check_source("own.Whole", own.Whole(whole=True))


def test_the_events_of_other_trainers_lead_to_one_that_is_there() -> None:
    events = {name for name in vars(Callback) if name.startswith("on_")}
    assert set(EVENTS.values()) <= events and not events & EVENTS.keys()
