"""What an update costs by an optimizer as configured here, beside the package that it comes from."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.side_by_side import Figure, ratios
from trainer_cli.config.compose import compose
from trainer_cli.config.instantiate import instantiate
from trainer_cli.config.schema import TAKEN
from trainer_cli.optim import Modal, parameter_groups
from trainer_cli.optim.modules import targeted

WIDTH, LAYERS, UPDATES, RANK = 256, 4, 20, 32

Make = Callable[[nn.Module], Optimizer]


def figures() -> Iterator[Figure]:
    """Time of an update over that of the package's own optimizer on the same weights and gradients."""
    torch.set_num_threads(1)
    import bitsandbytes
    import schedulefree

    def eight_bit(module: Any) -> Optimizer:
        manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
        manager.register_module_override(module[0], "weight", {"optim_bits": 32})
        return bitsandbytes.optim.AdamW8bit(module.parameters(), lr=1e-4)

    def schedule_free(module: nn.Module) -> Optimizer:
        return schedulefree.AdamWScheduleFree(module.parameters(), lr=1e-4)

    yield compared("8-bit AdamW", configured("adamw_8bit"), eight_bit)
    yield compared("schedule-free AdamW", configured("schedule_free_adamw"), schedule_free)
    if importlib.util.find_spec("galore_torch") is None:
        print("an update of GaLore is left out: galore-torch is not installed")
        return
    low_rank = (f"optim.rank={RANK}", "optim.target_modules=all-linear")
    for name in ("adamw", "adafactor"):
        yield compared(f"GaLore {name}", configured(f"galore_{name}", *low_rank), galore_of_package(name))


def compared(name: str, ours: Make, theirs: Make) -> Figure:
    """The ratio of both step times."""
    first, second = measured(ours), measured(theirs)
    return Figure(f"an update of {name} / the package's own", "<= 1.05", ratios(first, second, pairs=9))


def measured(make: Make) -> Callable[[], float]:
    """A way to measure the seconds of some updates, of which the first, which makes the state, is over."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(4000, WIDTH))
    for _ in range(LAYERS):
        module.extend([nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH), nn.LayerNorm(WIDTH)])
    optimizer = make(module)
    if isinstance(optimizer, Modal):
        optimizer.train()
    gradients = [torch.randn_like(weight) for weight in module.parameters()]

    def update() -> float:
        for weight, gradient in zip(module.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start

    update()
    return lambda: sum(update() for _ in range(UPDATES))


def configured(option: str, *overrides: str) -> Make:
    """The optimizer of this option, as a run builds it."""
    config = compose([f"optim={option}", "scheduler=constant", *overrides], strict=False).config["optim"]
    node = {name: value for name, value in config.items() if name not in TAKEN["optim"]}

    def make(module: nn.Module) -> Optimizer:
        optimizer: Optimizer = instantiate(
            "optim", node, params=parameter_groups(module, config), module=module
        )
        return optimizer

    return make


def galore_of_package(name: str) -> Make:
    """galore-torch's optimizer with the same settings."""
    galore_torch: Any = importlib.import_module("galore_torch")

    def make(module: nn.Module) -> Optimizer:
        chosen = targeted(module, "all-linear")
        low_rank = {"rank": RANK, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
        groups = [
            {"params": [weight for weight in module.parameters() if weight not in chosen]},
            {"params": [weight for weight in module.parameters() if weight in chosen], **low_rank},
        ]
        if name == "adamw":
            return galore_torch.GaLoreAdamW(groups, lr=1e-4, no_deprecation_warning=True)  # type: ignore[no-any-return]
        fixed = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
        return galore_torch.GaLoreAdafactor(groups, lr=1e-4, **fixed)  # type: ignore[no-any-return]

    return make
