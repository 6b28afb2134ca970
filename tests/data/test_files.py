"""Rows read from the four formats, and what a broken file gets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.data.files import Table, local_path, named_files, read_table


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def error(file: str) -> str:
    with pytest.raises(UserError) as caught:
        read_table(file, "data.train_file")
    return caught.value.block()


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    texts, labels = ['a "quoted", text', "two\nlines", "naïve ☕"], [0, 1, 1]
    csv = write(tmp_path / "a.csv", 'text,label\n"a ""quoted"", text",0\n"two\nlines",1\nnaïve ☕,1\n')
    tsv = write(tmp_path / "a.tsv", 'text\tlabel\n"a ""quoted"", text"\t0\n"two\nlines"\t1\nnaïve ☕\t1\n')
    jsonl = write(
        tmp_path / "a.jsonl",
        '{"text": "a \\"quoted\\", text", "label": 0}\n\n{"text": "two\\nlines", "label": 1}\n'
        '{"label": 1, "text": "naïve ☕"}\n',
    )
    parquet = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": texts, "label": labels}), parquet)
    for file in (csv, tsv, jsonl, parquet):
        table = read_table(file, "data.train_file")
        assert table.columns["text"] == texts
        assert [int(label) for label in table.columns["label"]] == labels
    assert read_table(csv, "k").place(2) == f"{csv}:5"
    assert read_table(jsonl, "k").place(1) == f"{jsonl}:3"
    assert read_table(parquet, "k").place(1) == f"{parquet}, row 2"


def test_windows_line_ends_and_the_mark_of_excel(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\r\nfine,1\r\n\r\nbad,0\r\n")
    table = read_table(str(path), "k")
    assert table.columns == {"text": ["fine", "bad"], "label": ["1", "0"]}
    assert table.place(1) == f"{path}:4"


def test_a_unicode_line_separator_does_not_end_a_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "one\u2028row\x85"}\n{"text": "two"}\n')
    assert read_table(file, "k").columns["text"] == ["one\u2028row\x85", "two"]


def test_a_field_may_be_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", f"text\n{'x' * 200_000}\n")
    assert len(read_table(file, "k").columns["text"][0]) == 200_000


def test_a_missing_file_names_its_key_and_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text\na\n")
    block = error(str(tmp_path / "trian.csv"))
    assert (
        "data.train_file" in block
        and "trian.csv does not exist" in block
        and "did you mean train.csv" in block
    )


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a directory"):
        local_path(str(tmp_path), "data.train_file")


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("a.csv", "text,label\nfine,1\nthree,fields,here\n", ":3", "3 fields, and the header names 2"),
        ("a.csv", 'text,label\n"never closed,1\n', ":2", "unexpected end of data"),
        ("a.csv", "text,text\na,b\n", ":1", "names a column twice"),
        ("a.tsv", 'text\tlabel\n"he" said\t1\n', ":2", "doubled inside"),
        ("a.jsonl", '{"text": "a"}\n{"text": }\n', ":2", "no JSON"),
        ("a.jsonl", '["a", 1]\n', ":1", "no JSON object but a list"),
        ("a.json", '[\n{"text": "a"}]\n', ":1", "one object a line"),
        ("a.csv", "text,label\n", "", "holds no rows"),
        ("a.csv", "", "", "holds no rows"),
        ("a.jsonl", "\n", "", "holds no rows"),
        ("a.parquet", "no such thing", "", "cannot be read as Parquet"),
        ("a.xlsx", "", "", "known endings: .csv .tsv .jsonl .json .parquet"),
    ],
)
def test_a_broken_file_is_named_with_its_row(
    tmp_path: Path, name: str, content: str, where: str, what: str
) -> None:
    file = write(tmp_path / name, content)
    block = error(file)
    assert file + where in block and what in block


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\nfine\ncafé\n".encode("latin-1"))
    assert f"{path}:3: byte 0xe9 is not UTF-8" in error(str(path))


def test_a_missing_column_names_those_that_exist() -> None:
    table = Table("train.csv", {"sentence": ["a"], "label": ["1"]}, [2])
    with pytest.raises(UserError) as caught:
        table.column("sentense", "data.text_column")
    block = caught.value.block()
    assert "train.csv has no column 'sentense' (data.text_column)" in block
    assert "its columns: sentence, label" in block and "did you mean sentence?" in block


def test_a_pattern_stands_for_the_files_that_match(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt", "[d].csv"):
        (tmp_path / name).write_text("text\nx")
    (tmp_path / "e.csv").mkdir()
    place = f"{tmp_path}/"
    assert named_files(f"{place}*.csv", "k") == [place + name for name in ("[d].csv", "a.csv", "b.csv")]
    assert named_files([f"{place}c.txt", f"{place}[d].csv"], "k") == [f"{place}c.txt", f"{place}[d].csv"]
    assert named_files(None, "k") == named_files([], "k") == []
    with pytest.raises(UserError, match=r"data.train_file: no file matches .*\*.tsv"):
        named_files(f"{place}*.tsv", "data.train_file")
    with pytest.raises(UserError) as caught:
        local_path(place, "data.train_file")
    assert f"'data.train_file={place}*' is every file in it" in caught.value.block()
