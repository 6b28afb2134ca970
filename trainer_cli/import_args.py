"""`trainer-cli import-args`: the Hugging Face Trainer's arguments as a recipe, and what has no equal here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trainer_cli.config import training_arguments
from trainer_cli.config.compose import Composition, compose, escaped
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.hugging_face import (
    ARGUMENTS,
    HOMES,
    KEPT,
    OLD,
    OPTIMIZERS,
    SCHEDULERS,
    SCRIPTS,
    TRACKERS,
)
from trainer_cli.config.layers import default_options
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.other_tools import refuse_other_tools
from trainer_cli.config.printable import say
from trainer_cli.config.schema import ORDER
from trainer_cli.config.signatures import NoTarget, Resolver

DEFAULT = "transformers' default"

_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "warmup_ratio": "warmup_steps",
    "include_tokens_per_second": "include_num_input_tokens_seen",
    "torchdynamo": "torch_compile_backend",
}
_IMPLIED: dict[str, tuple[str, Any]] = {
    "group_by_length": ("train_sampling_strategy", "group_by_length"),
    "adafactor": ("optim", "adafactor"),
    "evaluate_during_training": ("eval_strategy", "steps"),
}
_METRICS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "balanced_accuracy": "BalancedAccuracy",
    "matthews_correlation": "MatthewsCorrelation",
    "matthews": "MatthewsCorrelation",
    "mcc": "MatthewsCorrelation",
    "cohen_kappa": "CohenKappa",
    "roc_auc": "RocAuc",
    "average_precision": "AveragePrecision",
    "mse": "MeanSquaredError",
    "mean_squared_error": "MeanSquaredError",
    "rmse": "RootMeanSquaredError",
    "root_mean_squared_error": "RootMeanSquaredError",
    "mae": "MeanAbsoluteError",
    "mean_absolute_error": "MeanAbsoluteError",
    "r2": "R2",
    "pearson": "Pearson",
    "pearsonr": "Pearson",
    "spearman": "Spearman",
    "spearmanr": "Spearman",
    "perplexity": "Perplexity",
}
"""The classes of trainer_cli.metrics by the names that scripts give such scores."""
_OF_THE_DATA = ("loss", "accuracy")
"""Scores of every classification."""
_EMBEDDED = ("sst2", "stsb")
"""Tasks of GLUE that there is a stand-in for without a network."""
_NEEDED = {
    "task_name": ("data", "glue"),
    "early_stopping_patience": ("callbacks", "early_stopping"),
    "early_stopping_threshold": ("callbacks", "early_stopping"),
    "nproc_per_node": ("strategy", "ddp"),
}
"""Options without which an argument's key is not there."""

_DDP = ("find_unused_parameters", "bucket_cap_mb", "broadcast_buffers", "static_graph", "backend", "timeout")
_NOT_CLIPPED = ("lomo", "adalomo")
_PASSED: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.0},
    "adamw_torch_4bit": {"block_size": 256},
    "galore_adamw": {"eps": 1e-6},
    "galore_adamw_layerwise": {"eps": 1e-6},
}
"""What an optimizer has there where `optim_args` does not say it, and the option here has not."""


@dataclass
class Draft:
    """A recipe in the making: what it chooses and sets, and what is left to say.

    `values` are all of transformers' arguments, `changed` those that are not its defaults; `keys` has the
    value of each key and the arguments it came from.
    """

    changed: dict[str, Any]
    values: dict[str, Any]
    choices: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[Any, tuple[str, ...]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, key: str, value: Any, *names: str) -> None:
        """Set a key to what these arguments say."""
        self.keys[key] = value, names

    def leave(self, name: str, why: str = "") -> None:
        """Note that an argument that was given has no equal here."""
        if name in self.changed:
            self.missing[name] = why or str(HOMES[name])

    def is_used(self, name: str) -> bool:
        """Whether the argument has led to something."""
        return name in self.missing or any(name in names for _, names in self.keys.values())


@dataclass(frozen=True)
class Imported:
    """A recipe, and what the user should know of it."""

    recipe: str
    missing: dict[str, str]
    differs: dict[str, str]
    problems: list[Problem]


