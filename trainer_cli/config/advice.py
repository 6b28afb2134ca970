"""What a word of the command line was probably meant for, where it cannot be read as it stands."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from trainer_cli.config.hugging_face import HOMES, KEPT, Home, other_name
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.schema import GROUPS, ORDER, Args

SHORT: dict[str, str] = {
    "lr": "optim.lr",
    "epochs": "args.num_train_epochs",
    "max_epochs": "args.num_train_epochs",
    "num_epochs": "args.num_train_epochs",
    "steps": "args.max_steps",
    "num_train_steps": "args.max_steps",
    "max_train_steps": "args.max_steps",
    "batch_size": "args.per_device_train_batch_size",
    "train_micro_batch_size": "args.per_device_train_batch_size",
    "micro_batch_size": "args.per_device_train_batch_size",
    "grad_accum": "args.gradient_accumulation_steps",
    "accumulate_grad_batches": "args.gradient_accumulation_steps",
    "gradient_clip_val": "args.max_grad_norm",
    "num_workers": "args.dataloader_num_workers",
    "mixed_precision": "args.precision",
    "dtype": "args.precision",
    "output": "args.output_dir",
    "out_dir": "args.output_dir",
    "num_processes": "strategy=ddp strategy.num_processes",
    "num_gpus": "strategy=ddp strategy.num_processes",
    "nproc_per_node": "strategy=ddp strategy.num_processes",
    "gpus": "strategy=ddp strategy.num_processes",
    "devices": "strategy=ddp strategy.num_processes",
    "warmup_steps": "scheduler.num_warmup_steps",
    "optimizer": "optim",
    "lr_scheduler": "scheduler",
    "recipe": "+recipe",
    "config_name": "+recipe",
}
"""What other tools call a field or a group, beside the arguments of transformers."""

FLAGS: dict[str, str] = {
    "config_path": "--config-dir DIR looks for configs/ and recipes/ in DIR",
    "cfg": "trainer-cli show, with the overrides of a run, prints its configuration",
    "info": "trainer-cli show, with the overrides of a run, prints where each value comes from",
    "dry_run": "trainer-cli plan, with the overrides of a run, says what would run",
    "fast_dev_run": "trainer-cli plan --preflight tries each part of a run once",
    "verbose": "args.log_level=debug says more",
    "quiet": "args.log_level=warning says less",
    "resume": "resume=latest goes on where the newest run stopped",
}
"""Flags of other tools that are something else here."""

VERBS: dict[str, str] = {
    "fit": "a run trains: trainer-cli +recipe=NAME, or trainer-cli train +recipe=NAME",
    "finetune": "a run trains: trainer-cli +recipe=NAME, or trainer-cli train +recipe=NAME",
    "start": "a run trains: trainer-cli +recipe=NAME, or trainer-cli train +recipe=NAME",
    "eval": "args.stages=[eval] resume=RUN evaluates a run's model, on other data too",
    "evaluate": "args.stages=[eval] resume=RUN evaluates a run's model, on other data too",
    "validate": "args.stages=[eval] resume=RUN evaluates a run's model, on other data too",
    "test": "args.stages=[eval] resume=RUN evaluates a run's model, on other data too",
    "predict": "args.stages=[predict] model.pretrained=RUN/model data.test_file=FILE predicts",
    "infer": "args.stages=[predict] model.pretrained=RUN/model data.test_file=FILE predicts",
    "inference": "args.stages=[predict] model.pretrained=RUN/model data.test_file=FILE predicts",
    "resume": "resume=latest goes on where the newest run stopped, resume=RUN where RUN did",
    "continue": "resume=latest goes on where the newest run stopped, resume=RUN where RUN did",
    "sweep": "-m sweeps: trainer-cli -m +recipe=NAME optim.lr=1e-5,3e-5",
    "ls": "trainer-cli runs lists the runs, trainer-cli list the recipes and options",
    "recipes": "trainer-cli list recipe lists them",
    "config": "trainer-cli show, with the overrides of a run, prints its configuration",
    "rm": "a run is its directory: remove that; args.save_total_limit keeps fewer checkpoints",
    "delete": "a run is its directory: remove that; args.save_total_limit keeps fewer checkpoints",
    "clean": "a run is its directory: remove that; args.save_total_limit keeps fewer checkpoints",
    "prune": "a run is its directory: remove that; args.save_total_limit keeps fewer checkpoints",
    "tail": "RUN/train.log has what a run said; trainer-cli runs RUN --plot draws it",
    "logs": "RUN/train.log has what a run said; trainer-cli runs RUN --plot draws it",
    "watch": "RUN/train.log has what a run said; trainer-cli runs RUN --plot draws it",
    "plot": "trainer-cli runs RUN --plot draws a run, trainer-cli report RUN writes a page",
    "status": "trainer-cli runs lists the runs and how they stand",
    "init": "it is not there yet; the README shows a project of one's own",
    "new": "it is not there yet; the README shows a project of one's own",
    "export": "it is not there yet; RUN/model loads with from_pretrained",
    "push": "it is not there yet; `hf upload REPOSITORY RUN/model` pushes a model by hand",
    "generate": "it is not there yet; RUN/model loads with from_pretrained",
    "data": "it is not there yet; trainer-cli plan counts rows and tokens",
    "docs": "it is not there yet; trainer-cli --help, trainer-cli show KEY",
    "completion": "it is not there yet; trainer-cli list has the names",
    "cache": "it is not there yet",
}
"""What is typed in the place of a verb, and what does that here."""

_NO_ADAPTERS = "adapters (LoRA and others) are not there yet"
_NO_SHARDING = (
    "it is not there yet: models are not sharded; strategy=ddp holds the whole model in each process"
)
_NO_TASK = "it is not there yet; data=python and a model of your own by _target_ train on anything"

TO_COME: dict[str, str] = {
    "strategy=fsdp": _NO_SHARDING,
    "strategy=deepspeed": _NO_SHARDING,
    "adapter": _NO_ADAPTERS,
    "peft": _NO_ADAPTERS,
    "lora": _NO_ADAPTERS,
    "lora_r": _NO_ADAPTERS,
    "lora_alpha": _NO_ADAPTERS,
    "use_peft": _NO_ADAPTERS,
    "load_in_4bit": "quantized models are not there yet",
    "load_in_8bit": "quantized models are not there yet",
    "quantization": "quantized models are not there yet",
    "freeze": "it is not there yet; optim.groups=[{modules: REGEX, lr: 0}] leaves weights as they are",
    "hub": "nothing is pushed yet; `hf upload REPOSITORY RUN/model` pushes a model by hand",
    "recipe=sft": "it is not there yet; +recipe=lm trains on plain text",
    "recipe=lora": _NO_ADAPTERS,
    "recipe=dpo": "it is not there yet; +recipe=lm trains on plain text",
    **dict.fromkeys(
        [
            *("model=token_classification", "model=seq2seq_lm", "model=question_answering"),
            *("model=multiple_choice", "model=masked_lm", "model=image_classification"),
            *("data=token_classification", "data=seq2seq", "data=chat", "data=question_answering"),
            *("data=multiple_choice", "data=image_classification"),
        ],
        _NO_TASK,
    ),
    "limit": "it is not there yet; args.max_steps ends a run early",
    "max_train_samples": "it is not there yet; args.max_steps ends a run early",
    "max_eval_samples": "it is not there yet",
}
"""Options, groups and fields that are planned, and what there is until then."""

_CURLY = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-", "\u00a0": " "}
_CURLY_NAMES = {'"': "straight quotes", "'": "straight quotes", "-": "a hyphen", " ": "an ordinary blank"}


def straightened(text: str) -> str:
    """The text with what a word processor put in the place of quotes, hyphens and blanks put back."""
    if text[:1] in "–—−" and len(text) > 2:  # two hyphens became one dash
        text = f"--{text[1:]}"
    return "".join(_CURLY.get(char, char) for char in text)


def of_curly(text: str) -> str:
    """What to say of a text with a word processor's quotes, hyphens or blanks; empty where it has none."""
    found = [char for char in text if char in _CURLY]
    return (
        f"it has {found[0]}: with {_CURLY_NAMES[_CURLY[found[0]]]} it is {straightened(text)}"
        if found
        else ""
    )


