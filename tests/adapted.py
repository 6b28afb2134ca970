"""Models that PEFT wraps, for the tests that have it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

LLAMA = {
    "vocab_size": 258,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 256,
    "pad_token_id": 257,
}


def base(directory: Path) -> Path:
    """A small causal model in a directory, with a token for each byte."""
    import transformers

    from trainer_cli.hub.pretrained import byte_tokenizer

    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)
    return directory


def lora(pretrained: str, fields: dict[str, Any] | None = None) -> Any:
    """A causal model with an adapter around it, as a user's own code makes one."""
    import peft
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(pretrained)
    config = peft.LoraConfig(task_type="CAUSAL_LM", **{"r": 2, "lora_dropout": 0.1, **(fields or {})})
    return wrapped(model, config)


def wrapped(model: Any, config: Any) -> Any:
    """The model in PEFT, less what it says about transformers."""
    import peft

    with warnings.catch_warnings(action="ignore"):
        return peft.get_peft_model(model, config)
