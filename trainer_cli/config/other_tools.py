"""Configurations of other tools, recognised by their keys: none of them is taken for TrainingArguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError

_NO_SFT = "chat data, packing and adapters are not there yet"
_ARGUMENTS = "import-args takes TrainingArguments, as a script writes them with args.to_json_string()"


@dataclass(frozen=True)
class Tool:
    """A tool, the keys that tell its files, how many of them do, and what stands against taking one."""

    name: str
    keys: str
    enough: int
    why: str


TOOLS = (
    Tool(
        "axolotl",
        "base_model adapter micro_batch_size num_epochs sequence_len datasets val_set_size sample_packing"
        " load_in_4bit load_in_8bit lora_r lora_target_linear lr_scheduler dataset_prepared_path",
        3,
        _NO_SFT,
    ),
    Tool(
        "LLaMA-Factory",
        "stage finetuning_type template dataset dataset_dir cutoff_len lora_rank lora_target max_samples"
        " overwrite_cache preprocessing_num_workers plot_loss quantization_bit",
        3,
        _NO_SFT,
    ),
    Tool(
        "TRL",
        "assistant_only_loss completion_only_loss dataset_text_field packing packing_strategy num_generations"
        " padding_free eval_packing dataset_num_proc max_prompt_length max_completion_length",
        3,
        _NO_SFT,
    ),
    Tool(
        "accelerate",
        "compute_environment distributed_type num_machines machine_rank mixed_precision num_processes"
        " main_process_ip main_process_port rdzv_backend same_network downcast_bf16 main_training_function",
        3,
        "it says where a script runs, and nothing of its training",
    ),
    Tool(
        "DeepSpeed",
        "zero_optimization train_micro_batch_size_per_gpu gradient_clipping zero_allow_untested_optimizer"
        " steps_per_print wall_clock_breakdown",
        2,
        "models are not sharded yet",
    ),
    Tool("Lightning", "trainer seed_everything ckpt_path model data", 3, ""),
    Tool("trainer-cli", "defaults args optim scheduler checkpoint strategy", 2, ""),
)


def refuse_other_tools(values: Mapping[str, Any], path: Path) -> None:
    """Raise UserError for a file that another tool, or this one, is configured by."""
    for tool in TOOLS:
        found = [name for name in values if name in tool.keys.split()]
        if len(found) < tool.enough:
            continue
        if tool.name == "trainer-cli":
            raise UserError(f"{path} is a recipe already", right=f"trainer-cli +recipe={path.stem}")
        shown = ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
        what = f"{path} is a configuration of {tool.name} ({shown})"
        right = "\n".join(filter(None, [tool.why, *_words(tool, values), _ARGUMENTS]))
        raise UserError(what, right=right)


_PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}


def _words(tool: Tool, values: Mapping[str, Any]) -> list[str]:
    """What of accelerate's file has words here."""
    if tool.name != "accelerate":
        return []
    words = []
    processes, precision = values.get("num_processes"), str(values.get("mixed_precision", "")).lower()
    if isinstance(processes, int) and processes > 1:
        words += ["strategy=ddp", f"strategy.num_processes={processes}"]
    if precision == "false":  # YAML's own reading of no
        precision = "no"
    if precision in _PRECISIONS:
        words.append(f"args.precision={_PRECISIONS[precision]}")
    return [f"here it is {' '.join(words)}"] if words else []
