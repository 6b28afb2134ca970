"""Whether a model takes the rows of its data, asked before the first step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import adapted
import pytest
import torch
import transformers

from trainer_cli import runner
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.hub.pretrained import byte_tokenizer

GPT2 = {"vocab_size": 258, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
END = {"bos_token_id": 256, "eos_token_id": 256}
SHORT, LONG = "a few words", "and some more words than these"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Models of 16 positions whose tokenizers have no token to pad with, and a BART."""
    directory = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    made = {
        "gpt2": transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, **END)),
        "gptj": transformers.GPTJForCausalLM(transformers.GPTJConfig(**GPT2, **END, rotary_dim=4)),
        "llama": transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                **{**adapted.LLAMA, **END, "pad_token_id": None, "max_position_embeddings": 16}
            )
        ),
        "bart": transformers.BartForConditionalGeneration(
            transformers.BartConfig(
                vocab_size=258,
                d_model=16,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=16,
                decoder_ffn_dim=16,
                max_position_embeddings=64,
                **{**END, "pad_token_id": 257, "decoder_start_token_id": 256, "forced_eos_token_id": 256},
            )
        ),
    }
    for name, model in made.items():
        tokenizer = byte_tokenizer()
        if name != "bart":
            tokenizer.pad_token = None
        model.save_pretrained(directory / name)
        tokenizer.save_pretrained(directory / name)
    return directory


@contextlib.contextmanager
def built(tmp_path: Path, pretrained: Path, *overrides: str, **texts: list[str]) -> Iterator[Engine]:
    """The engine of a classifier on texts, by the key of their file."""
    for key, rows in texts.items():
        lines = [json.dumps({"text": text, "label": "ab"[index % 2]}) for index, text in enumerate(rows)]
        (tmp_path / f"{key}.jsonl").write_text("\n".join(lines))
    files = [f"data.{key}={tmp_path / key}.jsonl" for key in texts]
    config = compose(
        [
            "data=text_classification",
            f"model.pretrained={pretrained}",
            "args.use_cpu=true",
            "args.precision=fp32",
            "args.max_steps=2",
            "args.stages=[train]",
            "args.eval_strategy=no",
            "callbacks.progress=null",
            *files,
            *overrides,
        ]
    ).config
    engine = runner.build(config, tmp_path)
    try:
        yield engine
    finally:
        for tracker in engine.trackers.values():
            tracker.close()


def refusal(tmp_path: Path, pretrained: Path, *overrides: str, **texts: list[str]) -> str:
    """What a run is told that does not begin."""
    with pytest.raises(UserError) as caught, built(tmp_path, pretrained, *overrides, **texts):
        pass
    return caught.value.block()


TEXTS = [SHORT, LONG, SHORT, LONG]


def test_a_causal_model_without_padding_classifies(tmp_path: Path, models: Path, caplog) -> None:
    caplog.set_level("INFO")
    with built(tmp_path, models / "gpt2", train_file=TEXTS) as engine:
        runner.run(engine)
    assert "no token to pad with: <eos> stands in" in caplog.text
    assert "2 of 4 texts are longer than 16 tokens and were cut" in caplog.text
    kept = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert kept.config.pad_token_id == tokenizer.pad_token_id == 256
    assert tokenizer.padding_side == "right" and tokenizer.model_max_length == 16


@pytest.mark.parametrize(
    ("asked", "files"),
    [
        ("the longest row of the training data has 30 tokens", {"train_file": TEXTS}),
        ("the longest row of the evaluation data has 30", {"train_file": [SHORT] * 2, "eval_file": TEXTS}),
        ("the longest row of the data to predict has 30", {"train_file": [SHORT] * 2, "test_file": TEXTS}),
    ],
)
def test_rows_that_are_longer_than_the_model_are_refused(
    tmp_path: Path, models: Path, asked: str, files: dict[str, list[str]]
) -> None:
    stages = ["train", "eval"] if "eval_file" in files else ["train", "predict"]
    chosen = stages if len(files) > 1 else ["train"]
    said = refusal(
        tmp_path, models / "gpt2", "data.max_length=100", f"args.stages=[{','.join(chosen)}]", **files
    )
    assert asked in said and "the model has 16 positions\n  data.max_length=16" in said


def test_a_limit_that_no_table_shows_is_found_by_trying(tmp_path: Path, models: Path, caplog) -> None:
    said = refusal(tmp_path, models / "gptj", train_file=TEXTS)
    assert "GPTJForSequenceClassification, made for 16, does not take it" in said
    assert "data.max_length=16" in said
    torch.manual_seed(3)
    with built(tmp_path, models / "llama", train_file=TEXTS):
        tried = torch.get_rng_state()
    assert (
        "2 rows of more than 16 tokens, the length that LlamaForSequenceClassification was made"
        in caplog.text
    )
    with built(tmp_path, models / "llama", "data.max_length=16", train_file=TEXTS):
        assert torch.equal(tried, torch.get_rng_state())


def test_tokens_that_the_model_does_not_know_are_refused(tmp_path: Path, models: Path) -> None:
    lines = "model.config.model_type=gpt2", "model.config.vocab_size=100", "data.tokenizer=null"
    shape = [f"model.config.{name}={GPT2[name]}" for name in ("n_embd", "n_layer", "n_head")]
    assert "the tokenizer has 258 tokens, the model embeds 100" in refusal(
        tmp_path, models, "model.pretrained=null", *lines, *shape, train_file=TEXTS
    )


def test_a_text_without_the_end_that_the_model_reads_is_refused(tmp_path: Path, models: Path) -> None:
    assert "has 0 tokens that end a text, and BartForSequenceClassification" in refusal(
        tmp_path, models / "bart", train_file=TEXTS
    )


def test_the_blocks_of_a_text_fit_the_model(tmp_path: Path, models: Path) -> None:
    assert "has 256 tokens, the model has 16 positions" in refusal(
        tmp_path, models / "gpt2", "data=language_modeling", "model=causal_lm"
    )
