"""Where transformers.Trainer is wrong: its number and ours, both from a run on the same rows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from parity import models
from parity.sides import built, our_steps, ours, part, their_steps, theirs
from safetensors.torch import load_file
from torch.utils.data import default_collate
from transformers import Trainer

from trainer_cli import runner
from trainer_cli.config.errors import UserError
from trainer_cli.model.storage import WEIGHTS
from trainer_cli.tracker.jsonl import FILE, read


def sgd(lr: float) -> list[str]:
    return ["optim=sgd", "optim.momentum=0.0", f"optim.lr={lr}", "args.max_grad_norm=0"]


def test_accumulation_of_a_loss_that_takes_no_count(tmp_path: Path) -> None:
    """The head of BERT takes their trainer's count and leaves it: means add up, to 4 times the loss."""
    rows = models.Sentences(48, seed=0)

    def their(batch: int, accumulation: int) -> list[tuple[float, float]]:
        trainer = theirs(
            tmp_path / f"{batch}",
            models.bert(double=True),
            rows,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=1,
            learning_rate=0.0,
        )
        trainer.train()
        return [(step.loss, step.grad_norm) for step in their_steps(trainer)]

    ours(
        tmp_path / "ours",
        *part("model", models.bert, double=True),
        *part("data.train", models.Sentences, size=48, seed=0),
        "args.per_device_train_batch_size=4",
        "args.gradient_accumulation_steps=4",
        "args.num_train_epochs=1",
        "optim.lr=0.0",
    )
    whole = their(16, 1)
    assert len(whole) == 3
    assert their(4, 4) == [pytest.approx((4 * loss, 4 * norm), rel=1e-12) for loss, norm in whole]
    found = [(step.loss, step.grad_norm) for step in our_steps(tmp_path / "ours")]
    assert found == [pytest.approx(step, rel=1e-12) for step in whole]


def test_a_first_label_that_nothing_comes_before(tmp_path: Path) -> None:
    """Their trainer counts the first word of each row where it does not know a model's loss, as GPT-2's."""
    rows, module = models.Texts(32, seed=0), models.gpt2(double=True)
    batch = default_collate([rows[index] for index in range(32)])
    mean = module(**batch).loss.item()
    counted = int((batch["labels"] != models.IGNORED).sum())
    trainer = theirs(
        tmp_path / "theirs", module, rows, per_device_train_batch_size=32, max_steps=1, learning_rate=0.0
    )
    trainer.train()
    assert their_steps(trainer)[0].loss == pytest.approx(mean * (counted - 32) / counted, rel=1e-9)
    for accumulation in (1, 8):
        run_dir = tmp_path / f"ours-{accumulation}"
        ours(
            run_dir,
            *part("model", models.gpt2, double=True),
            *part("data.train", models.Texts, size=32, seed=0),
            f"args.per_device_train_batch_size={32 // accumulation}",
            f"args.gradient_accumulation_steps={accumulation}",
            "args.max_steps=1",
            "optim.lr=0.0",
        )
        assert our_steps(run_dir)[0].loss == pytest.approx(mean, rel=1e-9)


def test_evaluation_by_batches_of_any_size(tmp_path: Path) -> None:
    """Their loss is a mean of the batches' means: each size of the batch gives another."""
    rows, module = models.Continuations(40, seed=1), models.gpt2(double=True)
    their, our = {}, {}
    for size in (1, 4, 8, 40):
        trainer = theirs(tmp_path / "theirs", module, None, rows, per_device_eval_batch_size=size)
        their[size] = trainer.evaluate()["eval_loss"]
        engine = ours(
            tmp_path / f"ours-{size}",
            *part("model", models.gpt2, double=True),
            *part("data.eval", models.Continuations, size=40, seed=1),
            f"args.per_device_eval_batch_size={size}",
            "args.stages=[eval]",
        )
        assert engine.evaluation is not None
        our[size] = engine.evaluation["eval/loss"]
    assert our == {size: pytest.approx(their[40], rel=1e-12) for size in our}
    values = sorted(their.values())
    assert all(high - low > 1e-4 * high for low, high in itertools.pairwise(values))


