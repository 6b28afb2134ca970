"""The nine tasks of GLUE (Wang et al., 2019): from the hub, from a directory, or an embedded stand-in."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.types import Ge
from trainer_cli.data.embedded import rated_tweets
from trainer_cli.data.files import Table, read_table, read_text
from trainer_cli.data.labels import understand
from trainer_cli.data.source import Collate, Head, Labels, Splits
from trainer_cli.data.spelling import same_class
from trainer_cli.data.texts import (
    Column,
    Examples,
    TextTask,
    make_tokenizer,
    read_examples,
    together,
    with_label_ids,
)
from trainer_cli.hub.repository import dataset_folder

log = logging.getLogger(__name__)

HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class Task:
    """One task: its folder in GLUE's own layout, its columns there (TSV) and on the hub, and its metrics.

    `names` are the classes in id order, none for a regression; `sets` names the evaluation and test sets.
    """

    folder: str
    columns: tuple[str, ...]
    tsv_columns: tuple[str, ...]
    tsv_label: str
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    sets: tuple[str, ...] = ("",)


ONE = ("sentence",)
TWO = ("sentence1", "sentence2")
STRINGS = ("#1 String", "#2 String")
PREMISE = ("premise", "hypothesis")
QUESTIONS = ("question1", "question2")
ENTAILED = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
ACCURACY = ("accuracy",)
WITH_F1 = ("accuracy", "f1")
CORRELATIONS = ("pearson", "spearman")

# fmt: off
TASKS: Mapping[str, Task] = {
    "cola": Task("CoLA", ONE, ONE, "label", ("unacceptable", "acceptable"), ("matthews_correlation",)),
    "sst2": Task("SST-2", ONE, ONE, "label", ("negative", "positive"), ACCURACY),
    "mrpc": Task("MRPC", TWO, STRINGS, "Quality", ("not_equivalent", "equivalent"), WITH_F1),
    "stsb": Task("STS-B", TWO, TWO, "score", (), CORRELATIONS),
    "qqp": Task("QQP", QUESTIONS, QUESTIONS, "is_duplicate", ("not_duplicate", "duplicate"), WITH_F1),
    "mnli": Task("MNLI", PREMISE, TWO, "gold_label", NLI, ACCURACY, ("matched", "mismatched")),
    "qnli": Task("QNLI", ("question", "sentence"), ("question", "sentence"), "label", ENTAILED, ACCURACY),
    "rte": Task("RTE", TWO, TWO, "label", ENTAILED, ACCURACY),
    "wnli": Task("WNLI", TWO, TWO, "label", ENTAILED[::-1], ACCURACY),
}
# fmt: on

STEMS = {"train": ("train",), "eval": ("validation", "dev"), "predict": ("test",)}
"""What a split's file is called: on the hub, and in GLUE's own layout."""

ENDINGS = (".tsv", ".jsonl", ".parquet", "-*-of-*.parquet")

PUBLISHED = {
    ("mrpc", "train"): ("msr_paraphrase_train.txt",),
    ("mrpc", "test"): ("msr_paraphrase_test.txt",),
}
"""Files that a task's authors published under another name."""

COLA_HEADER = ("source", "label", "mark", "sentence")
"""The columns of CoLA's train.tsv and dev.tsv, which have no header."""

EMBEDDED = {"sst2": "as a binary task in SST-2's format", "stsb": "with their mean ratings, a regression"}
HELD_OUT = 500


@dataclass(frozen=True)
class Found:
    """What a source has of a task: the tables of each split, none where the split is missing."""

    description: str
    columns: tuple[str, ...]
    train: list[Table]
    eval: dict[str, list[Table]]
    predict: list[Table]


