"""What each group takes: the base of its classes, and what may be named of the packages that others made.

A name is held to this twice: by its spelling before anything is imported, and by what it stands for before
anything is called.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from trainer_cli.config.schema import NAMED, NODES


@dataclass(frozen=True)
class Offer:
    """Names below a package: the classes of `base` among them; without a base, all that the pattern matches.

    In a pattern `*` stands for any part of one name, `**` for a path of names; none is private.
    """

    pattern: str
    base: str = ""

    @property
    def package(self) -> str:
        """The module that all of the names are below."""
        return self.pattern.partition("*")[0].rpartition(".")[0]

    def matches(self, target: str) -> bool:
        """Whether the name is spelled as one of these."""
        return _expression(self.pattern).fullmatch(target) is not None


@dataclass(frozen=True)
class Part:
    """What a group takes: instances of `base`, made by what the offers name; `hint` says more of it."""

    base: str
    offers: tuple[Offer, ...]
    hint: str = ""

    def __str__(self) -> str:
        return f"a {self.base}"


def _of(base: str, *patterns: str) -> tuple[Offer, ...]:
    return tuple(Offer(pattern, base) for pattern in patterns)


def _named(*patterns: str) -> tuple[Offer, ...]:
    return tuple(Offer(pattern) for pattern in patterns)


def _transformers(base: str) -> tuple[Offer, ...]:
    """The classes of a base of transformers, and what they load."""
    places = ("transformers.*", "transformers.models.**")
    return _of(base, *places, *(f"{place}.from_pretrained" for place in places))


PARTS: dict[str, Part] = {
    "model": Part(
        "torch.nn.Module",
        _of("torch.nn.Module", "torch.nn.**", "trainer_cli.model.**")
        + _transformers("transformers.PreTrainedModel")
        + _named(
            "transformers.AutoModel*.from_pretrained",
            "transformers.AutoModel*.from_config",
            "peft.get_peft_model",
            "trainer_cli.model.*",
        ),
    ),
    "data": Part(
        "trainer_cli.data.DataSource",
        _of("trainer_cli.data.DataSource", "trainer_cli.data.**"),
        hint="data=python data.train._target_=CLASS takes a dataset",
    ),
    "loss": Part(
        "trainer_cli.loss.Loss",
        _of("trainer_cli.loss.Loss", "trainer_cli.loss.**"),
        hint="loss=elementwise loss.function._target_=… takes a function of logits and labels",
    ),
    "optim": Part(
        "torch.optim.Optimizer",
        _of(
            "torch.optim.Optimizer",
            "torch.optim.**",
            "transformers.Adafactor",
            "transformers.optimization.Adafactor",
            "bitsandbytes.optim.**",
            "optimi.**",
            "pytorch_optimizer.**",
            "schedulefree.**",
            "torchao.optim.**",
            "trainer_cli.optim.**",
        )
        + _named("trainer_cli.optim.*"),
    ),
    "scheduler": Part(
        "torch.optim.lr_scheduler.LRScheduler",
        _of(
            "torch.optim.lr_scheduler.LRScheduler",
            "torch.optim.lr_scheduler.*",
            "trainer_cli.scheduler.**",
        )
        + _named("transformers.get_*schedule*", "trainer_cli.scheduler.*"),
    ),
    "metrics": Part(
        "trainer_cli.metrics.Metric",
        _of("trainer_cli.metrics.Metric", "trainer_cli.metrics.**"),
        hint="a class fed batch by batch: docs/callbacks_and_metrics.md has one of 15 lines",
    ),
    "callbacks": Part(
        "trainer_cli.callbacks.Callback",
        _of("trainer_cli.callbacks.Callback", "trainer_cli.callbacks.**"),
        hint="its events have the names that transformers gives them: docs/callbacks_and_metrics.md",
    ),
    "tracker": Part(
        "trainer_cli.tracker.Tracker",
        _of("trainer_cli.tracker.Tracker", "trainer_cli.tracker.**"),
        hint="a class with start, log and close: docs/trackers.md",
    ),
}
"""What each group takes."""

VALUES = (
    _of("torch.utils.data.Dataset", "torch.utils.data.*", "torch.utils.data.dataset.*")
    + _named("torch.utils.data.random_split", "torch.utils.data.default_collate")
    + _named("torch.nn.functional.*", "torch.nn.init.*")
    + _named(
        *(
            f"torch.{name}"
            for name in (
                "device",
                "Generator",
                "tensor",
                "zeros",
                "ones",
                "full",
                "eye",
                "arange",
                "linspace",
            )
        )
    )
    + _named(
        "datasets.load_dataset",
        "datasets.load_from_disk",
        "datasets.concatenate_datasets",
        "datasets.interleave_datasets",
        *(f"datasets.Dataset.from_{what}" for what in ("csv", "dict", "json", "list", "parquet", "text")),
        *(
            f"datasets.{name}"
            for name in ("Features", "Value", "ClassLabel", "Sequence", "List", "LargeList")
        ),
        *(f"datasets.{name}" for name in ("Image", "Audio", "Translation", "Array2D", "Array3D")),
    )
    + _transformers("transformers.PreTrainedConfig")
    + _transformers("transformers.PreTrainedTokenizerBase")
    + _of("transformers.utils.quantization_config.QuantizationConfigMixin", "transformers.*Config")
    + _named(
        "transformers.AutoConfig.from_pretrained",
        "transformers.AutoConfig.for_model",
        "transformers.AutoTokenizer.from_pretrained",
        "transformers.AutoProcessor.from_pretrained",
        "transformers.AutoImageProcessor.from_pretrained",
        "transformers.AutoFeatureExtractor.from_pretrained",
        "transformers.DataCollator*",
        "transformers.DefaultDataCollator",
        "transformers.default_data_collator",
    )
    + _of("peft.PeftConfig", "peft.*")
)
"""What may be named within an argument, beside the parts that the groups themselves take."""

NESTED = (*(offer for part in PARTS.values() for offer in part.offers), *VALUES)
"""All that may be named within an argument."""

PACKAGES = tuple(dict.fromkeys(offer.pattern.partition(".")[0] for offer in NESTED))
"""The packages of which something may be named."""


def group_of(key: str) -> str:
    """The group that the node of this key is a part of itself; empty for a node within an argument."""
    group, _, name = key.partition(".")
    whole = not name and group in NODES
    return group if whole or (group in NAMED and name and "." not in name) else ""


def of(group: str) -> tuple[Offer, ...]:
    """What may be named for a part of the group; without one, within an argument."""
    return PARTS[group].offers if group else NESTED


def fitting(target: str, among: Iterable[Offer]) -> Iterator[Offer]:
    """Those of the offers that the name is spelled as."""
    public = not any(part.startswith("_") for part in target.split("."))
    return (offer for offer in among if public and offer.matches(target))


def is_offered(target: str, made: Any, among: Iterable[Offer]) -> bool:
    """Whether what a name stands for is what one of the offers that it is spelled as has."""
    return any(_is_of(made, offer) for offer in fitting(target, among))


def _is_of(made: Any, offer: Offer) -> bool:
    if not offer.base:
        # A name that is written out is what its package says; one that a pattern matches may be an import.
        return callable(made) and ("*" not in offer.pattern or _defined_below(made, offer.package))
    if offer.pattern.endswith(".from_pretrained"):
        made = getattr(made, "__self__", None)
    homes = [other.package for other in NESTED if other.base == offer.base]
    return (
        isinstance(made, type)
        and any(_below(made.__module__, home) for home in homes)
        and _is_class_of(made, offer.base)
    )


def _defined_below(made: Any, package: str) -> bool:
    module = getattr(made, "__module__", None) or ""
    # What torch has from C++ is of no module of its own.
    in_c = package.startswith("torch.nn.") and inspect.isbuiltin(made) and module in ("torch", "torch._C._nn")
    return in_c or _below(module, package)


def _below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def fits(made: Any, group: str) -> bool:
    """Whether it may make what the group takes; of functions and sources of data the result will show."""
    if isinstance(made, type) and group != "data":
        return _is_class_of(made, PARTS[group].base)
    return isinstance(made, type) or _is_function(made)


def _is_class_of(made: type, base: str) -> bool:
    kind = _locate(base)
    if getattr(kind, "_is_protocol", False):
        return callable(getattr(made, "load", None))
    return issubclass(made, kind)


def is_instance(made: Any, base: str) -> bool:
    """Whether an object is of the class of this name."""
    return isinstance(made, _locate(base))


def bare(made: Any) -> Any:
    """What a name stands for, less the arguments that were bound to it."""
    while isinstance(made, functools.partial):
        made = made.func
    return made


def load_defaults(target: str) -> dict[str, Any]:
    """Arguments that transformers loads with unless others are given."""
    package, *_, name, method = target.split(".") if target.count(".") > 1 else ("", "", "")
    if package != "transformers" or method not in ("from_pretrained", "from_config"):
        return {}
    code = {"trust_remote_code": False} if name.startswith("Auto") else {}
    if method == "from_config":
        return code
    owner = _locate(target.rpartition(".")[0])
    is_model = name.startswith("AutoModel") or issubclass(owner, _locate("transformers.PreTrainedModel"))
    return code | ({"use_safetensors": True} if is_model else {})


def full_name(made: Any) -> str:
    """The module that defines it, and its name there."""
    owner = getattr(made, "__self__", None)
    named = owner if isinstance(owner, type) else made if hasattr(made, "__qualname__") else type(made)
    name = f"{named.__module__}.{named.__qualname__}"
    return f"{name}.{made.__name__}" if named is owner else name


def described(made: Any) -> str:
    """What it is, in words."""
    if isinstance(made, type):
        return "a class"
    if isinstance(made, types.ModuleType):
        return "a module"
    return "a function" if _is_function(made) else f"an object of {full_name(type(made))}"


def _is_function(made: Any) -> bool:
    return isinstance(made, types.FunctionType | types.MethodType | types.BuiltinFunctionType)


def _locate(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    part = r"[a-zA-Z]\w*"
    text = re.escape(pattern).replace(r"\*\*", rf"{part}(?:\.{part})*").replace(r"\*", r"\w*")
    return re.compile(text, re.ASCII)
