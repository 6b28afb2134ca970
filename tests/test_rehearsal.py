"""Evaluation and prediction tried before the first step: what is refused, and that nothing of it stays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import FEATURES, Rows, built, run
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from trainer_cli import runner
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.metrics import Metric
from trainer_cli.model import MLP
from trainer_cli.rehearsal import as_it_was
from trainer_cli.tracker.jsonl import FILE

NUMBERS = "metrics={a: {_target_: trainer_cli.metrics.MeanSquaredError}}"
OWN = "plugins=[small_run,test_rehearsal]"
OFF = (OWN, "args.eval_strategy=no", "args.save_strategy=no")


def refused(tmp_path: Path, *overrides: str) -> str:
    """What is said before the first step."""
    with pytest.raises(UserError) as caught, built(tmp_path, *OFF, *overrides):
        pass
    return caught.value.block()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["metrics=regression"],
            "rows 0, 1: MeanSquaredError scores numbers, and here the model gives (2, 3) for labels (2,)",
        ),
        (
            ["metrics.f1={_target_: trainer_cli.metrics.F1, average: binary}"],
            "evaluation, rows 0, 1: F1: average=binary is for two classes, and the model has 3",
        ),
        (["metrics.p={_target_: trainer_cli.metrics.Pearson}"], "Pearson scores numbers"),
        (
            ["loss.class_weights=[1.0,2.0]"],
            "evaluation, rows 0, 1: loss.class_weights has 2 weights, and the model gives 3 classes",
        ),
        (["loss=mse"], "MeanSquaredError takes as many numbers as the model gives: logits (2, 3)"),
        (["loss=model"], "loss=model, but MLP.forward takes no labels"),
        (["model.in_features=7"], "evaluation, rows 0, 1: RuntimeError: mat1 and mat2"),
        (
            ["data.eval._target_=test_rehearsal.Wrong", "data.eval.kind=5"],
            "evaluation, row 1: labels has 5, and the model gives 3 classes, 0 to 2",
        ),
        (
            ["model._target_=test_rehearsal.OnlyInTraining"],
            "evaluation, rows 0, 1: the loss needs a dict with logits from the model, which returns scores",
        ),
        (["metrics.own._target_=test_rehearsal.TextScore"], "metrics.own: the score is a str"),
        (["metrics.own._target_=test_rehearsal.NoState"], "metrics.own: the state is a tensor"),
        (
            [
                "~data.eval.size",
                "~data.eval.seed",
                "~data.eval._target_",
                "+data.eval.near={_target_: small_run.Rows, size: 4}",
                "+data.eval.far={_target_: test_rehearsal.Wrong, size: 4, kind: 5}",
            ],
            "evaluation of far, row 1: labels has 5",
        ),
    ],
)
def test_what_evaluation_would_raise_is_said_before_the_first_step(
    tmp_path: Path, overrides: list[str], says: str
) -> None:
    assert says in refused(tmp_path, *overrides)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model._target_=test_rehearsal.Deep"], "prediction, rows 0, 1: args.stages=[predict] writes"),
        (["model._target_=test_rehearsal.OnlyInTraining"], "needs a dict with logits from the model"),
    ],
)
def test_what_prediction_would_raise_is_said_before_the_first_step(
    tmp_path: Path, overrides: list[str], says: str
) -> None:
    given = ("args.stages=[train,predict]", "data.predict={_target_: small_run.Rows, size: 5}")
    assert says in refused(tmp_path, *given, *overrides)


def test_a_metric_of_ones_own_that_raises_is_told_with_the_rows(tmp_path: Path) -> None:
    given = (*OFF, "metrics.own._target_=test_rehearsal.Raises")
    with pytest.raises(LookupError, match="no such thing") as caught, built(tmp_path, *given):
        pass
    note = "in evaluation, rows 0, 1: features float32 (2, 6), labels int64 (2,) from 1 to 2"
    assert note in caught.value.__notes__


def test_a_score_that_two_rows_have_not_is_no_reason(tmp_path: Path) -> None:
    run(tmp_path, OWN, "metrics.own._target_=test_rehearsal.NeedsMany", "args.max_steps=1")


def test_a_row_deep_in_the_data_ends_the_run_and_is_named(tmp_path: Path) -> None:
    given = (*OFF, "data.eval._target_=test_rehearsal.Wrong", "data.eval.at=9", "data.eval.kind=5")
    with built(tmp_path, *given) as engine, pytest.raises(RunFailed) as caught:
        runner.run(engine)
    assert "evaluation, row 9: labels has 5" in caught.value.block()
    given = (*OFF, "data.train._target_=test_rehearsal.Wrong", "data.train.at=9", "data.train.kind=-1")
    with built(tmp_path, *given, "args.train_sampling_strategy=sequential") as engine:
        with pytest.raises(RunFailed) as caught:
            runner.run(engine)
        assert "training, row 9: labels has -1" in caught.value.block() and engine.state.step == 1


@pytest.mark.parametrize("model", ["small_run.DoubleMLP", "test_rehearsal.Restless"])
@pytest.mark.parametrize("data", ["small_run.Augmented", "small_run.AugmentedStream"])
def test_it_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, data: str) -> None:
    seed = [] if data.endswith("Augmented") else ["~data.eval.seed"]
    given = [OWN, f"model._target_={model}", "model.dropout=0.3", f"data.eval._target_={data}", *seed]
    if model == "small_run.DoubleMLP":
        given += ["data.train._target_=small_run.DoubleRows", "data.eval._target_=small_run.DoubleRows"]
        given.remove("~data.eval.seed") if seed else None
    with_it = run(tmp_path / "with", *given)
    monkeypatch.setattr(runner, "rehearse", lambda engine: None)
    without = run(tmp_path / "without", *given)
    assert (tmp_path / "with" / FILE).read_text() == (tmp_path / "without" / FILE).read_text()
    for name, value in with_it.module.state_dict().items():
        assert torch.equal(value, without.module.state_dict()[name]), name


def test_generators_are_where_they_were(tmp_path: Path) -> None:
    with built(tmp_path, "data.eval._target_=small_run.Augmented") as engine:
        before = (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False))
        runner.rehearse(engine)
        assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
        assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[2]["state"]["key"])


def test_a_stream_that_is_read_once_keeps_its_rows(tmp_path: Path) -> None:
    given = (*OFF, "data.eval._target_=test_rehearsal.Once", "~data.eval.seed")
    engine = run(tmp_path / "copied", *given)
    assert engine.eval_loaders[""].dataset.given == 17
    engine = run(tmp_path / "not", *given, "data.eval.copied=false")
    assert engine.eval_loaders[""].dataset.given == 17


def test_a_stream_that_can_be_copied_is_tried(tmp_path: Path) -> None:
    given = ("data.eval._target_=small_run.Stream", "~data.eval.seed", "metrics=regression")
    assert "MeanSquaredError scores numbers" in refused(tmp_path, *given)


def test_no_callback_sees_it(tmp_path: Path) -> None:
    from trainer_cli.callbacks import Callback

    heard: list[str] = []

    class Hears(Callback):
        def on_evaluate_begin(self, engine: Any, loader: Any) -> None:
            heard.append("begin")

        def on_evaluate_step(self, engine: Any) -> None:
            heard.append("step")

    with built(tmp_path) as engine:
        engine.callbacks["hears"] = Hears()
        engine.__post_init__()
        runner.rehearse(engine)
    assert not heard


def test_a_lack_of_memory_is_left_to_the_run(tmp_path: Path) -> None:
    with built(tmp_path, "model._target_=small_run.Narrow", "model.room=0"):
        pass


def test_a_module_is_as_it_was() -> None:
    module = Restless(FEATURES, [4], 3, 0.5)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    kept = set(vars(module))
    with as_it_was(module, compiled=False), torch.no_grad():
        module.eval()
        module(torch.randn(2, FEATURES))
        assert module.calls == 1 and module.cache is not None
    assert module.training and module.calls == 0 and module.cache is None and set(vars(module)) == kept
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_buffer_that_is_one_value_in_many_places_is_left_as_it_is() -> None:
    module = MLP(FEATURES, [4], 3, 0.0)
    module.register_buffer("ones", torch.ones(1).expand(5))
    with as_it_was(module, compiled=False):
        module.eval()
    assert module.ones.tolist() == [1.0] * 5


def test_a_compiled_module_is_not_compiled_for_it() -> None:
    calls: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(1)
        return graph.forward

    module = MLP(FEATURES, [4], 3, 0.0)
    module.compile(backend=backend)
    with as_it_was(module, compiled=True), torch.no_grad():
        module(torch.randn(2, FEATURES))
    assert not calls


class Wrong(Rows):
    """Points of which one has a label of its own."""

    def __init__(self, size: int, seed: int = 0, kind: int = 0, at: int = 1) -> None:
        super().__init__(size, seed)
        self.labels[at] = kind


class OnlyInTraining(MLP):
    """Gives logits in training alone."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        outputs = super().forward(features)
        return outputs if self.training else {"scores": outputs["logits"]}


