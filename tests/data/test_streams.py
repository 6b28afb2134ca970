"""Streams that go on where they stopped: exactly, and without reading again what need not be."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from trainer_cli.data import streams
from trainer_cli.data.loader import TrainLoader
from trainer_cli.data.reader import Batch, Workers
from trainer_cli.data.shuffled import Shuffled
from trainer_cli.data.streams import Pass, State, resumable

Row = dict[str, Any]


class Numbers(IterableDataset[Row]):
    """The numbers from 100 times the epoch on, and something drawn with each; knows where it stands."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epoch = 0
        self.place: dict[str, list[int]] = {"next": [0]}
        self.begin = 0
        self.reads = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> State:
        return self.place

    def load_state_dict(self, state: State) -> None:
        self.begin = state["next"][0]

    def __iter__(self) -> Iterator[Row]:
        begin, self.begin = self.begin, 0
        self.place["next"][0] = begin
        for index in range(begin, self.size):
            self.reads += 1
            self.place["next"][0] = index + 1  # its live state, of which a copy must be taken
            yield {"x": 100 * self.epoch + index, "noise": random.random() + torch.rand(()).item()}


class Plain(IterableDataset[Row]):
    """The same numbers, and no place."""

    def __init__(self, size: int) -> None:
        self.numbers = Numbers(size)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.numbers)


def collate(rows: list[Row]) -> Batch:
    """A batch that says what its collation drew."""
    columns = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
    return {**columns, "drawn": torch.rand(1)}


def loader(dataset: Any, **fields: Any) -> TrainLoader:
    values: dict[str, Any] = {
        "collate": collate,
        "sampling": "random",
        "seed": 3,
        "per_device": 4,
        "accumulation": 1,
        "rank": 0,
        "world_size": 1,
        "drop_last": False,
        "workers": Workers(0),
    }
    return TrainLoader(dataset, **{**values, **fields})


Bits = list[tuple[list[int], list[dict[str, list[float]]], State | None]]


def bits(
    here: TrainLoader, epoch: int = 1, start: int = 0, state: State | None = None, most: int | None = None
) -> Bits:
    found: Bits = []
    for batch in here.updates(epoch, start, 0, state):
        inputs = [{name: column.tolist() for name, column in m.inputs.items()} for m in batch.micro_batches]
        found.append((batch.rows, inputs, batch.after))
        if most == len(found):
            break
    return found


def stored(state: State | None) -> State | None:
    """A state as a checkpoint gives it back."""
    return json.loads(json.dumps(state))


@given(
    size=st.integers(1, 40),
    step=st.integers(1, 9),
    split=st.sampled_from([(12, 1, 1), (4, 3, 1), (2, 2, 3)]),
    block=st.one_of(st.none(), st.integers(1, 50)),
    stateful=st.booleans(),
)
def test_a_stream_goes_on_from_its_state_as_it_would_have(
    size: int, step: int, split: tuple[int, int, int], block: int | None, stateful: bool
) -> None:
    def here(rank: int) -> TrainLoader:
        per_device, accumulation, world_size = split
        source: Any = Numbers(size) if stateful else Plain(size)
        dataset = source if block is None else Shuffled(source, block)
        return loader(
            dataset, per_device=per_device, accumulation=accumulation, world_size=world_size, rank=rank
        )

    straight = [bits(here(rank)) for rank in range(split[2])]
    step = min(step, len(straight[0]))
    for whole in straight:
        assert [after for _, _, after in whole] == [after for _, _, after in straight[0]]
        after = stored(whole[step - 1][2])
        assert (after is None) == (not stateful and block is None)
        rank = straight.index(whole)
        assert bits(here(rank), start=whole[step - 1][0][-1] + 1, state=after) == whole[step:]


def test_nothing_is_read_again_where_a_stream_knows_its_place() -> None:
    _, (_, _, after), *rest = bits(loader(Numbers(30)))
    fresh = Numbers(30)
    assert bits(loader(fresh), start=8, state=after) == rest
    assert fresh.reads == 22
    plain = Plain(30)
    bits(loader(plain), start=8)
    assert plain.numbers.reads == 30


