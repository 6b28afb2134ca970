"""A run on a terminal: how far it is, how fast, its losses and scores, and what comes next."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import psutil
import torch
from rich.text import Text

from trainer_cli.callbacks.throughput import Clock
from trainer_cli.runs.screen import Piece, bar, duration, fitted, short, sparkline, words

if TYPE_CHECKING:
    from trainer_cli.data.loader import EvalLoader
    from trainer_cli.engine import Engine

RECENT_LOSSES = 40
WINDOW = 10.0
"""Seconds of updates that a speed is the mean of, at least; at most twice as many."""

GB = 10**9


@dataclass
class Evaluation:
    """A pass over a set; `batches` is None for a stream."""

    name: str
    batches: int | None
    began: float
    done: int = 0


@dataclass(frozen=True)
class Counts:
    """What went into the updates of this start; samples are those of all processes, tokens of this one."""

    updates: int = 0
    seconds: float = 0.0
    samples: int = 0
    tokens: int = 0


class RunView:
    """The lines of a run: its callback tells it what happens, and a thread of the screen reads it.

    It asks the engine for the rest, and neither the device nor another process for anything.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.training = self.over = False
        self.began = self.ended = monotonic()
        self.first = (engine.state.step, 0.0)
        self.at: float | None = None
        self.samples = self.tokens = 0
        self.marks = deque([Counts()], maxlen=2)
        self.row: Mapping[str, Any] = {}
        self.losses: tuple[float, ...] = ()
        self.scores: Mapping[str, Any] = {}
        self.evaluation: Evaluation | None = None
        self.saved = engine.state.saved_step
        self.memory = (0.0, "")

    # What happens.

    def train(self) -> None:
        """Training begins."""
        self.training, self.began = True, monotonic()

    def update(self, samples: int, tokens: int) -> None:
        """An update was made."""
        self.samples += samples
        self.tokens += tokens
        self.at = self.clock.since
        if self.first[1] == 0.0 and self.at is not None:
            self.first = (self.engine.state.step, self.at)

    def log(self, row: Mapping[str, Any]) -> None:
        """A training row was logged."""
        self.row = row
        self.losses = (*self.losses, float(row["train/loss"]))[-RECENT_LOSSES:]

    def evaluate(self, loader: EvalLoader) -> None:
        """A pass over a set begins."""
        sets = self.engine.eval_loaders
        names = [name for name, part in sets.items() if part is loader]
        name = f"evaluating {names[0]}".rstrip() if names else "predicting"
        self.evaluation = Evaluation(name, loader.batches, monotonic())

    def end(self) -> None:
        """Training is over; the lines stay as they are from here on."""
        self.over, self.ended = True, monotonic()

    # What is shown of it.

    def lines(self, width: int, height: int) -> list[Text]:
        """At most `height` lines of at most `width` columns, those that there is something to say in."""
        parts: list[tuple[str, Iterator[Piece]]] = []
        if self.training:
            parts += [("train", self.progress()), ("loss", self.loss()), ("speed", self.speed())]
            parts += [("eval", self.last_scores())]
        if not self.over:
            parts += [("now", self.under_way()) if self.evaluation else ("next", self.upcoming())]
        lines = [(label, list(pieces)) for label, pieces in parts]
        return [fitted(label, pieces, width) for label, pieces in lines if pieces][:height]

    @property
    def made(self) -> int:
        """Updates of the run so far, with those that were passed over: they count as ones of its total."""
        return self.engine.state.position.updates

    @property
    def left(self) -> int:
        """Updates to go."""
        return max(0, self.engine.total_steps - self.made)

    def progress(self) -> Iterator[Piece]:
        engine, total = self.engine, self.engine.total_steps
        made, step = self.made, engine.state.step
        yield Piece(lambda width: bar(made, total, width), 10, 40, 2)
        yield words(f"{step:,}/{total:,}", 0, before="  ")
        yield words(f"{made / max(total, 1):.0%}", 6)
        yield words(f"epoch {engine.epoch:.2f}", 4)
        yield words(duration((self.ended if self.over else monotonic()) - self.began), 5)
        first, since = self.first
        if self.at is not None and step > first and not self.over:
            yield words(f"ETA {duration((self.at - since) / (step - first) * self.left)}", 1)

    def loss(self) -> Iterator[Piece]:
        row, losses = self.row, self.losses
        if not row:
            return
        yield number("", row["train/loss"], 0)
        if len(losses) > 1:
            most = min(len(losses), RECENT_LOSSES)
            yield Piece(lambda width: sparkline(losses, width), min(8, most), most, 1, " ")
        for name, rank in (("grad_norm", 2), ("lr", 3)):
            if f"train/{name}" in row:
                yield number(name.replace("_", " "), row[f"train/{name}"], rank)
        if count := self.engine.state.nonfinite_steps:
            yield words(f"{count} not finite", 1, "bold red")

    def speed(self) -> Iterator[Piece]:
        now = Counts(self.clock.updates, self.clock.seconds, self.samples, self.tokens)
        before = self.marks[0]
        if now.seconds - self.marks[-1].seconds > WINDOW:
            self.marks.append(now)
        updates, seconds = now.updates - before.updates, now.seconds - before.seconds
        if updates and seconds > 0:
            per_step = seconds / updates
            yield words(f"{per_step:.3g} s/step" if per_step >= 1 else f"{1000 * per_step:.3g} ms/step", 0)
            yield words(f"{rate((now.samples - before.samples) / seconds)} samples/s", 1)
            if tokens := (now.tokens - before.tokens) * self.engine.strategy.world_size:
                yield words(f"{rate(tokens / seconds)} tokens/s", 2)
        yield words(self.memory_now(), 3)

    def memory_now(self) -> str:
        """What the run takes; looked up once a second."""
        looked, text = self.memory
        if monotonic() - looked > 1:
            device = self.engine.strategy.device
            if device.type == "cuda":
                peak, room = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_properties(device)
                text = f"GPU memory {peak / GB:.1f} of {room.total_memory / GB:.0f} GB"
            else:
                text = f"memory {psutil.Process().memory_info().rss / GB:.1f} GB"
            self.memory = (monotonic(), text)
        return text

    def last_scores(self) -> Iterator[Piece]:
        engine, scores = self.engine, self.scores
        if not scores:
            return
        main = engine.score_name(None)
        yield words(f"step {scores['step']:,}", 3)
        for rank, name in enumerate(sorted((n for n in scores if n.startswith("eval/")), key=main.__ne__)):
            yield number(name.removeprefix("eval/"), scores[name], 4 + rank if rank else 0)
        best, step = engine.state.best_metric, engine.state.best_step
        if best is not None and step is not None:
            if step == scores["step"]:
                yield words("the best so far", 1, "green")
            else:
                name = main.removeprefix("eval/")
                yield words(f"best {name} {short(best)} at step {step:,}", 1)

    def under_way(self) -> Iterator[Piece]:
        """The evaluation at hand."""
        at = self.evaluation
        if at is None:
            return
        yield words(at.name, 0)
        if (batches := at.batches) is None:
            yield words(f"{at.done:,} {'batch' if at.done == 1 else 'batches'}", 1)
        else:
            yield Piece(lambda width: bar(at.done, batches, width), 10, 30, 3, "  ")
            yield words(f"{at.done:,}/{batches:,}", 1, before="  ")
            if at.done:
                seconds = (monotonic() - at.began) / at.done * (batches - at.done)
                yield words(f"ETA {duration(seconds)}", 2)

    def upcoming(self) -> Iterator[Piece]:
        """The next checkpoint and the next evaluation."""
        engine = self.engine
        state, args = engine.state, engine.args
        if state.signal is not None:
            yield words(f"{signal.Signals(state.signal).name}: ends after this step, and saves", 0, "yellow")
        if engine.saver.writing or (state.saved_step == state.step != self.saved):
            yield words(f"writing checkpoint-{state.saved_step}", 0, "green")
        elif args.save_strategy == "best":
            yield words("checkpoint at the best score", 1)
        elif (steps := self.steps_to_save()) is not None:
            yield words(f"checkpoint {in_steps(steps)}", 1)
        if (steps := self.steps_to_evaluation()) is not None:
            yield words(f"evaluation {in_steps(steps)}", 2)

    def steps_to_save(self) -> int | None:
        """Updates up to the next checkpoint; None where that is not known, or there is none."""
        args, step = self.engine.args, self.engine.state.step
        if args.save_strategy == "steps":
            every = int(args.save_steps)
            return min(every - step % every, self.left)
        if args.save_strategy == "epoch":
            of_epoch = self.left_of_epoch()
            return None if of_epoch is None else min(of_epoch, self.left)
        return None

    def steps_to_evaluation(self) -> int | None:
        """Updates up to the next evaluation; None where that is not known, or there is none."""
        args, state = self.engine.args, self.engine.state
        due: int | None = None
        if args.eval_strategy == "steps":
            every = int(args.eval_steps or 1)
            first = math.ceil(args.eval_delay / every) * every
            due = max(every - state.step % every, first - state.step)
        elif args.eval_strategy == "epoch" and state.epoch + 1 >= args.eval_delay:
            due = self.left_of_epoch()
        if (due is None or due > self.left) and "eval" in args.stages:
            due = self.left
        return due if due is None or due <= self.left else None

    def left_of_epoch(self) -> int | None:
        """Updates up to the end of this pass over the data; None for a stream."""
        epochs = self.engine.train_loader.epochs
        return None if epochs is None else epochs.updates_from(self.engine.state.samples)


def number(name: str, value: float, rank: int) -> Piece:
    """A number with its name; red where it is not finite."""
    return words(f"{name} {short(value)}".lstrip(), rank, "" if math.isfinite(value) else "bold red")


def rate(value: float) -> str:
    """How many a second, in three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def in_steps(steps: int) -> str:
    """When, as a count of updates."""
    return "now" if steps <= 0 else "in 1 step" if steps == 1 else f"in {steps:,} steps"
