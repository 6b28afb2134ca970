"""What a pretrained model's config says of its head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.data.source import Head, Labels
from trainer_cli.model.head import pretrained_head

CLASSIFIER = {"architectures": ["RobertaForSequenceClassification"]}
NLI = ("entailment", "neutral", "contradiction")
BY_ID = {str(index): name for index, name in enumerate(NLI)}
BY_NAME = {name: index for index, name in enumerate(NLI)}


def config(folder: Path, **fields: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields))
    return str(folder)


def head(folder: Path, changes: Any = None, **fields: Any) -> Head | None:
    return pretrained_head({"pretrained": config(folder, **fields), "config": changes}, None, trains=False)


@pytest.mark.parametrize(
    ("fields", "names", "named"),
    [
        ({**CLASSIFIER, "id2label": BY_ID, "label2id": BY_NAME}, NLI, True),
        ({**CLASSIFIER, "id2label": dict(reversed(BY_ID.items()))}, NLI, True),
        ({"id2label": BY_ID}, NLI, True),
        ({**CLASSIFIER, "label2id": BY_NAME}, NLI, True),
        (
            {**CLASSIFIER, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"no": 1, "yes": 0}},
            ("yes", "no"),
            True,
        ),
        ({**CLASSIFIER, "id2label": BY_ID, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, NLI, True),
        ({**CLASSIFIER, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ("LABEL_0", "LABEL_1"), False),
        ({**CLASSIFIER}, ("LABEL_0", "LABEL_1"), False),
        ({**CLASSIFIER, "num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2"), False),
        ({**CLASSIFIER, "id2label": {"0": "LABEL_0"}}, (), False),
        ({**CLASSIFIER, "num_labels": 1}, (), False),
    ],
)
def test_the_classes_in_the_order_of_their_ids(
    tmp_path: Path, fields: dict[str, Any], names: tuple[str, ...], named: bool
) -> None:
    found = head(tmp_path, **fields)
    assert found == Head(str(tmp_path), Labels(names), named, trains=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"architectures": ["BertModel"]},
        {"architectures": ["BartModel"], "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}},
        {"architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-PER"}},
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {},
    ],
)
def test_what_is_no_classifier_of_texts_has_no_head(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert head(tmp_path, **fields) is None


def test_a_tokenizers_directory_and_a_fresh_model_have_none(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    assert pretrained_head({"pretrained": str(tmp_path), "config": None}, None, trains=True) is None
    assert pretrained_head({"pretrained": None, "config": {"model_type": "bert"}}, None, trains=True) is None
    assert pretrained_head({"labels": 3}, None, trains=True) is None


def test_the_configuration_has_the_last_word(tmp_path: Path) -> None:
    found = head(tmp_path, {"id2label": {0: "reject", 1: "approve"}}, **CLASSIFIER)
    assert found is not None and found.labels == Labels(("reject", "approve")) and found.named
    fresh = pretrained_head({"pretrained": None, "config": {"id2label": {0: "a", 1: "b"}}}, None, trains=True)
    assert fresh == Head("model.config", Labels(("a", "b")), named=True, trains=True)


def test_a_checkpoint_that_is_resumed_from_has_its_own(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    config(checkpoint, **CLASSIFIER, id2label={"0": "no", "1": "yes"})
    model = {"pretrained": config(tmp_path / "m", **CLASSIFIER, id2label=BY_ID), "config": None}
    found = pretrained_head(model, checkpoint, trains=True)
    assert found == Head(str(checkpoint), Labels(("no", "yes")), named=True, trains=True)
    (checkpoint / "config.json").unlink()
    again = pretrained_head(model, checkpoint, trains=True)
    assert again is not None and again.labels == Labels(NLI)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "does not name each class once: 0: a, 2: b"),
        ({"id2label": {"0": "a", "1": "a"}}, "does not name each class once: 0: a, 1: a"),
        (
            {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
            "by id2label a is class 0, by lab",
        ),
    ],
)
def test_names_that_do_not_tell_which_class_is_which(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        head(tmp_path, **CLASSIFIER, **fields)
    assert says in caught.value.block() and "model.config.id2label={0: NAME" in caught.value.block()
    changed = head(tmp_path, {"id2label": {0: "c", 1: "d"}}, **CLASSIFIER, **fields)
    assert changed is not None and changed.labels == Labels(("c", "d"))


def test_a_model_of_several_classes_a_text_is_not_scored_as_one_of_a_single_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {**CLASSIFIER, "id2label": BY_ID, "problem_type": "multi_label_classification"}
    with pytest.raises(UserError, match="finds any number of classes in a text") as caught:
        head(tmp_path, **fields)
    settled = head(tmp_path, {"problem_type": "single_label_classification"}, **fields)
    assert "model.config.problem_type=single_label" in caught.value.block() and settled is not None
    assert not caplog.records
    pretrained_head({"pretrained": config(tmp_path, **fields), "config": None}, None, trains=True)
    assert "its head is trained for that" in caplog.text


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "\udcff"])
def test_a_config_that_is_no_json_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json"):
        pretrained_head({"pretrained": str(tmp_path), "config": None}, None, trains=True)