def of_flag(name: str, value: str | None, flags: Collection[str]) -> str:
    """What is right in the place of a flag that there is not, given as it was typed."""
    bare = name.lstrip("-").replace("-", "_")
    if "." in bare:
        return f"overrides have no dashes: {name.lstrip('-')}={value or 'VALUE'}"
    if bare in GROUPS:
        return f"it is written {bare}={_option(bare, value or 'NAME')}"
    if bare in TO_COME:
        return TO_COME[bare]
    if bare in FLAGS:
        return FLAGS[bare]
    if bare in ("config", "c", "config_file", "f"):
        stem = PurePath(value or "NAME").stem
        return f"a file of your own is a recipe: recipes/{stem}.yaml is chosen by +recipe={stem}"
    if bare in KEPT or bare in HOMES or bare in SHORT:
        return f"it is written {override}" if (override := of_name(bare, value)) else str(HOMES[bare])
    return did_you_mean(name, flags) or "trainer-cli --help lists the flags"


def of_name(name: str, value: str | None) -> str:
    """The override that an argument of transformers or another tool is here; empty where it is none."""
    text = value or "VALUE"
    if name in KEPT:
        return (
            f"args.{name}={value or 'true'}" if value is None and _is_switch(name) else f"args.{name}={text}"
        )
    if name in SHORT:
        return f"{SHORT[name]}={_option(SHORT[name], text)}"
    home = HOMES.get(name, Home())
    if not home.key:
        return ""
    with_option = re.match(r"with ([a-z]+=[a-z0-9_]+)", home.note)
    is_group = home.note.startswith("a group")
    if not with_option and not is_group and ("=" in home.note or home.note.startswith(("the ", "which "))):
        return home.note if re.fullmatch(r"[\w.]+=\S+", home.note) else ""
    return (f"{with_option[1]} " if with_option else "") + f"{home.key}={_option(home.key, text)}"