class Deep(MLP):
    """Gives more dimensions than a row has where nothing is scored."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        logits = super().forward(features)["logits"]
        return {"logits": logits if self.training else logits[:, None, None]}


class Restless(MLP):
    """Changes with each forward: buffers, attributes, and draws from every generator."""

    def __init__(
        self, in_features: int, hidden_features: list[int], out_features: int, dropout: float
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, dropout)
        self.norm = nn.BatchNorm1d(in_features)
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(in_features))
        self.calls = 0
        self.cache: Tensor | None = None

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        self.seen += 1
        self.calls += 1
        self.mean = 0.5 * self.mean + features.mean(dim=0).detach().float()
        if self.cache is None:
            self.cache = torch.ones(1)
        noise = torch.rand(1).item() + random.random() + np.random.rand() + self.calls
        return super().forward(self.norm(features) * self.cache + noise * 1e-2 + self.mean * 1e-2)


class Summed(Metric):
    """A metric that scores nothing."""

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        pass

    def state(self) -> Tensor:
        return torch.zeros(1)

    def compute(self, states: list[Tensor]) -> float:
        return 0.0

    def reset(self) -> None:
        pass


class TextScore(Summed):
    """Gives a text."""

    def compute(self, states: list[Tensor]) -> float:
        return "much"  # type: ignore[return-value]


class NoState(Summed):
    """Gives a list."""

    def state(self) -> Tensor:
        return [0.0]  # type: ignore[return-value]


class Raises(Summed):
    """Cannot be fed."""

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        raise LookupError("no such thing")


class NeedsMany(Summed):
    """Is not defined over a few rows."""

    def __init__(self) -> None:
        self.rows = 0

    def reset(self) -> None:
        self.rows = 0

    def update(self, logits: Tensor, labels: Tensor, loss_sum: Tensor, items: int) -> None:
        self.rows += items

    def compute(self, states: list[Tensor]) -> float:
        if self.rows < 5:
            raise ValueError("Only one class present")
        return 1.0


class Once(IterableDataset[dict[str, Tensor]]):
    """Points that are gone once they were read."""

    def __init__(self, size: int, copied: bool = True) -> None:
        self.rows = Rows(size)
        self.left = iter(range(size)) if copied else (index for index in range(size))
        self.given = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for index in self.left:
            self.given += 1
            yield self.rows[index]