class Glue:
    """A GLUE task; both test sets of MNLI are predicted, one after the other, and no test row has a label.

    Args:
        task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli.
        source: embedded (rated tweets for sst2 and stsb: not GLUE), hub (nyu-mll/glue), or a directory in
            GLUE's own TSV layout, or of JSONL or Parquet files with the hub's columns.
        max_length: Tokens that a text, or a pair, is cut to; null: the tokenizer's own limit.
        tokenizer: The pretrained model whose tokenizer is used; null: a token for each byte.
        trust_remote_code: Whether code that comes with the tokenizer may run.
        collate_fn: Makes a batch of a list of rows; null: pads to the longest.
    """

    def __init__(
        self,
        task: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"],
        source: str,
        max_length: Annotated[int, Ge(1)] | None,
        tokenizer: str | None,
        trust_remote_code: bool,
        collate_fn: Collate | None,
        head: Head | None = None,
    ) -> None:
        if task not in TASKS:
            raise UserError(f"data.task={task} is no task of GLUE", right=f"one of {', '.join(TASKS)}")
        found = find(task, source)
        self.description = found.description
        read = partial(_examples, task, found.columns)
        train, predict, *evaluation = together(
            partial(read, found.train, labelled=True),
            partial(read, found.predict, labelled=False),
            *(partial(read, tables, labelled=True) for tables in found.eval.values()),
        )
        self.labels = _labels(
            task, next((rows for rows in (train, *evaluation) if rows is not None), None), head
        )
        train, *evaluation = together(
            *(partial(with_label_ids, rows, self.labels, TASKS[task].names) for rows in (train, *evaluation))
        )
        self.tokenizer = make_tokenizer(tokenizer, trust_remote_code)
        self._task = TextTask(
            train=train,
            eval={name: rows for name, rows in zip(found.eval, evaluation) if rows is not None},
            predict=predict,
            regression=self.labels.regression,
            metrics=TASKS[task].metrics,
            tokenizer=self.tokenizer,
            max_length=max_length,
            collate_fn=collate_fn,
        )

    def load(self, splits: Collection[str]) -> Splits:
        """Tokenise the splits that are asked for; raises UserError for one that the source does not have."""
        there = {"train": self._task.train, "eval": self._task.eval, "predict": self._task.predict}
        for split, stems in STEMS.items():
            if split in splits and not there[split]:
                raise UserError(
                    f"{self.description}: it has no rows for the stage {split}",
                    right=f"a file called {' or '.join(stems)}, or other args.stages",
                )
        return self._task.load(splits)


def find(task: str, source: str) -> Found:
    """The tables of a task, from one of the two named sources or from a directory."""
    name = TASKS[task].folder
    if source == "embedded":
        return embedded(task)
    if source == "hub":
        folder = dataset_folder(HUB, task, "data.source=embedded, or data.source=DIR with the files of GLUE")
        return from_directory(task, folder, f"{name} of GLUE, {HUB} on the hub")
    path = Path(source).expanduser()
    if not path.is_dir():
        near = did_you_mean(source, ["embedded", "hub"])
        raise UserError(
            f"data.source={source}: no such directory", right=near or "embedded, hub, or a directory"
        )
    return from_directory(task, path, f"{name} of GLUE, {source}")


def embedded(task: str) -> Found:
    """The rated tweets in a task's format, of which 500, drawn once and for all, are held out."""
    if task not in EMBEDDED:
        raise UserError(
            f"data.task={task} is not embedded: {' and '.join(EMBEDDED)} are", right="data.source=hub, or DIR"
        )
    texts, means = rated_tweets()
    rows = list(range(len(texts)))
    labels: list[Any] = means
    if task == "sst2":
        rows = [row for row in rows if abs(means[row]) >= 1]
        labels = [int(mean > 0) for mean in means]
    random.Random(13).shuffle(rows)

    def table(chosen: Sequence[int]) -> list[Table]:
        columns = {"sentence": [texts[row] for row in chosen], "label": [labels[row] for row in chosen]}
        return [Table("tweets.tsv.gz", columns, [row + 1 for row in chosen])]

    return Found(
        description=f"rated tweets of vaderSentiment 3.3.2 {EMBEDDED[task]}"
        f" (not GLUE; data.source=hub gives the real {TASKS[task].folder})",
        columns=ONE,
        train=table(rows[HELD_OUT:]),
        eval={"": table(rows[:HELD_OUT])},
        predict=table(rows[:HELD_OUT]),
    )


