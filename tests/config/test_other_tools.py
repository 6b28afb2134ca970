"""Files of other tools, none of which is taken for TrainingArguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer_cli import cli
from trainer_cli.config.hugging_face import ARGUMENTS, OLD, SCRIPTS
from trainer_cli.config.other_tools import refuse_other_tools


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


OTHER_TOOLS = {
    "LLaMA-Factory": """
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
dataset: identity,alpaca_en_demo
template: llama3
cutoff_len: 1024
output_dir: saves/llama3-8b/lora/sft
per_device_train_batch_size: 1
learning_rate: 1.0e-4
""",
    "axolotl": """
base_model: NousResearch/Llama-3.2-1B
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
adapter: lora
lora_r: 16
sequence_len: 2048
micro_batch_size: 2
num_epochs: 1
optimizer: adamw_8bit
learning_rate: 0.0002
""",
    "TRL": """
dataset_text_field: text
packing: true
assistant_only_loss: false
max_length: 1024
learning_rate: 2.0e-5
""",
    "DeepSpeed": '{"zero_optimization": {"stage": 2}, "gradient_clipping": 1.0, "train_batch_size": "auto"}',
    "Lightning": "seed_everything: 1\ntrainer: {max_epochs: 3}\nmodel: {lr: 0.1}\ndata: {batch_size: 8}\n",
}


@pytest.mark.parametrize(("tool", "text"), OTHER_TOOLS.items(), ids=OTHER_TOOLS)
def test_a_configuration_of_another_tool_is_not_taken_for_arguments(
    capsys: pytest.CaptureFixture[str], tool: str, text: str
) -> None:
    Path("theirs.yaml").write_text(text)
    assert cli.main(["import-args", "theirs.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: theirs.yaml is a configuration of {tool} (")
    assert "import-args takes TrainingArguments" in err


def test_accelerate_s_configuration_is_answered_with_the_words_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nmixed_precision: bf16\n"
        "num_machines: 1\nnum_processes: 4\nmain_training_function: main\n"
    )
    assert cli.main(["import-args", "default_config.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "here it is strategy=ddp strategy.num_processes=4 args.precision=bf16" in err


def test_a_recipe_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("defaults:\n  - override /optim: sgd\nargs:\n  max_steps: 3\n")
    assert cli.main(["import-args", "mine.yaml"]) == 2
    assert "mine.yaml is a recipe already\n  trainer-cli +recipe=mine" in capsys.readouterr().err


def test_no_file_of_arguments_is_taken_for_another_tool_s() -> None:
    refuse_other_tools({**dict.fromkeys(ARGUMENTS), **dict.fromkeys(OLD), **dict.fromkeys(SCRIPTS)}, Path())