def print_recipe(file: str, config_dirs: Sequence[str]) -> int:
    """The recipe on standard output, what has no equal on standard error.

    The exit code is 2 where the recipe is refused, or leaves out what nobody knows.
    """
    given = training_arguments.read(Path(file))
    refuse_other_tools(given, Path(file))
    imported = import_arguments(given, Path(file), config_dirs)
    problems = [*imported.problems, *refused(imported.recipe, config_dirs)]
    print(imported.recipe, end="")
    say("\n".join(remarks(imported, problems)))
    return 2 if problems else 0


def import_arguments(
    given: Mapping[str, Any], file: Path, config_dirs: Sequence[str | Path] = ()
) -> Imported:
    """The recipe that trains as transformers does with these arguments."""
    changed = settle(training_arguments.changed(given))
    draft = Draft(changed, {name: argument.default for name, argument in ARGUMENTS.items()} | changed)
    choose(draft)
    base = compose(
        [f"{group}={option}" for group, option in draft.choices.items()],
        config_dirs=config_dirs,
        strict=False,
    )
    for part in (put_args, put_optimizer, put_schedule, put_processes, put_rest):
        part(draft, base)
    for name in [name for name in changed if not draft.is_used(name)]:
        if name in HOMES:
            draft.leave(name)
        elif changed[name] not in (None, False, "", [], {}):  # else it asks for nothing
            draft.problems.append(Problem(f"{name}: {unknown(name)}", right="it is left out of the recipe"))
    differs = {
        name: argument.differs
        for name, argument in ARGUMENTS.items()
        if argument.differs and (name in changed or name in ("seed", "logging_nan_inf_filter"))
    }
    return Imported(render(draft, base, file), draft.missing, differs, draft.problems)


def settle(changed: dict[str, Any]) -> dict[str, Any]:
    """The arguments with older names as today's, where today's are not given too."""
    settled = dict(changed)
    for old, new in _RENAMED.items():
        if old in settled:
            settled.setdefault(new, settled.pop(old))
    for old, (new, value) in _IMPLIED.items():
        if settled.pop(old, False):
            settled.setdefault(new, value)
    if settled.get("include_num_input_tokens_seen") is True:
        settled["include_num_input_tokens_seen"] = "all"
    for old, new in (
        ("gradient_checkpointing", "activation_checkpointing"),
        ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
    ):
        if old in settled:
            settled.setdefault(new, settled.pop(old))
            settled.pop(old, None)
    return settled


def choose(draft: Draft) -> None:
    """The options of the groups."""
    values, changed = draft.values, draft.changed
    optim, schedule = str(values["optim"]), str(values["lr_scheduler_type"])
    draft.choices["optim"] = OPTIMIZERS[optim].key or "adamw" if optim in OPTIMIZERS else optim
    draft.choices["scheduler"] = "linear" if schedule in SCHEDULERS else schedule
    if optim.startswith("schedule_free"):
        draft.choices["scheduler"] = "constant"
    if values["label_smoothing_factor"]:
        draft.choices["loss"] = "cross_entropy"
    if trackers := list(chosen_trackers(draft)):
        draft.choices["tracker"] = trackers[0] if len(trackers) == 1 else f"[{','.join(trackers)}]"
    draft.choices |= dict(choice for name, choice in _NEEDED.items() if name in changed)


def chosen_trackers(draft: Draft) -> Iterator[str]:
    """The options of `tracker` for `report_to`."""
    names = draft.values["report_to"]
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            draft.leave("report_to", f"{name} is no tracker's name")
        elif name == "all":
            draft.leave("report_to", "all: the recipe names no tracker, add tracker=tensorboard or others")
        elif name in TRACKERS and not TRACKERS[name].key:
            draft.leave("report_to", f"{name}: {TRACKERS[name].note}")
        elif name != "none":
            yield TRACKERS[name].key if name in TRACKERS else name