def from_directory(task: str, directory: Path, description: str) -> Found:
    """The files of a task, in the directory itself or in a folder of it that is named after the task."""
    spec = TASKS[task]
    for folder in (directory / spec.folder, directory / task, directory):
        train = _tables(task, folder, "train", "")
        evaluation = {name: _tables(task, folder, "eval", name) for name in spec.sets}
        tests = [table for name in spec.sets for table in _tables(task, folder, "predict", name)]
        if train or tests or any(evaluation.values()):
            return Found(description, spec.columns, train, evaluation, tests)
    raise UserError(
        f"data.source={directory} has no file of {spec.folder}",
        right=f"train, dev or validation, test (.tsv, .jsonl, .parquet), in it, {spec.folder}/ or {task}/",
    )


def _tables(task: str, folder: Path, split: str, name: str) -> list[Table]:
    """The files of a split, or of its set of this name; several where it is in parts."""
    for stem in STEMS[split]:
        patterns = [f"{stem}_{name}{ending}" if name else stem + ending for ending in ENDINGS]
        for pattern in [*patterns, *PUBLISHED.get((task, stem), ())]:
            files = sorted(folder.glob(pattern))
            if files:
                return [_read(task, file, labelled=split != "predict") for file in files]
    return []


def _read(task: str, path: Path, labelled: bool) -> Table:
    """A file of a task with the hub's names for its columns."""
    if path.suffix not in (".tsv", ".txt"):
        return read_table(str(path), "data.source")
    spec = TASKS[task]
    table = _read_tsv(path, COLA_HEADER if task == "cola" else ())
    names = dict(zip(spec.columns, spec.tsv_columns)) | ({"label": spec.tsv_label} if labelled else {})
    columns = {name: table.column(there, f"data.task={task}") for name, there in names.items()}
    return Table(table.file, columns, table.lines)


def _read_tsv(path: Path, header: Sequence[str]) -> Table:
    """A TSV file as GLUE has them: quotes mean nothing, and the few rows that lack a field are left out.

    `header` names the columns of a file whose first line is a row.
    """
    text = read_text(path, str(path))
    rows = {number: line.split("\t") for number, line in enumerate(text.split("\n"), start=1) if line}
    if not header or text.startswith("index\t"):
        header = rows.pop(1, [])
    whole = {number: fields for number, fields in rows.items() if len(fields) >= len(header)}
    if not whole:
        raise UserError(f"data.source: {path} holds no rows")
    if len(whole) < len(rows):
        log.warning("%s: %d rows with too few fields are left out", path, len(rows) - len(whole))
    columns = {name: [fields[at] for fields in whole.values()] for at, name in enumerate(header)}
    return Table(str(path), columns, list(whole))


def _examples(task: str, columns: Sequence[str], tables: Sequence[Table], labelled: bool) -> Examples | None:
    """The rows of a split, with its labels where it has any; None where there are no files."""
    if not tables:
        return None
    key = f"data.task={task}"
    text, *pair = (Column(name, key) for name in columns)
    label = Column("label", key) if labelled else None
    return read_examples(tables, text, pair[0] if pair else None, label)


def _labels(task: str, rows: Examples | None, head: Head | None) -> Labels:
    """The classes of the task, with the ids that they have in the model."""
    spec = TASKS[task]
    labels = understand(None if rows is None else rows.label_column, spec.names, f"data.task={task}", head)
    assert labels is not None, "the task has names"
    if head is not None and "f1" in spec.metrics and same_class(labels.names[0]) != same_class(spec.names[0]):
        raise UserError(
            f"the F1 of {spec.folder} is that of class 1, {spec.names[1]}, which is class 0 of {head.model}",
            right="data=text_classification metrics=classification scores such a model",
        )
    return labels
