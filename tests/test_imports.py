"""Transformers, trimmed, still trains, saves and loads; each case in a process of its own."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

USE = """
import sys, tempfile, torch
from trainer_cli.imports import trim_transformers
trim_transformers()
from transformers import AutoModelForSequenceClassification, BertConfig
size = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
model = AutoModelForSequenceClassification.from_config(BertConfig(**size))
model(input_ids=torch.tensor([[1, 2]]), labels=torch.tensor([1])).loss.backward()
folder = tempfile.mkdtemp()
model.save_pretrained(folder)
again = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
"""


def run(code: str, **environment: str) -> None:
    command = [sys.executable, "-c", USE + code]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, **environment})


def test_a_single_process_leaves_scipy_out() -> None:
    run("assert 'scipy.optimize' not in sys.modules")


def test_a_process_of_a_launcher_has_all() -> None:
    run("assert 'scipy.optimize' in sys.modules and 'torch.distributed.tensor' in sys.modules", RANK="0")


def test_every_name_of_transformers_is_there() -> None:
    run(
        "import transformers\n"
        "assert transformers.LlamaForCausalLM.__name__ == 'LlamaForCausalLM'\n"
        "assert transformers.models.gpt2.GPT2Config().model_type == 'gpt2'"
    )


def test_metrics_still_have_scipy() -> None:
    run("from scipy.optimize import linear_sum_assignment; assert linear_sum_assignment([[1.0]])[0] == [0]")