def test_a_state_counts_for_one_pass() -> None:
    dataset = Numbers(30)
    here = loader(dataset)
    whole = bits(here)
    assert bits(here, start=8, state=whole[1][2]) == whole[2:]
    assert bits(here) == whole


def test_another_batch_size_goes_on_at_the_same_row() -> None:
    _, (_, _, after), *_ = bits(loader(Numbers(30)))
    resumed = bits(loader(Numbers(30), per_device=5), start=8, state=after)
    assert [rows[0] for rows, _, _ in resumed] == [8, 13, 18, 23, 28]
    assert resumed[0][1][0]["x"] == [108, 109, 110, 111, 112]


@pytest.mark.slow
def test_states_come_out_of_a_worker() -> None:
    for make in (Numbers, lambda size: Shuffled(Numbers(size), 10)):
        here = loader(make(30))
        whole = bits(here)
        ahead = dataclasses.replace(here, dataset=make(30), workers=Workers(2))
        assert bits(ahead) == whole
        assert bits(ahead, start=12, state=stored(whole[2][2])) == whole[3:]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_in_a_stream_names_the_row(workers: int) -> None:
    class Broken(Numbers):
        def __iter__(self) -> Iterator[Row]:
            for row in super().__iter__():
                yield {**row, "y": 1 / (row["x"] - 10)}

    with pytest.raises(ZeroDivisionError) as caught:
        bits(loader(Broken(30), workers=Workers(workers)), epoch=0)
    said = "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "while reading row 10 of the data" in said


def test_a_pass_of_which_nothing_was_taken_stands_where_it_began() -> None:
    assert Pass(Numbers(3)).state is None
    assert Pass(Numbers(3), {"next": [2]}).state == {"next": [2]}
    assert Pass(Plain(3), {"next": [2]}).state is None


# Streams of Hugging Face

SHARDS = 4
ROWS = 20
"""Of a shard."""

READ: list[int] = []


def generate(shards: list[int]) -> Iterator[Row]:
    for shard in shards:
        for row in range(ROWS * shard, ROWS * (shard + 1)):
            READ.append(row)
            yield {"x": row}


def from_generator(_: Path) -> Any:
    return datasets.IterableDataset.from_generator(generate, gen_kwargs={"shards": [*range(SHARDS)]})


def from_files(directory: Path) -> Any:
    files = [directory / f"{shard}.jsonl" for shard in range(SHARDS)]
    for shard, file in enumerate(files):
        file.write_text("".join(json.dumps({"x": ROWS * shard + row}) + "\n" for row in range(ROWS)))
    return datasets.load_dataset("json", data_files=[*map(str, files)], split="train", streaming=True)


def noisy(row: Row) -> Row:
    return {"noise": random.random()}


def noisy_many(rows: dict[str, list[Any]]) -> dict[str, list[float]]:
    return {"noise": [random.random() for _ in rows["x"]]}


def doubled(rows: dict[str, list[int]]) -> dict[str, list[int]]:
    return {"x": [number for number in rows["x"] for _ in "ab"]}


