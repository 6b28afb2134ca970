"""The weights that are evaluated and kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import built, run

from trainer_cli import loop, runner
from trainer_cli.model import MLP, storage
from trainer_cli.optim.averaging import ExponentialAverage
from trainer_cli.restore import TRAINED
from trainer_cli.tracker.jsonl import read

EMA = ("args.ema_decay=0.9", "args.save_strategy=steps", "args.save_steps=3", "args.save_total_limit=null")


def test_the_average_is_the_published_one() -> None:
    torch.manual_seed(0)
    model = MLP(3, [4], 2, 0.0)
    averaging = ExponentialAverage(model, 0.9)
    expected = [parameter.detach().double() for parameter in model.parameters()]
    for _ in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        averaging.update()
        expected = [0.9 * e + 0.1 * p.detach().double() for e, p in zip(expected, model.parameters())]
    for mean, value in zip(averaging.average, expected, strict=True):
        torch.testing.assert_close(mean.double(), value, rtol=1e-5, atol=1e-6)


def test_the_trained_weights_come_back_bit_for_bit() -> None:
    model = MLP(3, [4], 2, 0.0)
    averaging = ExponentialAverage(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.1)
    averaging.update()
    before = [parameter.clone() for parameter in model.parameters()]
    with averaging.applied():
        for mean, parameter in zip(averaging.average, model.parameters(), strict=True):
            assert torch.equal(mean, parameter)
            assert not parameter.isnan().any()
    assert all(torch.equal(left, right) for left, right in zip(before, model.parameters(), strict=True))


def test_it_changes_what_is_scored_and_kept_and_not_what_is_trained(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", *EMA[1:], "args.save_steps=100", "args.save_strategy=no")
    with built(tmp_path / "ema", *EMA) as engine:
        loop.train(engine)
        for left, right in zip(plain.parameters, engine.parameters, strict=True):
            assert torch.equal(left, right)
    whole = run(tmp_path / "whole", *EMA)
    assert whole.evaluation is not None and whole.evaluation != plain.evaluation
    kept = load_file(tmp_path / "whole" / "model" / storage.WEIGHTS)
    last = tmp_path / "whole" / "checkpoint-12"
    assert all(torch.equal(kept[name], value) for name, value in load_file(last / storage.WEIGHTS).items())
    trained = load_file(last / TRAINED)
    assert any(not torch.equal(kept[name], value) for name, value in trained.items())


def test_without_one_a_checkpoint_has_no_second_set_of_weights(tmp_path: Path) -> None:
    run(tmp_path, *EMA[1:])
    assert not (tmp_path / "checkpoint-3" / TRAINED).exists()


@pytest.mark.parametrize(
    "given",
    [
        EMA,
        (*EMA[1:], "optim=schedule_free_adamw", "optim.lr=0.01", "scheduler=constant"),
    ],
    ids=["ema", "schedule-free"],
)
def test_a_checkpoint_predicts_as_the_model_that_was_kept(tmp_path: Path, given: tuple[str, ...]) -> None:
    given = (*given, "data.predict=${data.eval}")
    run(tmp_path / "whole", *given, "args.stages=[train,predict]")
    last = tmp_path / "whole" / "checkpoint-12"
    run(tmp_path / "again", *given, "args.stages=[predict]", resume_from=last)
    whole, again = (read(tmp_path / name / "predictions.jsonl") for name in ("whole", "again"))
    for row, other in zip(whole, again, strict=True):
        assert row["logits"] == pytest.approx(other["logits"], rel=1e-5)


@pytest.mark.parametrize("step", [3, 6, 9])
def test_an_average_survives_a_resume_bit_for_bit(tmp_path: Path, step: int) -> None:
    given = (*EMA, "model.dropout=0.2")
    run(tmp_path / "whole", *given)
    run(tmp_path / "resumed", *given, resume_from=tmp_path / "whole" / f"checkpoint-{step}")
    for file in ("model/model.safetensors", "checkpoint-12/model.safetensors", f"checkpoint-12/{TRAINED}"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "resumed" / file).read_bytes()


def test_the_best_of_the_averages_ends_in_place(tmp_path: Path) -> None:
    given = (*EMA, "args.eval_strategy=steps", "args.eval_steps=1", "args.load_best_model_at_end=true")
    engine = run(tmp_path, *given, "optim.lr=0.3")
    assert engine.state.best_step is not None
    score = runner.run_eval(engine)["eval/loss"]
    assert score == pytest.approx(engine.state.best_metric, rel=1e-6)