def _is_switch(name: str) -> bool:
    return "bool" in str(Args.__annotations__[name])


def _option(group: str, name: str) -> str:
    """The option that a name of transformers' stands for."""
    found = re.match(rf"it is {group}=(\S+) here", other_name(group, name)) if group in GROUPS else None
    return found[1].rstrip(":") if found else name


def of_word(word: str, following: str, verbs: Collection[str]) -> str:
    """What is right in the place of a word that is neither a verb nor an override.

    `following` is the word after it, `verbs` are those that there are.
    """
    if curly := of_curly(word):
        return curly
    if not word.strip("+ "):
        return "a field is set by KEY=VALUE"
    if word.startswith("{"):
        return "each field is a word of its own: args.seed=1 optim.lr=1e-4"
    if word.startswith("="):
        return "no blanks around =: KEY=VALUE"
    if found := re.match(r"([\w./]+):\s*(.*)", word):
        return f"with = in the place of the colon: {found[1]}={found[2] or following or 'VALUE'}"
    if word in VERBS:
        return VERBS[word]
    if PurePath(word).suffix in (".py", ".json"):
        return "a run takes no script and no file: it is composed by +recipe=NAME and KEY=VALUE"
    if "/" in word or PurePath(word).suffix in (".yaml", ".yml"):
        return of_recipe(word)
    section = word.lstrip("+").partition(".")[0]
    if section in ORDER:
        known = [f"args.{field}" for field in Args.__annotations__]
        near = did_you_mean(word, known) if section == "args" and word not in known else ""
        value = following.lstrip("=") or "VALUE"
        return near or f"a field is set by {word}={value}, and shown by trainer-cli show {word}"
    if word in KEPT or word in HOMES or word in SHORT:
        return (
            f"it is written {override}"
            if (override := of_name(word, following or None))
            else str(HOMES[word])
        )
    return did_you_mean(word, verbs) or f"a recipe is chosen by +recipe={word}, a field set by KEY=VALUE"


def of_recipe(path: str) -> str:
    """What is right in the place of a file's path, for a recipe."""
    parts = PurePath(path).with_suffix("").parts if path.endswith((".yaml", ".yml")) else PurePath(path).parts
    parts = parts[parts.index("recipes") + 1 :] if "recipes" in parts else parts[-1:]
    return f"a recipe is named without folder and ending: +recipe={'/'.join(parts)}"


def of_override(text: str) -> str:
    """What is right in the place of an override that Hydra's grammar cannot read."""
    if curly := of_curly(text):
        return curly
    if text.startswith("~") and "/" in text:
        return "~KEY takes a key away; a path is a value: KEY=$HOME/..."
    if "=" not in text and not text.startswith("~"):
        return f"write {text.lstrip('+')}=VALUE to set it, or ~{text.lstrip('+')} to remove it"
    key, _, value = text.partition("=")
    name = key.lstrip("+~")
    if name != name.strip() or value != value.strip():
        return f"no blanks around =: {key.strip()}={value.strip()}"
    if found := re.match(r"([\w.]+)(\[|\.)\d+", name):
        return f"one item of a list cannot be set, but all of it: {found[1]}=[…]; trainer-cli show {found[1]}"
    if not re.fullmatch(r"[\w./@-]+", name):
        return "a key is names with dots, as optim.lr is"
    if value.startswith("="):
        return f"one = is enough: {key}={value.lstrip('=')}"
    if value.endswith(","):
        bare = value.rstrip(",")
        return f"without the comma at its end: {key}={bare}; -m {key}={bare},… sweeps over several"
    closing = {"[": "]", "{": "}", "(": ")"}.get(value[:1])
    if closing and value.count(value[0]) > value.count(closing):
        return f"a bracket is not closed: {key}={value}{closing}"
    if value[:1] in ("'", '"') and (len(value) == 1 or value[-1] != value[0]):
        return f"a quote is not closed; twice for the shell: \"{key}='{value[1:]}'\""
    if value.startswith("~/"):  # in quotes it would be a folder of that name
        return f"the shell writes out ~ at the start of a word alone: {key}=$HOME{value[1:]}"
    quoted = value.replace("'", "\\'")
    if _is_readable(f"{key}='{quoted}'"):
        return f"put a value with special characters in quotes, twice for the shell: \"{key}='{quoted}'\""
    return "KEY=VALUE, where text with special characters stands in quotes"


def _is_readable(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def of_option(group: str, name: str, known: Sequence[str]) -> str:
    """What is right in the place of an option that a group has not; empty where nothing is known."""
    if f"{group}={name}" in TO_COME:
        return TO_COME[f"{group}={name}"]
    stem = PurePath(name).with_suffix("").name if name.endswith((".yaml", ".yml")) or "/" in name else name
    if stem in known and stem != name:
        return f"an option is named without folder and ending: {group}={stem}"
    if re.fullmatch(r"\w+(\.\w+)+", name) and group in GROUPS and stem == name:
        return f"a class of your own is named by {group}._target_={name}"
    return other_name(group, name) or did_you_mean(name, known, prefix=f"{group}=")