EXACT: dict[str, Callable[[Any], Any]] = {
    "plain": lambda stream: stream,
    "map": lambda stream: stream.map(lambda row: {"y": row["x"] + 1}),
    "map of many": lambda stream: stream.map(doubled, batched=True, batch_size=7),
    "map by number": lambda stream: stream.map(lambda row, index: {"y": index}, with_indices=True),
    "filter": lambda stream: stream.filter(lambda row: row["x"] % 3 > 0),
    "format": lambda stream: stream.map(lambda row: {"y": row["x"] + 1}).with_format("torch"),
    "part": lambda stream: stream.skip(5).take(60),
    "repeat": lambda stream: stream.repeat(2),
    "concatenate": lambda stream: datasets.concatenate_datasets([stream, stream.take(9)]),
    "interleave": lambda stream: datasets.interleave_datasets(
        [stream, stream.skip(9)], probabilities=[0.3, 0.7], seed=1
    ),
}
INEXACT: dict[str, Callable[[Any], Any]] = {
    "shuffle": lambda stream: stream.shuffle(seed=1, buffer_size=10),
    "map after shuffle": lambda stream: stream.shuffle(seed=1, buffer_size=10).map(
        lambda row: {"y": row["x"]}
    ),
    "shuffle after map": lambda stream: stream.map(lambda row: {"y": row["x"]}).shuffle(1, buffer_size=10),
    "one of two": lambda stream: datasets.interleave_datasets(
        [stream, stream.shuffle(seed=1, buffer_size=10)]
    ),
    "noise": lambda stream: stream.map(noisy),
    "noise of many": lambda stream: stream.map(noisy_many, batched=True, batch_size=7),
}


def without_states(batches: Bits) -> list[Any]:
    """One place has several states there, which differ in what was read when."""
    return [(rows, inputs) for rows, inputs, _ in batches]


@pytest.mark.parametrize("source", [from_generator, from_files])
@pytest.mark.parametrize("name", [*EXACT, *INEXACT])
def test_streams_of_hugging_face_go_on_as_they_would_have(source: Any, name: str, tmp_path: Path) -> None:
    make = {**EXACT, **INEXACT}[name]
    for epoch in (0, 2):
        whole = without_states(bits(loader(make(source(tmp_path))), epoch))
        found: Bits = []
        for updates in (1, 1, 3, 5, len(whole)):  # of each of these runs
            start, after = (found[-1][0][-1] + 1, stored(found[-1][2])) if found else (0, None)
            assert (after is None) == (name in INEXACT or not found)
            found += bits(loader(make(source(tmp_path))), epoch, start, after, updates)
        assert without_states(found) == whole


@pytest.mark.slow
@pytest.mark.parametrize("source", [from_generator, from_files])
@pytest.mark.parametrize("name", ["map of many", "interleave", "shuffle", "noise"])
def test_workers_change_nothing_in_streams_of_hugging_face(source: Any, name: str, tmp_path: Path) -> None:
    here = loader({**EXACT, **INEXACT}[name](source(tmp_path)))
    ahead = dataclasses.replace(here, workers=Workers(2))
    whole = bits(here)
    assert bits(ahead) == whole
    resumed = bits(ahead, start=12, state=whole[2][2])
    assert without_states(resumed) == without_states(whole[3:])


def test_of_files_that_were_read_none_is_opened_again(tmp_path: Path) -> None:
    whole = bits(loader(from_generator(tmp_path)))
    READ.clear()
    assert bits(loader(from_generator(tmp_path)), start=52, state=whole[12][2]) == whole[13:]
    assert len(READ) == ROWS * SHARDS - ROWS * 2  # the third is passed over up to the row
    mapped: list[int] = []

    def note(row: Row) -> Row:
        mapped.append(row["x"])
        return row

    state = bits(loader(from_files(tmp_path).map(dict)))[12][2]
    bits(loader(from_files(tmp_path).map(note)), start=52, state=state)
    assert mapped == [*range(52, 80)]


def test_a_state_of_hugging_face_counts_for_one_pass_too(tmp_path: Path) -> None:
    here = loader(from_generator(tmp_path))
    whole = bits(here)
    assert bits(here, start=52, state=whole[12][2]) == whole[13:]
    assert bits(here) == whole


@pytest.mark.parametrize(("version", "kept"), [("4.8.4", False), ("5.2.0", True), ("5.10.1.dev0", True)])
def test_states_of_old_versions_are_not_trusted(
    version: str, kept: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    assert (resumable(from_generator(tmp_path)) is not None) == kept


def test_a_part_that_nobody_has_looked_at_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streams, "KEEPING", streams.KEEPING - {"SkipExamplesIterable"})
    assert resumable(EXACT["part"](from_generator(tmp_path))) is None
    assert resumable(EXACT["map"](from_generator(tmp_path))) is not None
