"""The head that a pretrained model brings along, read from its config alone, before anything is built."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.data.source import Head, Labels
from trainer_cli.hub.pretrained import CONFIG, config_file

log = logging.getLogger(__name__)

PLACEHOLDER = re.compile(r"LABEL_[0-9]+")
"""What transformers calls a class that nobody has named."""

CLASSIFIER = "ForSequenceClassification"


def pretrained_head(model: Mapping[str, Any], resume_from: Path | None, trains: bool) -> Head | None:
    """The head of the checkpoint that is resumed from, else of `model.pretrained`; None where there is none.

    `model` is the configuration of the model, whose own `config` has the last word on the names.
    """
    changes = model.get("config") or {}
    name = model.get("pretrained") or "model.config"
    fields: dict[str, Any] = {}
    if resume_from is not None and (resume_from / CONFIG).is_file():
        fields, changes, name = read_config(resume_from / CONFIG), {}, str(resume_from)
    elif model.get("pretrained") is not None:
        file = config_file(model["pretrained"])
        fields = {} if file is None else read_config(file)
    elif "id2label" not in changes:
        return None
    fields = {**fields, **changes}
    labels = head_labels(fields, name)
    if labels is None:
        return None
    if fields.get("problem_type") == "multi_label_classification":
        check_one_class(name, trains)
    return Head(name, labels, any(not PLACEHOLDER.fullmatch(name) for name in labels.names), trains)


def read_config(file: Path) -> dict[str, Any]:
    """A model's config.json; raises UserError for one that is no JSON object."""
    try:
        fields = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{file} is no JSON object")
    return fields


def head_labels(config: Mapping[str, Any], model: str) -> Labels | None:
    """What the head scores, by the model's config; None where the config speaks of no classifier of texts."""
    names = class_names(config, model)
    made_for = config.get("architectures") or []
    if made_for and not is_classifier(made_for):
        return None
    if not made_for and not any(not PLACEHOLDER.fullmatch(name) for name in names or ()):
        return None
    if names is None:
        count = config.get("num_labels", config.get("_num_labels"))
        names = [f"LABEL_{index}" for index in range(count if isinstance(count, int) else 2)]
    return Labels(() if len(names) == 1 else tuple(names))


def check_one_class(model: str, trains: bool) -> None:
    """Say that a model of several classes a text is taken for one of a single class; an error untrained."""
    what = (
        f"{model} finds any number of classes in a text (multi_label_classification), and here each has one"
    )
    if not trains:
        right = "model.config.problem_type=single_label_classification takes the likeliest all the same"
        raise UserError(what, right=right)
    log.warning("%s; its head is trained for that", what)


def is_classifier(architectures: Sequence[str]) -> bool:
    """Whether a checkpoint was saved as a classifier of whole texts, by what its config says it is."""
    return any(str(name).endswith(CLASSIFIER) for name in architectures)


def class_names(config: Mapping[str, Any], model: str) -> list[str] | None:
    """The names of the classes by their ids; None where the config has none.

    Raises UserError for names that do not tell which class is which.
    """
    id2label, label2id = config.get("id2label"), config.get("label2id")
    by_id = {str(index): str(name) for index, name in id2label.items()} if isinstance(id2label, dict) else {}
    by_name = {str(name): index for name, index in label2id.items()} if isinstance(label2id, dict) else {}
    unnamed = all(PLACEHOLDER.fullmatch(name) for name in by_id.values())
    named = {str(index): name for name, index in by_name.items() if not PLACEHOLDER.fullmatch(name)}
    if unnamed and named and len(named) == len(by_name) and by_id.keys() <= named.keys():
        by_id = named
    if not by_id:
        return None
    ids = [str(index) for index in range(len(by_id))]
    names = [by_id.get(index, "") for index in ids]
    right = "model.config.id2label={0: NAME, 1: NAME, …} says which output of the model is which class"
    if by_id.keys() != set(ids) or len(set(names)) < len(names):
        shown = ", ".join(f"{index}: {name}" for index, name in by_id.items())
        raise UserError(
            f"{model}: id2label in its config does not name each class once: {shown}", right=right
        )
    for index, name in enumerate(names):
        if str(by_name.get(name, index)) != str(index):
            raise UserError(
                f"{model}: its config contradicts itself: by id2label {name} is class {index},"
                f" by label2id {by_name[name]}",
                right=right,
            )
    return names