def put_args(draft: Draft, _: Composition) -> None:
    """What keeps its name in `args`, and what became another field there."""
    values = draft.values
    for name in (name for name in ARGUMENTS if name in KEPT):
        draft.put(f"args.{name}", values[name], name)
    for name, nothing, default in (("save_total_limit", 0, None), ("max_steps", 0, -1)):
        if isinstance(values[name], int) and values[name] <= nothing:
            draft.put(f"args.{name}", default, name)
    draft.put("args.max_grad_norm", values["max_grad_norm"] or 0.0, "max_grad_norm")
    draft.put("args.eval_steps", values["eval_steps"] or None, "eval_steps")
    precision = "bf16" if values["bf16"] else "fp16" if values["fp16"] else "fp32"
    draft.put("args.precision", precision, "bf16", "fp16")
    recompute = ("activation_checkpointing", "gradient_checkpointing")
    draft.put("args.gradient_checkpointing", bool(values[recompute[0]]), *recompute)
    parts = ("torch_compile", "torch_compile_backend", "torch_compile_mode")
    draft.put("args.torch_compile", any(values[name] for name in parts), *parts)
    for name in ("log_level", "log_level_replica"):
        draft.put(f"args.{name}", "debug" if values[name] == "detail" else values[name], name)
    leave_out(draft, "output_dir", values["output_dir"] is None, "")
    without_effect(draft)
    stages = [stage for stage in ("train", "eval", "predict") if values[f"do_{stage}"]]
    if not stages:
        stages = ["train"] if values["eval_strategy"] == "no" else ["train", "eval"]
    draft.put("args.stages", stages, *(f"do_{stage}" for stage in stages))


def without_effect(draft: Draft) -> None:
    """Leave out what transformers overlooks where something else is off, and what is refused here."""
    values = draft.values
    for name in ("dataloader_multiprocessing_context", "dataloader_prefetch_factor"):
        leave_out(draft, name, not values["dataloader_num_workers"], "there are no workers")
    scored = values["eval_strategy"] != "no"
    for name in ("metric_for_best_model", "greater_is_better"):
        idle = not scored and not values["load_best_model_at_end"]
        leave_out(draft, name, idle, "there are no evaluations while training")
    leave_out(
        draft,
        "train_sampling_strategy",
        values["train_sampling_strategy"] == "batch_rebalance",
        "batch_rebalance is not there; the recipe takes random, and group_by_length pads as little",
    )
    optim = draft.choices["optim"]
    if optim in _NOT_CLIPPED or optim.endswith("_layerwise"):
        draft.put("args.max_grad_norm", 0.0, "optim")
        draft.leave("max_grad_norm", f"{optim} frees each gradient before there is a norm to clip by")


def leave_out(draft: Draft, name: str, condition: bool, why: str) -> None:
    """Drop a field of `args`, and say why if it was given."""
    if condition:
        del draft.keys[f"args.{name}"]
        draft.leave(name, why)


def put_optimizer(draft: Draft, base: Composition) -> None:
    """The optimizer's parameters, as transformers passes them to it."""
    values, optim = draft.values, str(draft.values["optim"])
    known = parameters(base, "optim")
    if optim in OPTIMIZERS and not OPTIMIZERS[optim].key:
        draft.leave("optim", f"{optim}: {OPTIMIZERS[optim].note}")
    elif "optim" in draft.changed:
        draft.put("optim", optim, "optim")
    own = _PASSED.get(optim, {}) | training_arguments.mapping(values["optim_args"] or {})
    draft.put("optim.lr", values["learning_rate"], "learning_rate")
    put_known(draft, known, "weight_decay", values["weight_decay"], "weight_decay")
    betas = [values["adam_beta1"], values["adam_beta2"]]
    if "ademamix" in optim:
        betas = [own.pop(f"beta{n}", beta) for n, beta in enumerate((*betas, 0.9999), start=1)]
    passes_adam = re.search("adamw|ademamix|radam", optim) and not re.search("galore|grok", optim)
    if passes_adam or "lion" in optim:
        put_known(draft, known, "betas", betas, "adam_beta1", "adam_beta2")
    if passes_adam:
        put_known(draft, known, "eps", values["adam_epsilon"], "adam_epsilon")
    for name in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if not draft.is_used(name):
            draft.leave(name, f"transformers does not pass it to {optim} either")
    put_known(draft, known, "target_modules", values["optim_target_modules"], "optim_target_modules")
    warmup = values["warmup_steps"]
    if optim.startswith("schedule_free") and isinstance(warmup, int | float) and warmup >= 1:
        put_known(draft, known, "warmup_steps", int(warmup), "warmup_steps")
    for name, value in own.items():
        put_known(draft, known, name, value, "optim_args")


def put_known(draft: Draft, known: set[str], name: str, value: Any, *names: str) -> None:
    """Set a parameter of the optimizer, or say that it has none of this name."""
    if name in known and value is not None:
        draft.put(f"optim.{name}", value, *names)
    else:
        for argument in names:
            draft.leave(argument, f"optim={draft.choices['optim']} has no {name}")


