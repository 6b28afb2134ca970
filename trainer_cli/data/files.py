"""Rows read from CSV, TSV, JSONL and Parquet files, each with the place it came from."""

from __future__ import annotations

import csv
import glob
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError, missing_extra
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.hub.repository import dataset_file

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
PACKED = (".zip", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".7z")
JSON_LINES = 'one object a line: {"text": "…", "label": "…"}'


@dataclass(frozen=True)
class Table:
    """The columns of one file; `lines` has the line (in Parquet: the row, from 1) at which a row begins."""

    file: str
    columns: dict[str, list[Any]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Where a row stands, as an editor opens it: `train.csv:17`."""
        between = ", row " if self.file.endswith(".parquet") else ":"
        return f"{self.file}{between}{self.lines[row]}"

    def column(self, name: str, key: str) -> list[Any]:
        """A column's values; `key` is where in the configuration its name was given."""
        if name in self.columns:
            return self.columns[name]
        raise UserError(
            f"{self.file} has no column {name!r} ({key})",
            right=f"its columns: {', '.join(self.columns)}\n{did_you_mean(name, self.columns)}".rstrip(),
        )


def named_files(files: str | Sequence[str] | None, key: str) -> list[str]:
    """The files that a value names, each as often as it stands there; a pattern stands for those it matches.

    Raises UserError for a pattern without a match.
    """
    found = []
    for name in [files] if isinstance(files, str) else files or []:
        if not glob.has_magic(name) or name.startswith("hf://") or Path(name).expanduser().exists():
            found.append(name)
            continue
        paths = glob.glob(str(Path(name).expanduser()), recursive=True)
        matches = sorted(path for path in paths if Path(path).is_file())
        if not matches:
            raise UserError(f"{key}: no file matches {name}", right=f"paths start at {Path.cwd()}")
        found += matches
    return found


def ending_of(file: str) -> str:
    """The ending by which a file's format is known, that of .gz aside."""
    return Path(file.lower().removesuffix(".gz")).suffix


def read_table(file: str, key: str) -> Table:
    """The rows of a file, by its ending; `hf://datasets/ORG/NAME/PATH` is fetched from the hub."""
    ending = ending_of(file)
    if ending not in ENDINGS:
        raise UserError(f"{key}: {file} is of no known format", right=f"known endings: {' '.join(ENDINGS)}")
    path = local_path(file, key)
    if ending == ".parquet":
        table = _parquet(path, file)
    elif ending in (".csv", ".tsv"):
        table = _delimited(path, file, "\t" if ending == ".tsv" else ",")
    else:
        table = _json_lines(path, file)
    if len(table) == 0:
        raise UserError(f"{key}: {file} holds no rows")
    return table


def local_path(file: str, key: str) -> Path:
    """The file on this machine, which exists and is no directory."""
    if file.startswith("hf://"):
        return dataset_file(file)
    path = Path(file).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(
            f"{key}: {file} is a directory, and a file is needed",
            right=f"'{key}={file.rstrip('/')}/*' is every file in it",
        )
    folder = path.parent
    near = did_you_mean(path.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
    raise UserError(f"{key}: {file} does not exist", right=near or f"paths start at {Path.cwd()}")


def read_text(path: Path, file: str) -> str:
    """A whole file as UTF-8, without the mark that some editors put first, and with \\n for line ends.

    One that ends in .gz is unpacked.
    """
    if path.suffix.lower() in PACKED:
        raise UserError(f"{file} is packed, and only .gz is unpacked here", right="unpack it first")
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{file} cannot be unpacked: {error}") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise UserError(f"{file}:{line}: byte {byte} is not UTF-8", right="save it as UTF-8") from None
    return text.replace("\r\n", "\n")


def _delimited(path: Path, file: str, delimiter: str) -> Table:
    rows = _csv_rows(read_text(path, file), file, delimiter)
    line, names = next(rows, (1, []))
    if len(set(names)) < len(names):
        raise UserError(f"{file}:{line}: the header names a column twice: {', '.join(names)}")
    columns: list[list[str]] = [[] for _ in names]
    lines = []
    for line, fields in rows:
        if len(fields) != len(names):
            raise UserError(
                f"{file}:{line}: {len(fields)} fields, and the header names {len(names)}",
                right=f"the header: {', '.join(names)}",
            )
        for column, field in zip(columns, fields):
            column.append(field)
        lines.append(line)
    return Table(file, dict(zip(names, columns)), lines)


def _csv_rows(text: str, file: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line at which it begins."""
    limit = csv.field_size_limit(sys.maxsize)  # the module's own limit, 128 KiB, is less than a long text
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    try:
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f"{file}:{line}: {error}",
                    right='quotes stand around the whole field, and are doubled inside: "so ""it"" is"',
                ) from None
            if fields:
                yield line, fields
    finally:
        csv.field_size_limit(limit)


def _lines(text: str) -> Iterator[str]:
    """The text's lines with their ends; only \\n ends one, unlike in str.splitlines."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start : end + 1]
        start = end + 1
    if start < len(text):
        yield text[start:]


def _json_lines(path: Path, file: str) -> Table:
    rows: list[dict[str, Any]] = []
    lines = []
    for line, text in enumerate(_lines(read_text(path, file)), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise UserError(f"{file}:{line}: no JSON: {error}", right=JSON_LINES) from None
        if not isinstance(row, dict):
            raise UserError(f"{file}:{line}: no JSON object but a {type(row).__name__}", right=JSON_LINES)
        rows.append(row)
        lines.append(line)
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(file, {name: [row.get(name) for row in rows] for name in names}, lines)


def _parquet(path: Path, file: str) -> Table:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table as read_parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "text") from error
    try:
        table = read_parquet(path)
    except (ArrowException, OSError) as error:
        raise UserError(f"{file} cannot be read as Parquet: {error}") from error
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Table(file, columns, range(1, table.num_rows + 1))
