"""Fields of `args` that no other module's tests change in a run: each has its effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import built, run

from trainer_cli.tracker.jsonl import FILE, read

LANGUAGE_MODEL = (
    "data=language_modeling",
    "~data.train",
    "~data.eval",
    "data.max_length=16",
    "model=causal_lm",
    "~model.in_features",
    "~model.out_features",
    "~model.hidden_features",
    "model.config={model_type:llama,hidden_size:8,intermediate_size:8,num_hidden_layers:1,num_attention_heads:1}",
    "loss=model",
    "metrics={}",
    "args.max_steps=2",
    "args.eval_strategy=no",
    "args.save_strategy=no",
    "args.stages=[train]",
)


@pytest.fixture
def own_settings() -> Iterator[None]:
    """torch's own settings after the test, whatever a run has set."""
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = cudnn


def test_full_determinism_is_demanded(tmp_path: Path, own_settings: None) -> None:
    with built(tmp_path / "usual"):
        assert not torch.are_deterministic_algorithms_enabled()
    with built(tmp_path / "all", "args.full_determinism=true"):
        assert torch.are_deterministic_algorithms_enabled()


def test_tf32_is_set_or_left_alone(tmp_path: Path, own_settings: None) -> None:
    for value, precision in (("true", "high"), ("null", "high"), ("false", "highest")):
        with built(tmp_path / value, f"args.tf32={value}"):
            assert torch.get_float32_matmul_precision() == precision


def test_a_short_last_batch_is_dropped_in_training_alone(tmp_path: Path) -> None:
    counts = {}
    for value in ("true", "false"):
        engine = run(
            tmp_path / value, f"args.dataloader_drop_last={value}", "args.per_device_eval_batch_size=4"
        )
        counts[value] = engine.state.step
        last = read(tmp_path / value / FILE)[-1]
        hits = last["eval/accuracy"] * 17  # a whole number of the 17 rows, so none was dropped
        assert hits == pytest.approx(round(hits))
    assert counts == {"true": 2 * (45 // 8), "false": 2 * -(-45 // 8)}


@pytest.mark.slow
def test_noise_on_the_embeddings_changes_training_and_is_gone_after_it(tmp_path: Path) -> None:
    clean = run(tmp_path / "clean", *LANGUAGE_MODEL)
    noisy = run(tmp_path / "noisy", *LANGUAGE_MODEL, "args.neftune_noise_alpha=50")
    losses = [read(engine.run_dir / FILE)[0]["train/loss"] for engine in (clean, noisy)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    module: Any = noisy.module
    assert not module.get_input_embeddings()._forward_hooks