def put_schedule(draft: Draft, base: Composition) -> None:
    """The schedule's parameters."""
    values, name = draft.values, str(draft.values["lr_scheduler_type"])
    known, chosen = parameters(base, "scheduler"), draft.choices["scheduler"]
    if name in SCHEDULERS:
        draft.leave("lr_scheduler_type", f"{name}: {SCHEDULERS[name].note}; the recipe takes linear")
    elif chosen != name:
        draft.leave("lr_scheduler_type", f"{values['optim']} needs no schedule; the recipe takes constant")
    elif "lr_scheduler_type" in draft.changed:
        draft.put("scheduler", name, "lr_scheduler_type")
    if chosen == "constant" or "num_warmup_steps" not in known:
        if not draft.is_used("warmup_steps"):
            draft.leave("warmup_steps", f"{chosen} has no warm-up in transformers; constant_with_warmup has")
    else:
        draft.put("scheduler.num_warmup_steps", values["warmup_steps"], "warmup_steps")
    own = training_arguments.mapping(values["lr_scheduler_kwargs"] or {})
    for key, value in own.items():
        if key in known:
            draft.put(f"scheduler.{key}", value, "lr_scheduler_kwargs")
        else:
            draft.leave("lr_scheduler_kwargs", f"scheduler={chosen} has no {key}")


def put_processes(draft: Draft, _: Composition) -> None:
    """How several processes are joined, where the arguments say that there are several."""
    values = draft.values
    for name in _DDP:
        value = values[f"ddp_{name}"]
        if draft.choices.get("strategy") != "ddp":
            draft.leave(f"ddp_{name}", f"of several processes: strategy=ddp strategy.{name}={in_line(value)}")
        elif name == "backend" and value not in (None, "gloo", "nccl"):
            draft.leave("ddp_backend", f"{value} is not there; the recipe takes nccl on GPUs, gloo on CPUs")
        elif value is not None:
            draft.put(f"strategy.{name}", value, f"ddp_{name}")


def put_rest(draft: Draft, _: Composition) -> None:
    """What the other groups have, and the words of the example scripts."""
    values = draft.values
    if values["label_smoothing_factor"]:
        draft.put("loss.label_smoothing", values["label_smoothing_factor"], "label_smoothing_factor")
    if values["include_num_input_tokens_seen"] != "no":
        target = "trainer_cli.callbacks.Throughput"
        draft.put("callbacks.throughput._target_", target, "include_num_input_tokens_seen")
    if not values["skip_memory_metrics"]:
        draft.put("callbacks.memory._target_", "trainer_cli.callbacks.Memory", "skip_memory_metrics")
    if values["use_cache"]:
        draft.put("model.config.use_cache", True, "use_cache")
    if values["disable_tqdm"]:
        draft.put("callbacks.progress", None, "disable_tqdm")
    name = re.sub(r"[^\w.=-]+", "-", str(values["run_name"] or "")).strip("-.")
    if name:
        draft.put("run.name", name, "run_name")
    options = values["activation_checkpointing_kwargs"]
    if options is not None:
        named = ", ".join(training_arguments.mapping(options))
        why = f"{named}: layers are recomputed one by one, never reentrantly and never offloaded"
        draft.leave("activation_checkpointing_kwargs", why)
    if "tracker" in draft.choices:
        draft.put("tracker", draft.choices["tracker"], "report_to")
    if "trackio" in draft.choices.get("tracker", ""):
        for name in ("project", "trackio_space_id", "trackio_bucket_id"):
            draft.put(HOMES[name].key, values[name], name)
    for script, home in SCRIPTS.items():
        if script in draft.changed:
            draft.put(home.key, draft.changed[script], script)
    if draft.changed.get("task_name", _EMBEDDED[0]) not in _EMBEDDED:
        draft.put("data.source", "hub", "task_name")
    put_metric(draft)


