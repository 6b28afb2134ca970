"""What the labels of a file are: classes or numbers, by names, by the model's head, or by how they look."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from trainer_cli.config.errors import UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.data.source import Head, Labels
from trainer_cli.data.spelling import (
    NUMBERS,
    SHOWN,
    WHOLE,
    LabelColumn,
    finder,
    is_number,
    kind_of,
    label_text,
    listed,
    same_class,
)

log = logging.getLogger(__name__)

COUNTED = 5
"""Classes whose rows are counted in the line that says how labels were understood."""
RARE = 100
"""How many times more rows an average class has than one that is probably a slip."""
MANY = 50
"""Rows from which on labels that hardly ever repeat are no classes."""

CLASSES = "\"data.label_names=['NAME','NAME']\" makes classes of them"
"""In quotes: a name that is a number without them is no text."""
SETTLES = f"{CLASSES}, data.label_names=[] numbers"
RENAMES = "model.config.id2label={0: NAME, 1: NAME, …} gives the model's outputs other names"
LISTS = "correct the row; if both are names of classes, data.label_names=[...] lists them all"


def understand(
    column: LabelColumn | None, names: Sequence[str] | None, key: str, head: Head | None
) -> Labels | None:
    """What the labels are: by their names in `key`, by the model's own head, or else by how they look.

    The model's own names are the order of the classes wherever they are those of the data. Where they are
    not, raises UserError for a model that is not trained, and says so for one that is. None where neither
    the data nor the model has labels.
    """
    declared = None if names is None else Labels(declared_names(names, key))
    own = None if head is None else labels_of_head(column, declared, head)
    if own is not None:
        assert head is not None
        find = finder(own.names)
        if declared is not None and any(find(None, name) != i for i, name in enumerate(declared.names)):
            log.warning(
                "classes have the ids that they have in %s: %s; whole numbers in the data count in %s: %s",
                head.model,
                listed(own.names),
                key,
                listed(declared.names),
            )
        return described(own, column, names, f"as in {head.model}", head)
    labels = declared
    deciding = f"as {key} says"
    if labels is None and column is not None:
        labels, deciding = infer(column)
    if labels is None:
        return None
    if head is not None:
        compare(column, labels, declared is not None, key, head)
    return described(labels, column, names, deciding, None)


def declared_names(names: Sequence[str], key: str) -> tuple[str, ...]:
    """The names as they are compared with labels; raises UserError unless there are several, or none."""
    texts = tuple(map(label_text, names))
    if len(set(texts)) < len(texts) or len(texts) == 1 or "" in texts:
        raise UserError(f"{key} has to be two or more different names, or [] for a regression: {list(names)}")
    return texts


def labels_of_head(column: LabelColumn | None, declared: Labels | None, head: Head) -> Labels | None:
    """The labels of the model's head, where those of the data are among them; else None."""
    own = head.labels
    if declared is not None:
        if own.regression or declared.regression:
            return own if own.regression and declared.regression else None
        find = finder(own.names)
        found = {find(None, name) for name in declared.names} if head.named else {None}
        return own if None not in found and len(found) == len(declared.names) else None
    if column is None:
        return own
    if own.regression:
        return own if all(is_number(value, text) for value, text, _ in column.spellings()) else None
    names = [own.names]
    if not head.named:  # the numbers that transformers counts its LABEL_0, LABEL_1 by
        names.append(tuple(str(index) for index in range(len(own.names))))
    for candidate in names:
        find = finder(candidate)
        if all(find(value, text) is not None for value, text, _ in column.spellings()):
            return Labels(candidate)
    return None


def compare(column: LabelColumn | None, labels: Labels, is_declared: bool, key: str, head: Head) -> None:
    """Say that the data's labels are not the head's; raises UserError where no training follows."""
    own, model = head.labels, head.model
    fits = len(own.names) == len(labels.names)
    if fits and not head.named and is_declared:
        log.info("the classes of %s have no names of their own; they are %s", model, listed(labels.names))
        return
    has = "predicts a number" if own.regression else f"has {len(own.names)} classes: {listed(own.names)}"
    if not head.named and not own.regression:
        has = f"has {len(own.names)} classes without names"
    what, right = f"{key} gives {listed(labels.names) or 'numbers'}, and {model} {has}", RENAMES
    if column is not None and not is_declared:
        what, right = foreign(column, labels, head, has)
    if not head.trains:
        raise UserError(what, right=f"{right}\nor train the model on them: args.stages=[train,eval]")
    if own.regression or labels.regression or not fits:
        log.warning("%s; its head is replaced by an untrained one", what)
    elif head.named:
        pairs = ", ".join(f"{one} becomes {other}" for one, other in zip(own.names, labels.names))
        log.warning(
            "%s; its head is kept, output by output, under new names: %s (data.label_names=[...] pairs them"
            " in its own order)",
            what,
            pairs,
        )
    else:
        log.warning("%s; they are taken for %s, in this order", what, listed(labels.names))


def foreign(column: LabelColumn, labels: Labels, head: Head, has: str) -> tuple[str, str]:
    """What in the data does not fit the head, and what would be right."""
    own, model = head.labels, head.model
    if own.regression or labels.regression:
        what = "numbers" if labels.regression else f"{len(labels.names)} classes"
        return f"the labels of {column.file} are {what}, and {model} {has}", "labels of the model's kind"
    if not head.named and len(own.names) == len(labels.names):
        what = f"{model} {has}, and {listed(labels.names)} of {column.file} may be in any order"
        names = ",".join(labels.names[:SHOWN])
        return what, f"data.label_names=[{names}], in the order of the model's outputs"
    if not head.named:
        return f"{column.file} has {len(labels.names)} classes, and {model} {has}", RENAMES
    find = finder(own.names)
    value, text = next((v, t) for v, t, _ in column.spellings() if find(v, t) is None)
    what = f"{column.at(value)}: label {text!r} is no class of {model}, which {has}"
    if WHOLE.fullmatch(text):
        pairs = f"data.label_names=[{','.join(own.names[:SHOWN])}]"
        return what, f"{pairs}, if 0 is {own.names[0]} there, 1 {own.names[1]}, …"
    return what, f"{did_you_mean(text, own.names)}\n{RENAMES}".strip()


