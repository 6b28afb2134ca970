"""The two trainers side by side: transformers.Trainer and trainer-cli, each recorded in the same form."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import models
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LabelSmoother

from trainer_cli import runner
from trainer_cli.config.compose import compose
from trainer_cli.engine import Engine
from trainer_cli.tracker.jsonl import FILE, read

STEPS = 50


@dataclass(frozen=True)
class Step:
    """The number of an update, and what it was made with."""

    number: int
    lr: float
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Trace:
    """A run as either side saw it: each update, and the weights at the end."""

    steps: list[Step]
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """What is learned: a model by name, and the rows it learns from."""

    model: Callable[[bool], nn.Module]
    rows: type[models.Sentences]


TASKS = {
    "bert": Task(models.bert, models.Sentences),
    "gpt2": Task(models.gpt2, models.Continuations),
}


@dataclass(frozen=True)
class Setting:
    """How to train, in terms that both sides know; `batch` is that of a forward. Makes 50 updates.

    `eps` is large: with Adam's usual 1e-8 the bias of an attention's keys, whose true gradient is 0, follows
    the rounding of fp32 alone, which is the same on both sides only where the order of every sum is.
    """

    rows: int = 400
    epochs: float = 1
    batch: int = 8
    accumulation: int = 1
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-5
    schedule: str = "linear"
    warmup: float = 0
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    fused: bool = False

    def arguments(self) -> dict[str, Any]:
        """In the words of transformers.TrainingArguments."""
        return {
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.batch,
            "gradient_accumulation_steps": self.accumulation,
            "learning_rate": self.lr,
            "adam_beta1": self.betas[0],
            "adam_beta2": self.betas[1],
            "adam_epsilon": self.eps,
            "lr_scheduler_type": self.schedule,
            "warmup_steps": self.warmup,
            "max_grad_norm": self.max_grad_norm,
            "weight_decay": self.weight_decay,
            "label_smoothing_factor": self.label_smoothing,
            "optim": "adamw_torch_fused" if self.fused else "adamw_torch",
        }

    def overrides(self) -> list[str]:
        """In the words of trainer-cli."""
        smoothing = ["loss=cross_entropy", f"loss.label_smoothing={self.label_smoothing}"]
        return [
            f"args.num_train_epochs={self.epochs}",
            f"args.per_device_train_batch_size={self.batch}",
            f"args.gradient_accumulation_steps={self.accumulation}",
            f"optim.lr={self.lr}",
            f"optim.betas=[{self.betas[0]},{self.betas[1]}]",
            f"optim.eps={self.eps}",
            f"scheduler={self.schedule}",
            f"scheduler.num_warmup_steps={self.warmup}",
            f"args.max_grad_norm={self.max_grad_norm}",
            f"optim.weight_decay={self.weight_decay}",
            f"optim.fused={str(self.fused).lower()}",
            *(smoothing if self.label_smoothing else ["loss=model"]),
        ]


class Recorder(TrainerCallback):
    """Keeps what their trainer logs; it sums its losses in fp32, whatever type they have, unless told."""

    def __init__(self) -> None:
        self.trainer: Trainer
        self.rows: list[Mapping[str, float]] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.trainer._tr_loss = self.trainer._tr_loss.to(next(self.trainer.model.parameters()).dtype)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        self.rows.append({"step": state.global_step, **logs})


class DoubleSmoother(LabelSmoother):
    """Their label smoothing, in the precision of the logits where it sums in fp32."""

    def __call__(
        self,
        model_output: Mapping[str, Tensor],
        labels: Tensor,
        shift_labels: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        logits = model_output["logits"]
        if shift_labels:
            logits, labels = logits[:, :-1], labels[:, 1:]
        real = labels != self.ignore_index
        surprise = -logits[real].log_softmax(-1)
        count = real.sum() if num_items_in_batch is None else num_items_in_batch
        exact = surprise.gather(-1, labels[real].unsqueeze(-1)).sum()
        return ((1 - self.epsilon) * exact + self.epsilon * surprise.mean(-1).sum()) / count


def theirs(
    directory: Path,
    module: nn.Module,
    rows: Any,
    eval_rows: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    **arguments: Any,
) -> Trainer:
    """Their trainer, ready to train."""
    given = {
        "logging_steps": 1,
        "save_strategy": "no",
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    recorder = Recorder()
    recorder.trainer = trainer = Trainer(
        model=module,
        args=TrainingArguments(str(directory), **{**given, **arguments}),
        train_dataset=rows,
        eval_dataset=eval_rows,
        data_collator=default_data_collator,
        optimizers=(optimizer, None),
        callbacks=[recorder],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextlib.contextmanager
def built(run_dir: Path, *overrides: str, resume_from: Path | None = None) -> Iterator[Engine]:
    """Our engine, ready to train."""
    given = (
        "plugins=[parity]",
        "data=python",
        "~model.pretrained",
        "~model.config",
        "~model.trust_remote_code",
        "callbacks.progress=null",
        "args.logging_steps=1",
        "args.eval_strategy=no",
        "args.save_strategy=no",
        "args.train_sampling_strategy=sequential",
        "args.stages=[train]",
        "args.precision=fp32",
        "args.use_cpu=true",
    )
    config = compose([*given, *overrides]).config
    run_dir.mkdir(parents=True, exist_ok=True)
    engine = runner.build(config, run_dir, resume_from)
    try:
        yield engine
    finally:
        for tracker in engine.trackers.values():
            tracker.close()


def ours(run_dir: Path, *overrides: str, resume_from: Path | None = None) -> Engine:
    """Our run, over."""
    with built(run_dir, *overrides, resume_from=resume_from) as engine:
        runner.run(engine)
    return engine


def part(key: str, target: Any, **values: Any) -> list[str]:
    """A part of a configuration: the function or class that makes it, and what it is given."""
    named = f"{key}._target_={target.__module__}.{target.__qualname__}"
    return [named, *(f"{key}.{name}={json.dumps(value)}" for name, value in values.items())]


def their_steps(trainer: Trainer) -> list[Step]:
    """The updates that their trainer logged."""
    (recorder,) = [one for one in trainer.callback_handler.callbacks if isinstance(one, Recorder)]
    rows = [row for row in recorder.rows if "grad_norm" in row]
    return [Step(int(row["step"]), row["learning_rate"], row["loss"], row["grad_norm"]) for row in rows]


def our_steps(run_dir: Path) -> list[Step]:
    """The updates that our run logged."""
    rows = [row for row in read(run_dir / FILE) if "train/loss" in row]
    return [Step(row["step"], row["train/lr"], row["train/loss"], row["train/grad_norm"]) for row in rows]


def their_trace(directory: Path, task: Task, setting: Setting, double: bool) -> Trace:
    """Their trainer's run."""
    module = task.model(double)
    trainer = theirs(directory, module, task.rows(setting.rows, seed=0), **setting.arguments())
    if double and setting.label_smoothing:
        trainer.label_smoother = DoubleSmoother(setting.label_smoothing)
    trainer.train()
    return Trace(their_steps(trainer), weights(module))


def our_trace(run_dir: Path, task: Task, setting: Setting, double: bool) -> Trace:
    """Our run."""
    engine = ours(
        run_dir,
        *part("model", task.model, double=double),
        *part("data.train", task.rows, size=setting.rows, seed=0),
        *setting.overrides(),
    )
    return Trace(our_steps(run_dir), weights(engine.module))


def weights(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters as they are now, by name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def assert_same(one: Trace, other: Trace, tolerance: float) -> None:
    """Rates to the last bit, losses and norms by their size, each weight by the largest of its tensor."""
    numbers = list(range(1, STEPS + 1))
    assert [step.number for step in one.steps] == [step.number for step in other.steps] == numbers
    for left, right in zip(one.steps, other.steps):
        assert left.lr == right.lr
        assert left.loss == pytest.approx(right.loss, rel=tolerance, abs=0)
        assert left.grad_norm == pytest.approx(right.grad_norm, rel=tolerance, abs=0)
    assert one.weights.keys() == other.weights.keys()
    for key, weight in one.weights.items():
        scale = float(weight.abs().max())
        torch.testing.assert_close(weight, other.weights[key], rtol=0, atol=tolerance * scale, msg=key)