def test_a_value_that_is_not_a_number(tmp_path: Path) -> None:
    """Their trainer logs a loss of 0, and goes on to write a model of NaN alone."""
    rows = models.Points(16, spoilt=5)
    module = models.Line()
    trainer = theirs(
        tmp_path / "theirs",
        module,
        rows,
        per_device_train_batch_size=4,
        num_train_epochs=1,
        save_strategy="steps",
        save_steps=1,
    )
    trainer.train()
    assert [step.loss for step in their_steps(trainer)][1:] == [0.0, 0.0, 0.0]
    assert load_file(tmp_path / "theirs" / "checkpoint-4" / WEIGHTS)["weight"].isnan().all()

    run_dir = tmp_path / "ours"
    with (
        built(
            run_dir,
            *part("model", models.Line),
            *part("data.train", models.Points, size=16, spoilt=5),
            "args.per_device_train_batch_size=4",
            "args.num_train_epochs=1",
            "args.save_strategy=steps",
            "args.save_steps=1",
            "args.on_nonfinite=stop",
        ) as engine,
        pytest.raises(UserError, match="update 2 has loss nan"),
    ):
        runner.run(engine)
    first, second = read(run_dir / FILE)
    assert first["train/loss"] == pytest.approx(their_steps(trainer)[0].loss)
    assert (second["step"], second["train/loss"]) == (2, "nan")
    assert [path.name for path in run_dir.glob("checkpoint-*")] == ["checkpoint-1"]
    kept = load_file(run_dir / "checkpoint-1" / WEIGHTS)["weight"]
    assert kept.isfinite().all()
    assert torch.equal(kept, engine.module.get_parameter("weight"))


def test_micro_batches_left_over_by_a_stream(tmp_path: Path) -> None:
    """Their trainer keeps the gradients of 2 of 6 micro-batches for an update of the next pass."""
    module = models.Table(24)
    optimizer = models.Watching(module.parameters())
    trainer = theirs(
        tmp_path / "theirs",
        module,
        models.Numbers(24),
        optimizer=optimizer,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        max_steps=4,
    )
    trainer.train()
    assert [len(rows) / 4 for rows in optimizer.seen] == [4, 6, 6, 6]

    engine = ours(
        tmp_path / "ours",
        *part("model", models.Table, rows=24),
        *part("data.train", models.Numbers, size=24),
        *part("optim", models.Watching),
        "args.per_device_train_batch_size=4",
        "args.gradient_accumulation_steps=4",
        "args.max_steps=4",
    )
    assert isinstance(engine.optimizer, models.Watching)
    assert engine.optimizer.seen == [list(range(16)), list(range(16, 24))] * 2


def test_the_best_model_between_two_checkpoints(tmp_path: Path) -> None:
    """Evaluated every 2 updates and saved every 4, best after 6: their trainer gives back that of 4."""
    module = models.Counter()
    rows = models.Points(8, spoilt=None)
    trainer = theirs(
        tmp_path / "theirs",
        module,
        rows,
        rows,
        optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        max_steps=8,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
    )
    trainer.train()
    assert trainer.state.best_global_step == 6
    assert module.weight.item() == 4

    engine = ours(
        tmp_path / "ours",
        *part("model", models.Counter),
        *part("data.train", models.Points, size=8, spoilt=None),
        *part("data.eval", models.Points, size=8, spoilt=None),
        *sgd(lr=1.0),
        "scheduler=constant",
        "args.max_steps=8",
        "args.eval_strategy=steps",
        "args.eval_steps=2",
        "args.save_strategy=steps",
        "args.save_steps=4",
        "args.load_best_model_at_end=true",
    )
    assert engine.state.best_step == 6
    assert engine.module.get_parameter("weight").item() == 6
    assert load_file(tmp_path / "ours" / "model" / WEIGHTS)["weight"].item() == 6


