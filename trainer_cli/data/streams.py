"""A pass over a stream in pieces: what reading each draws, and from where a later pass can go on after it."""

from __future__ import annotations

import copy
import importlib.metadata
import itertools
import sys
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from trainer_cli.data.randomness import WATCH, seed_generators

State = dict[str, Any]


@runtime_checkable
class KnowsEpoch(Protocol):
    """A dataset that wants to know which pass over it begins."""

    def set_epoch(self, epoch: int) -> None: ...


@runtime_checkable
class Stateful(Protocol):
    """A stream that tells where it stands, and goes on from there (torchdata's convention).

    The state is of JSON's types and tensors. It is asked for between any two rows, and then has all that the
    rows to come depend on, besides what reading them draws from the global generators. One that is loaded
    counts for the pass that begins next.
    """

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Pass:
    """A pass over a stream: from a state of it, or from its start if there is none that would be exact."""

    def __init__(self, dataset: Iterable[Any], state: State | None = None) -> None:
        self._rows = itertools.chain.from_iterable([dataset])  # begins inside of the first piece
        self._stateful = resumable(dataset)
        self._begin = state if self._stateful is not None else None
        self._of_hugging_face = is_of_hugging_face(dataset)
        self._drew = False
        self._taken = False
        # Hugging Face's take None, and need it: a state counts there for each pass until another is loaded.
        if isinstance(dataset, Stateful) and (self._begin is not None or self._of_hugging_face):
            dataset.load_state_dict(self._begin)  # type: ignore[arg-type]

    @property
    def goes_on(self) -> bool:
        """Whether it begins where the state says."""
        return self._begin is not None

    @property
    def state(self) -> State | None:
        """Where the rows taken so far end, as a copy; None where a later pass has to begin at the start."""
        if not self._taken:
            return self._begin
        if self._stateful is None or self._drew:
            return None
        return copy.deepcopy(self._stateful.state_dict())

    def take(self, size: int, first: int, *key: int | str) -> list[Any]:
        """The next rows, at most `size`; what reading them draws is a function of `key` and `first`.

        `first` is the position of the first of them, by which an error says where it happened.
        """
        self._taken = True
        rows: list[Any] = []
        seed_generators(*key, first)
        if self._of_hugging_face:
            WATCH.start()
        try:
            rows.extend(itertools.islice(self._rows, size))
        except Exception as error:
            error.add_note(f"while reading row {first + len(rows)} of the data")
            raise
        # Some of its parts read rows ahead: what was drawn for those would be drawn anew, and differ.
        self._drew = self._drew or (self._of_hugging_face and WATCH.moved())
        return rows


def resumable(dataset: Any) -> Stateful | None:
    """The dataset, if a pass over it can go on exactly from a state of it."""
    if not isinstance(dataset, Stateful) or (is_of_hugging_face(dataset) and not keeps_its_place(dataset)):
        return None
    return dataset


MODULE = "datasets.iterable_dataset"
SINCE = (5, 2)
"""The first version whose streams all go on exactly: in 4.8 even a plain map over JSON files lost rows."""

SOURCES = {"ExamplesIterable", "ArrowExamplesIterable"}
KEEPING = {
    "CyclingMultiSourcesExamplesIterable",
    "FilteredExamplesIterable",
    "FormattedExamplesIterable",
    "HorizontallyConcatenatedMultiSourcesExamplesIterable",
    "MappedExamplesIterable",
    "RandomlyCyclingMultiSourcesExamplesIterable",
    "RebatchedArrowExamplesIterable",
    "RepeatExamplesIterable",
    "SelectColumnsIterable",
    "SkipExamplesIterable",
    "StepExamplesIterable",
    "TakeExamplesIterable",
    "VerticallyConcatenatedMultiSourcesExamplesIterable",
}
"""Parts of Hugging Face's streams whose states are whole; a shuffle buffer's is without its rows."""


def is_of_hugging_face(dataset: Any) -> bool:
    """Whether a dataset is a stream of Hugging Face's `datasets`."""
    module = sys.modules.get(MODULE)  # none is there before the module is; to import it takes a second
    return module is not None and isinstance(dataset, module.IterableDataset)


def keeps_its_place(dataset: Any) -> bool:
    """Whether a stream of Hugging Face goes on exactly from its state: all of its parts are known to."""
    version = tuple(map(int, importlib.metadata.version("datasets").split(".")[:2]))
    return version >= SINCE and _keeps(vars(dataset).get("_ex_iterable"))


def _keeps(part: Any) -> bool:
    if type(part).__module__ != MODULE:
        return False
    if type(part).__name__ in SOURCES:
        return True
    inner = [*vars(part).get("ex_iterables", []), *filter(None, [vars(part).get("ex_iterable")])]
    return type(part).__name__ in KEEPING and bool(inner) and all(map(_keeps, inner))
