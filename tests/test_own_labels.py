"""A trained classifier's own labels, from its config to what is evaluated, predicted, trained and saved."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer_cli import runner
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.engine import Engine
from trainer_cli.hub.pretrained import byte_tokenizer
from trainer_cli.rank import print_results

NLI = ("entailment", "neutral", "contradiction")
QUIET = ("callbacks.progress=null", "args.precision=fp32", "args.use_cpu=true", "data.tokenizer=null")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of the three classes, one of two of them, and one without labels."""
    monkeypatch.chdir(tmp_path)
    write("nli.csv", "entailment", "neutral", "contradiction", "entailment")
    write("two.csv", "neutral", "entailment", "entailment")
    Path("unlabelled.csv").write_text("review\nWhat a film\nDull\n")
    return tmp_path


def write(file: str, *labels: Any) -> None:
    rows = "".join(f"text {index},{label}\n" for index, label in enumerate(labels))
    Path(file).write_text(f"text,label\n{rows}")


def classifier(names: Sequence[str], folder: str = "M", says: int = 0) -> Any:
    """A classifier that finds one class in every text, saved in a folder."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    named = dict(enumerate(names))
    config = BertConfig(
        vocab_size=len(tokenizer), id2label=named, label2id={name: i for i, name in named.items()}, **sizes
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.eye(len(names))[says] * 3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def run(*overrides: str, resume_from: Path | None = None) -> tuple[Engine, dict[str, float]]:
    """A run over texts with the model M, in a directory of its own."""
    words = [*QUIET, "model.pretrained=M", *overrides]
    run_dir = Path(f"run-{len(list(Path().glob('run-*')))}")
    run_dir.mkdir()
    engine = runner.build(compose(words).config, run_dir, resume_from)
    return engine, runner.run(engine)


def block(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        run(*overrides)
    return caught.value.block()


def predictions(engine: Engine) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (engine.run_dir / "predictions.jsonl").read_text().splitlines()]


def test_a_checkpoints_names_are_the_order_of_an_evaluation() -> None:
    classifier(NLI)
    engine, row = run("args.stages=[eval]", "data.eval_file=nli.csv")
    assert row["eval/accuracy"] == 0.5
    assert engine.summary["labels"] == "3 classes (entailment: 2, neutral: 1, contradiction: 1), as in M"
    _, row = run("args.stages=[eval]", "data.eval_file=two.csv")
    assert row["eval/accuracy"] == pytest.approx(2 / 3)


def test_rows_without_labels_are_predicted_by_the_models_names(capsys: pytest.CaptureFixture[str]) -> None:
    classifier(("positive", "negative"), says=1)
    words = ("args.stages=[predict]", "data.test_file=unlabelled.csv", "data.text_column=review")
    engine, _ = run(*words)
    rows = predictions(engine)
    assert [row["prediction"] for row in rows] == ["negative", "negative"]
    assert rows[0]["probabilities"] == pytest.approx([0.0474, 0.9526], abs=1e-4)
    # The names that are given may be in the other order: those of the model count.
    engine, _ = run(*words, "data.label_names=[negative,positive]")
    assert [row["prediction"] for row in predictions(engine)] == ["negative", "negative"]
    print_results(engine, {})
    assert f"predictions: {engine.run_dir / 'predictions.jsonl'}" in capsys.readouterr().out


def test_labels_that_are_not_the_models_are_an_error_before_anything_is_evaluated() -> None:
    classifier(("negative", "positive"))
    write("approve.csv", "negative", "approve")
    text = block("args.stages=[eval]", "data.eval_file=approve.csv")
    assert "approve.csv:3: label 'approve' is no class of M, which has 2 classes: negative, positive" in text
    write("numbers.csv", 0, 1, 1)
    assert "data.label_names=[negative,positive], if 0 is negative there" in block(
        "args.stages=[eval]", "data.eval_file=numbers.csv"
    )
    settled = ("args.stages=[eval]", "data.eval_file=numbers.csv", "data.label_names=[positive,negative]")
    assert run(*settled)[1]["eval/accuracy"] == pytest.approx(2 / 3)
    renamed = "model.config.id2label={0: approve, 1: reject}"
    write("approve.csv", "reject", "approve", "approve")
    assert run("args.stages=[eval]", "data.eval_file=approve.csv", renamed)[1]["eval/accuracy"] == (
        pytest.approx(2 / 3)
    )


def test_an_untrained_head_is_neither_evaluated_nor_predicted_with() -> None:
    from transformers import BertModel

    BertModel(classifier(NLI, "whole").config).save_pretrained("M")
    byte_tokenizer().save_pretrained("M")
    predict = ("args.stages=[predict]", "data.test_file=unlabelled.csv", "data.text_column=review")
    assert "and M has no classes of its own" in block(*predict)
    for words in ((*predict, "data.label_names=[a,b]"), ("args.stages=[eval]", "data.eval_file=nli.csv")):
        assert "not in M: classifier.bias, classifier.weight" in block(*words)


def test_a_model_that_is_trained_keeps_its_head_and_its_order_and_a_run_goes_on_with_them() -> None:
    classifier(NLI)
    words = ("data.train_file=two.csv", "data.eval_file=nli.csv", "optim.lr=0.0", "args.max_steps=2")
    saves = ("args.save_strategy=steps", "args.save_steps=1", "args.eval_strategy=no")
    engine, row = run(*words, *saves, "args.stages=[train,eval]")
    assert row["eval/accuracy"] == 0.5
    saved = json.loads((engine.run_dir / "model" / "config.json").read_text())
    assert saved["id2label"] == {str(index): name for index, name in enumerate(NLI)}
    # With its checkpoint an evaluation needs neither the head nor the names of what it began with.
    checkpoint = engine.run_dir / "checkpoint-2"
    classifier(("a", "b", "c"), "M", says=2)
    evaluated = ("data.eval_file=nli.csv", "args.stages=[eval]")
    engine, row = run(*evaluated, resume_from=checkpoint)
    assert row["eval/accuracy"] == 0.5 and str(checkpoint) in engine.summary["labels"]
    _, row = run(*evaluated, f"model.pretrained={checkpoint}")
    assert row["eval/accuracy"] == 0.5


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (
            ("no", "yes"),
            "its head is kept, output by output, under new names: neg becomes no, pos becomes yes",
        ),
        (("no", "yes", "maybe"), "its head is replaced by an untrained one"),
        ((0.5, 1.5), "the labels of mine.csv are numbers, and M has 2 classes: neg, pos; its head is repl"),
    ],
)
def test_other_names_where_training_follows_are_said_and_are_those_of_the_model_that_comes_of_it(
    labels: tuple[Any, ...], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    classifier(("neg", "pos"))
    write("mine.csv", *labels)
    words = ("data.train_file=mine.csv", "args.eval_strategy=no", "args.stages=[train]", "args.max_steps=1")
    engine, _ = run(*words)
    assert any(record.levelno == logging.WARNING and says in record.getMessage() for record in caplog.records)
    model = str(engine.run_dir / "model")
    engine, _ = run("args.stages=[eval]", "data.eval_file=mine.csv", f"model.pretrained={model}")
    assert f"as in {model}" in engine.summary["labels"]
    if isinstance(labels[0], str):
        assert engine.labels is not None and engine.labels.names == tuple(sorted(labels))


def test_the_numbers_of_glue_mean_its_names_in_whatever_order_the_model_has_them() -> None:
    classifier(("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), says=2)
    Path("mnli").mkdir()
    rows = [{"premise": "a", "hypothesis": "b", "label": label} for label in (0, 0, 0, 1, 2)]
    for name in ("train", "validation_matched", "validation_mismatched"):
        Path(f"mnli/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    glue = ("data=glue", "data.task=mnli", "data.source=.", "args.stages=[eval]")
    engine, row = run(*glue)
    assert row["eval/matched/accuracy"] == row["eval/mismatched/accuracy"] == pytest.approx(0.6)
    assert "ENTAILMENT: 3), as in M" in engine.summary["labels"]
    classifier(("positive", "negative", "neither"))
    assert "data.task=mnli gives entailment, neutral, contradiction, and M has 3 classes: positive" in block(
        *glue
    )


def test_the_f1_of_glue_is_of_the_class_that_glue_means() -> None:
    classifier(("equivalent", "not_equivalent"))
    Path("train.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "label": 1}\n')
    text = block(
        "data=glue", "data.task=mrpc", "data.source=.", "args.eval_strategy=no", "args.stages=[train]"
    )
    assert "the F1 of MRPC is that of class 1, equivalent, which is class 0 of M" in text
