"""What imports leaves out is there as soon as it is used; each case in a process of its own."""

import subprocess
import sys

import pytest

START = "from trainer_cli.imports import *; defer_compiler(); trim_transformers(); import sys, torch\n"

TRAIN = """
from transformers import BertConfig, BertForSequenceClassification as Bert
size = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
config = BertConfig(**size)
model = Bert(config)
optimizer = torch.optim.AdamW(model.parameters())
def step(model):
    model(input_ids=torch.tensor([[1, 2]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step(); optimizer.zero_grad()
step(model)
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", START + code], check=True, timeout=120)


def test_a_training_step_needs_none_of_it() -> None:
    run(
        TRAIN
        + "assert is_deferred()\n"
        + "left = {'sympy', 'scipy.optimize', 'torch.distributed.tensor'} & set(sys.modules)\nassert not left, left"
    )


def test_a_model_is_saved_and_loaded_as_ever() -> None:
    run(
        TRAIN + "import tempfile; folder = tempfile.mkdtemp(); model.save_pretrained(folder)\n"
        "again = Bert.from_pretrained(folder).state_dict(); assert is_deferred()\n"
        "assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())"
    )


@pytest.mark.parametrize(
    "use",
    [
        "import torch._dynamo.utils",
        "from torch._dynamo.backends.registry import list_backends",
        "from torch._dynamo import config",
        "torch._dynamo.reset()",
        "torch.compiler.reset()",
    ],
)
def test_any_use_of_the_compiler_executes_it_once(use: str) -> None:
    run(
        f"{use}\nassert not is_deferred()\n"
        "names = [name for name in sys.modules if name.startswith('torch._dynamo.')]\n"
        "for name in names:\n"
        "    parent, _, child = name.rpartition('.')\n"
        "    shown = getattr(sys.modules[parent], child)\n"
        "    assert shown is sys.modules[name] or not isinstance(shown, type(sys)), name\n"
        "    assert type(sys.modules[name].__spec__.loader).__name__ != 'CompilerParts', name\n"
    )


def test_compiling_works_afterwards_and_keeps_the_marks() -> None:
    run(
        TRAIN
        + "@torch.compiler.disable\ndef apart(x): return x + 1\n"
        + "assert apart(1) == 2 and is_deferred()\n"
        + "@torch._dynamo.assume_constant_result\ndef constant(): return 2\n"
        + "compiled = torch.compile(model, backend='eager'); step(compiled); assert not is_deferred()\n"
        + "assert constant._dynamo_marked_constant\n"
        + "seen = []\n"
        + "def backend(graph, inputs): seen.append(graph); return graph.forward\n"
        + "out = torch.compile(lambda x: apart(x * 2) * 3, backend=backend)(torch.ones(2))\n"
        + "assert out.tolist() == [9, 9] and len(seen) == 2, (out, len(seen))\n"
    )
