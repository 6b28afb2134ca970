"""Every optimizer trains, and a run that was cut short ends with the same bytes as one that was not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from small_run import run

import trainer_cli
from trainer_cli.tracker.jsonl import FILE, read

OPTIONS = Path(trainer_cli.__file__).parents[1] / "configs" / "optim"
NAMES = sorted(path.stem for path in OPTIONS.glob("*.yaml"))
FAST = {
    "adafactor",
    "adalomo",
    "adamw",
    "adamw_8bit",
    "galore_adamw_layerwise",
    "grokadamw",
    "muon",
    "prodigy",
    "schedule_free_adamw",
    "sgd",
}
CUT, LAST = 13, 30

# 64 × 64 weights are the fewest whose state is kept in 8 bits.
GIVEN = (
    "model.hidden_features=[64,64]",
    "args.num_train_epochs=5",
    "args.save_strategy=steps",
    f"args.save_steps={CUT}",
    "args.save_total_limit=null",
)
RATES = {
    "adalomo": 0.05,
    "lomo": 0.3,
    "prodigy": 1.0,
    "schedule_free_sgd": 1.0,
    "sgd": 0.1,
}
HIGH = ("apollo", "galore", "muon", "radam", "schedule_free_radam")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU"),
    # What torchao's and bitsandbytes' imports and torch.compile say of themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def cases() -> list[object]:
    # torchao compiles a kernel for each shape of a weight.
    long = [pytest.mark.slow, pytest.mark.timeout(900)]
    return [pytest.param(name, marks=[] if name in FAST else long) for name in NAMES]


def rate(name: str) -> float:
    """A learning rate with which the loss falls within 30 updates."""
    return RATES.get(name, 3e-2 if name.startswith(HIGH) else 5e-3)


def overrides(name: str) -> list[str]:
    """What the small problem and the optimizer's own design ask for."""
    node = yaml.safe_load((OPTIONS / f"{name}.yaml").read_text())
    given = [f"optim={name}", f"optim.lr={rate(name)}", *GIVEN]
    if "rank" in node:
        given += ["optim.rank=8", "optim.update_proj_gap=5"]
    if node.get("layerwise") or name in ("lomo", "adalomo"):
        given.append("args.max_grad_norm=0")
    if name.startswith("schedule_free"):
        given.append("scheduler=constant")
    return given


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


@pytest.mark.parametrize("name", cases())
def test_it_trains_and_goes_on_where_it_was(tmp_path: Path, name: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, *overrides(name))
    losses = [row["train/loss"] for row in read(whole / FILE) if "train/loss" in row]
    assert len(losses) == LAST
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])

    cut.mkdir()
    shutil.copy(whole / FILE, cut)
    shutil.copytree(whole / f"checkpoint-{CUT}", cut / f"checkpoint-{CUT}")
    run(cut, *overrides(name), resume_from=cut / f"checkpoint-{CUT}")
    assert (cut / FILE).read_text() == (whole / FILE).read_text()
    assert digests(cut / "model") == digests(whole / "model")
    assert digests(cut / f"checkpoint-{LAST}") == digests(whole / f"checkpoint-{LAST}")