def infer(column: LabelColumn) -> tuple[Labels, str]:
    """Words or whole numbers are classes, sorted; numbers, some of them with a point, are a regression.

    With what decided it, in words. Raises UserError for what could be either.
    """
    texts: dict[str, int] = {}  # of what may be a class
    seen: dict[str, Any] = {}  # of each kind of number the first
    counts: Counter[str] = Counter()
    first: dict[str, Any] = {}
    for value, text, count in column.spellings():
        kind = kind_of(value, text)
        counts[kind] += count
        seen.setdefault(kind, value)
        if kind not in ("fraction", "point"):
            texts[text] = texts.get(text, 0) + count
            first.setdefault(text, value)
    numbers = sum(counts[kind] for kind in NUMBERS)

    def refuse(kind: str, what: str, right: str) -> NoReturn:
        value = seen[kind]
        column.refuse(value, f"label {label_text(value)!r} {what}", right)

    if "endless" in seen:
        refuse(
            "endless",
            "is no finite number",
            "correct the row; if it is a class, data.label_names=[...] lists all",
        )
    with_point = next((kind for kind in ("fraction", "point") if kind in seen), None)
    if with_point and numbers < counts.total():
        odd = "comma" if "comma" in seen else "word"
        number = seen[with_point]
        refuse(odd, f"is no number, unlike {label_text(number)!r} at {column.at(number)}", LISTS)
    if "comma" in seen and numbers + counts["comma"] == counts.total():
        refuse("comma", "reads like a number with a comma", f"write it with a point; {CLASSES}")
    if "fraction" in seen:
        pointed = counts.total() - counts["whole"]
        if pointed * RARE < counts.total():
            rows = f"{pointed:,} of {counts.total():,} labels; the others are whole numbers, as classes are"
            refuse("fraction", f"has a decimal point, as {rows}", f"correct the row; {SETTLES}")
        value = seen["fraction"]
        return Labels(()), f"because of {label_text(value)!r} at {column.at(value)}"
    if "point" in seen:
        refuse("point", "may be a number or a class: no label here has anything behind its point", SETTLES)
    if "exponent" in seen and numbers == counts.total():
        refuse("exponent", "may be a number or the code of a class", SETTLES)
    return Labels(classes(column, texts, first)), f"from {column.file}"


def classes(column: LabelColumn, texts: Mapping[str, int], first: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes in order; raises UserError for names that are probably none."""
    rows = sum(texts.values())
    if len(texts) == 1:
        (text,) = texts
        column.refuse(
            first[text],
            f"every label is {text!r}; a classification needs two classes",
            "data.label_names=[...] lists classes that these rows do not show",
        )
    truths = texts.keys() & {"false", "true"}
    if truths and all(text in truths or WHOLE.fullmatch(text) for text in texts) and len(texts) > len(truths):
        truth, number = sorted(truths)[0], min(texts.keys() - truths)
        what = (
            f"label {truth!r} stands beside {number!r} at {column.at(first[number])}, which may say the same"
        )
        column.refuse(first[truth], what, "write them alike, or data.label_names=[...] lists the classes")
    alike: dict[str, str] = {}
    for text in texts:
        other = alike.setdefault(same_class(text), text)
        if other != text:
            column.refuse(
                first[text],
                f"label {text!r} is perhaps the same class as {other!r} at {column.at(first[other])}",
                "write them alike, or data.label_names=[...] lists the classes, one of the two or both",
            )
    if rows >= MANY and len(texts) * 2 > rows:
        column.refuse(
            first[next(iter(texts))],
            f"{rows:,} rows have {len(texts):,} different labels, which hardly ever repeat",
            f"data.label_column names the column of the labels; {SETTLES}",
        )
    for text, count in texts.items():
        if count * RARE * len(texts) < rows:
            log.warning(
                "label %r stands in %s of %s rows (the first: %s) and makes a class of its own; a slip?"
                " data.label_names=[...] lists the classes that there are, and refuses any other label",
                text,
                f"{count:,}",
                f"{rows:,}",
                column.at(first[text]),
            )
    whole = all(WHOLE.fullmatch(text) for text in texts)
    return tuple(sorted(texts, key=int) if whole else sorted(texts))


def described(
    labels: Labels, column: LabelColumn | None, names: Sequence[str] | None, deciding: str, head: Head | None
) -> Labels:
    """The labels with the line that says how they were understood."""
    if labels.regression:
        text = f"numbers, {deciding}" if head is None else f"numbers, {deciding}: it predicts one"
        return Labels((), text)
    counts: Counter[int] = Counter()
    blanks = 0
    if column is not None:
        find = finder(labels.names, names)
        for value, text, count in column.spellings():
            index = find(value, text)
            if index is not None:
                counts[index] += count
            if isinstance(value, str) and value != value.strip():
                blanks += count
    shown = [f"{name}: {counts[i]:,}" if column else name for i, name in enumerate(labels.names[:COUNTED])]
    more = ", …" if len(labels.names) > COUNTED else ""
    line = f"{len(labels.names)} classes ({', '.join(shown)}{more}), {deciding}"
    if blanks:
        line += f", {blanks:,} without the blanks around them"
    return Labels(labels.names, line)