def resumed_by_them(directory: Path, **changed: float) -> dict[int, float]:
    """The rates that their trainer logs, by update: a run of 10 updates gone on with from its end."""
    given = {"save_strategy": "steps", "learning_rate": 1e-3, "max_steps": 10, "save_steps": 10}
    rows = models.Points(8, spoilt=None)
    theirs(directory, models.Line(), rows, **given).train()
    trainer = theirs(directory, models.Line(), rows, **{**given, **changed})
    trainer.train(resume_from_checkpoint=str(directory / "checkpoint-10"))
    return {step.number: step.lr for step in their_steps(trainer)}


def resumed_by_us(directory: Path, *changed: str) -> dict[int, float]:
    """The same of ours."""
    given = (
        *part("model", models.Line),
        *part("data.train", models.Points, size=8, spoilt=None),
        "optim.lr=1e-3",
        "args.max_steps=10",
        "args.save_strategy=steps",
        "args.save_steps=10",
    )
    ours(directory / "first", *given)
    ours(directory / "second", *given, *changed, resume_from=directory / "first" / "checkpoint-10")
    return {step.number: step.lr for step in our_steps(directory / "second")}


def test_more_updates_after_a_resume(tmp_path: Path) -> None:
    """Their first update after the resume has the rate of the old schedule, 0; the next one jumps."""
    falling = {step: pytest.approx(1e-3 * (21 - step) / 20) for step in range(11, 21)}
    assert resumed_by_them(tmp_path / "theirs", max_steps=20) == {**falling, 11: 0.0}
    assert resumed_by_us(tmp_path / "ours", "args.max_steps=20") == falling


def test_other_intervals_after_a_resume(tmp_path: Path) -> None:
    """Their trainer goes on logging at the interval of the checkpoint, whatever it is told."""
    their = resumed_by_them(tmp_path / "theirs", max_steps=20, logging_steps=5)
    assert list(their) == list(range(11, 21))
    our = resumed_by_us(tmp_path / "ours", "args.max_steps=20", "args.logging_steps=5")
    assert list(our) == [15, 20]


def test_weights_of_a_batch_normalisation(tmp_path: Path) -> None:
    """Their trainer tells what decays by names, among which BatchNorm's are none."""
    module = models.Idle()
    rows = models.Points(8, spoilt=None)
    trainer = theirs(
        tmp_path / "theirs",
        module,
        rows,
        lr_scheduler_type="constant",
        max_steps=3,
        learning_rate=0.1,
        weight_decay=0.5,
    )
    trainer.train()
    torch.testing.assert_close(module.bn.weight.detach(), torch.full((3,), 0.95**3))

    engine = ours(
        tmp_path / "ours",
        *part("model", models.Idle),
        *part("data.train", models.Points, size=8, spoilt=None),
        "scheduler=constant",
        "args.max_steps=3",
        "optim.lr=0.1",
        "optim.weight_decay=0.5",
    )
    assert torch.equal(engine.module.get_parameter("bn.weight"), torch.ones(3))


def test_epochs_after_a_resume_with_another_batch(tmp_path: Path) -> None:
    """Theirs takes the updates made for ones of the new batch: of 4 epochs, the last 2 are not trained."""
    rows = models.Sentences(48, seed=0)

    def trainer(batch: int) -> Trainer:
        return theirs(
            tmp_path / "theirs",
            models.bert(double=True),
            rows,
            per_device_train_batch_size=batch,
            num_train_epochs=4,
            save_strategy="epoch",
        )

    trainer(4).train()
    resumed = trainer(8)
    resumed.train(resume_from_checkpoint=str(tmp_path / "theirs" / "checkpoint-24"))
    assert their_steps(resumed) == [] and resumed.state.global_step == 24

    given = [
        *part("model", models.bert, double=True),
        *part("data.train", models.Sentences, size=48, seed=0),
        "args.num_train_epochs=4",
        "args.save_strategy=epoch",
        "args.save_total_limit=null",
    ]
    ours(tmp_path / "ours", *given, "args.per_device_train_batch_size=4")
    engine = ours(
        tmp_path / "resumed",
        *given,
        "args.per_device_train_batch_size=8",
        resume_from=tmp_path / "ours" / "checkpoint-24",
    )
    assert [step.number for step in our_steps(tmp_path / "resumed")] == list(range(25, 37))
    assert (engine.epoch, engine.total_steps) == (4.0, 36)