def put_metric(draft: Draft) -> None:
    """The metric that the best model is chosen by, where the data does not bring it."""
    if "args.metric_for_best_model" not in draft.keys:
        return
    wanted = str(draft.values["metric_for_best_model"] or "loss").removeprefix("eval_")
    if wanted in _METRICS:
        target = f"trainer_cli.metrics.{_METRICS[wanted]}"
        draft.put(f"metrics.{wanted}._target_", target, "metric_for_best_model")
    elif wanted not in _OF_THE_DATA:
        draft.problems.append(
            Problem(
                f"metric_for_best_model={wanted}: there is no metric of this name",
                right=f"metrics.{wanted}._target_=MODULE.CLASS names one of your own",
            )
        )


def parameters(base: Composition, group: str) -> set[str]:
    """The keys that the group's option has, and what else its target takes."""
    node = base.config[group]
    try:
        signature = Resolver(base.folders).signature(node["_target_"])
    except NoTarget:
        signature = None
    return {*node, *(parameter.name for parameter in signature.parameters)} if signature else set(node)


def unknown(name: str) -> str:
    """What to say of a name that no version of transformers has."""
    hint = did_you_mean(name, [*ARGUMENTS, *OLD, *SCRIPTS])
    return f"transformers has no such argument; {hint}" if hint else "transformers has no such argument"


def render(draft: Draft, base: Composition, file: Path) -> str:
    """The recipe's text: what differs from the options' own values, and whose default it is."""
    usual = default_options()
    lines = [
        f"# trainer-cli +recipe={' '.join([file.stem, *left_to_say(draft)])}",
        f"# trains as transformers' Trainer does with the arguments of {file.name}",
        "# @package _global_",
        "defaults:",
        *(
            f"  - override /{group}: {option}"
            for group, option in draft.choices.items()
            if option != usual.get(group)
        ),
        "  - _self_",
    ]
    for section in ORDER:
        tree: dict[str, Any] = {}
        for key, (value, names) in draft.keys.items():
            path = key.split(".")
            if path[0] == section and len(path) > 1 and value_at(base.config, path) != (True, value):
                note = "" if not names or any(n in draft.changed for n in names) else f"  # {DEFAULT}"
                node = tree
                for part in path[1:-1]:
                    node = node.setdefault(part, {})
                node[path[-1]] = in_line(value) + note
        if tree:
            lines += ["", f"{section}:", *indented(tree, "  ")]
    return "\n".join(lines) + "\n"


def left_to_say(draft: Draft) -> Iterator[str]:
    """What a command has to add to the recipe: the files and the model that it does not name."""
    stages, _ = draft.keys["args.stages"]
    scored = "eval" in stages or draft.values["eval_strategy"] != "no"
    files = {"train": "train" in stages, "eval": scored, "test": "predict" in stages}
    if draft.choices.get("data") != "glue":
        yield from (
            f"data.{name}_file=FILE"
            for name, read in files.items()
            if read and f"data.{name}_file" not in draft.keys
        )
    if "model.pretrained" not in draft.keys:
        yield "model.pretrained=NAME"


def indented(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    """The lines of a mapping whose leaves are YAML already."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from indented(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value}"


def in_line(value: Any) -> str:
    """The value as YAML has it, in one line; text is meant literally."""
    text: str = yaml.safe_dump(escaped(value), default_flow_style=True, width=10_000)
    return text.removesuffix("\n...\n").strip()


def value_at(config: Mapping[str, Any], path: Sequence[str]) -> tuple[bool, Any]:
    """Whether there is such a key, and its value."""
    node: Any = config
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return False, None
        node = node[part]
    return True, node


def refused(recipe: str, config_dirs: Sequence[str | Path]) -> tuple[Problem, ...]:
    """What this program has against the recipe."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipes" / f"{Path(folder).name}.yaml"
        path.parent.mkdir()
        path.write_text(recipe, encoding="utf-8")
        try:
            compose([f"recipe={path.stem}"], config_dirs=[*config_dirs, folder])
        except UserError as error:
            return error.problems
    return ()


def remarks(imported: Imported, problems: Sequence[Problem]) -> Iterator[str]:
    """The lines on what has no equal, what differs, and what is refused."""
    for title, notes in (
        ("has no equal here:", imported.missing),
        ("differs on purpose:", imported.differs),
    ):
        if notes:
            yield title
            width = max(map(len, notes))
            yield from (f"  {name:<{width}}  {note}" for name, note in notes.items())
            yield ""
    if problems:
        yield "to be changed before it runs:"
        yield from (f"  {Problem(p.what, right=p.right).block()}" for p in problems)
