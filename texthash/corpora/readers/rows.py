"""Rows of JSONL, CSV and Parquet files, with the line each was read from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from texthash.corpora.document import SPLITS, Document
from texthash.errors import CorpusError

ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
_COLUMNS = ("id", "text", "labels", "label", "split", "title", "queries", "negatives")
_ALSO_CALLED = {"val": "validation", "valid": "validation", "dev": "validation", "all": ""}
_TYPES_OF_NAMES = {str, int, bool}
_CANONICAL = 'a row looks like {"id": "1", "text": "...", "labels": ["a"], "split": "train"}.'


@dataclass(frozen=True)
class Span:
    """A piece of a file: bytes ``begin`` to ``end`` of lines, or row groups of Parquet; ``before`` rows precede it."""

    begin: int
    end: int
    before: int


def spans(path: Path, size: int) -> list[Span | None]:
    """Pieces of about ``size`` bytes that end with a line, or row groups; None is the whole of a file without such."""
    name = path.name.lower()
    try:
        found = _lines_of(path, size) if name.endswith((".jsonl", ".txt")) else ()
        found = _row_groups(path, size) if name.endswith(".parquet") else found
        return list(found) or [None]
    except (pa.ArrowException, OSError):
        return [None]  # who reads it says what is wrong


def _lines_of(path: Path, size: int) -> Iterator[Span]:
    begin = before = 0
    with path.open("rb") as file:
        while block := file.read(size):
            rest = file.readline()
            yield Span(begin, begin + len(block) + len(rest), before)
            begin += len(block) + len(rest)
            before += block.count(b"\n") + rest.count(b"\n")


def _row_groups(path: Path, size: int) -> Iterator[Span]:
    metadata = pq.read_metadata(path)
    begin = before = rows = bytes_ = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        bytes_ += metadata.row_group(group).total_byte_size
        if bytes_ >= size or group + 1 == metadata.num_row_groups:
            yield Span(begin, group + 1, before)
            begin, before, bytes_ = group + 1, rows, 0


def documents(path: Path, span: Span | None = None) -> Iterator[Document]:
    """The documents of one file, or of a piece of it.

    ``text`` is required. ``id`` defaults to file name and line. ``labels`` is a list, or in CSV names joined by ``|``;
    ``label`` is one name. ``split`` is train, validation (also val or dev) or test, or empty or ``all`` for none;
    ``title`` is free.
    In a pair corpus ``queries`` are the questions that the text answers, and ``negatives`` the ids of texts that look
    like answers to them and are none; both are written as ``labels`` are.

    Raises:
        CorpusError: naming file and line.
    """
    for line, row in rows(path, span):
        yield document(row, path, line)


def rows(path: Path, span: Span | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line (or row) number from 1, and the row."""
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _json_rows(path, span)
    if name.endswith((".csv", ".csv.gz")):
        return _csv_rows(path)
    if name.endswith(".parquet"):
        return parquet_rows(path, _COLUMNS, span)
    raise CorpusError(
        f"{path} is in no format that is read.", f"give a folder of text or one of {', '.join(ROW_SUFFIXES)}."
    )


def lines(path: Path, encoding: str = "utf-8", span: Span | None = None) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, gzipped or not, or of a piece of one that is not.

    Damage is reported with the line where it begins.
    """
    with open_text(path, encoding) if span is None else _open_span(path, encoding, span) as file:
        yield from numbered(file, str(path), span.before if span else 0)


def numbered(file: TextIO, name: str, before: int = 0) -> Iterator[tuple[int, str]]:
    """The same of an open file, after ``before`` lines; ``name`` stands in errors."""
    number = before
    try:
        for number, line in enumerate(file, start=before + 1):
            yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(
            f"{name}:{number + 1}: the gzip file is damaged or cut off: {error}", "fetch or compress the file again."
        ) from error
    except UnicodeDecodeError as error:  # of the block that begins in the next line and is decoded at once
        wrong = number + 1 + error.object.count(b"\n", 0, error.start)
        raise CorpusError(
            f"{name}:{wrong}: not {error.encoding} text: {error.reason}, byte 0x{error.object[error.start]:02x}.",
            "convert the file to UTF-8.",
        ) from error
    except OSError as error:
        raise CorpusError(
            f"{name}:{number + 1}: cannot be read: {error}", "check the disk or copy the file."
        ) from error


def cells(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of CSV without their meaning: the line where each ends, and its cells; ``name`` stands in errors."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader((line for _, line in lines), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise CorpusError(f"{name}:{reader.line_num}: not CSV: {error}", "correct the quoting.") from error


def open_text(path: Path, encoding: str = "utf-8") -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding=encoding, newline="")
        return path.open(encoding=encoding, newline="")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.", "check the path and its permissions.") from error


def _open_span(path: Path, encoding: str, span: Span) -> TextIO:
    with path.open("rb") as file:
        file.seek(span.begin)
        content = file.read(span.end - span.begin)
    return io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="")


def _json_rows(path: Path, span: Span | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in lines(path, span=span):
        if not line.strip():
            continue
        try:
            row = json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
            if not line.endswith("\n"):
                raise CorpusError(f"{path}:{number}: cut off: {error}", "fetch or write the file again.") from error
            raise CorpusError(f"{path}:{number}: not JSON: {error}", "write one JSON object a line.") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}:{number}: a {type(row).__name__}, not an object.", _CANONICAL)
        yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    table = cells(lines(path), str(path))
    _, header = next(table, (0, [""]))
    header[0] = header[0].removeprefix("\ufeff")
    if twice := [name for number, name in enumerate(header) if name in header[:number]]:
        raise CorpusError(f"{path}:1: the column {twice[0]!r} occurs twice.", "give each column a name of its own.")
    for line, row in table:
        if len(row) != len(header):
            raise CorpusError(
                f"{path}:{line}: {len(row)} cells under a header of {len(header)}.",
                "quote cells that hold commas or line breaks.",
            )
        yield line, dict(zip(header, row, strict=True))


def parquet_rows(
    path: Path, columns: Collection[str], span: Span | None = None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Row number from 1, and the row: those of ``columns`` that the file has."""
    number = span.before if span else 0
    try:
        file = pq.ParquetFile(path)
        wanted = [name for name in file.schema_arrow.names if name in columns]
        groups = list(range(span.begin, span.end)) if span else None
        for part in file.iter_batches(1024, row_groups=groups, columns=wanted or None):
            for row in part.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path}: not a readable Parquet file after row {number}: {error}", "write the file again."
        ) from error


def document(row: Mapping[str, Any], path: Path, line: int) -> Document:
    """The document of one row; raises :class:`CorpusError`."""
    origin = f"{path}:{line}"
    if "text" not in row:
        raise CorpusError(f"{origin}: there is no text, only {', '.join(map(str, row)) or 'nothing'}.", _CANONICAL)
    text = row["text"]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise CorpusError(f"{origin}: text is a {type(text).__name__}.", _CANONICAL)
    id_ = row.get("id")
    split = row.get("split") or ""
    split = _ALSO_CALLED.get(split, split)
    if split and split not in SPLITS:
        raise CorpusError(f"{origin}: unknown split {split!r}.", f"use {', '.join(SPLITS)}, or leave it out.")
    return Document(
        id=str(id_) if id_ not in (None, "") else f"{path.name}:{line}",
        text=text,
        labels=_labels(row, origin),
        split=split,
        title=str(row.get("title") or ""),
        origin=origin,
        queries=_names(row, "queries", origin),
        negatives=_names(row, "negatives", origin),
    )


def _labels(row: Mapping[str, Any], origin: str) -> tuple[str, ...]:
    if row.get("labels") is None:
        label = row.get("label")
        return () if label in (None, "") else (str(label),)
    return _names(row, "labels", origin)


def _names(row: Mapping[str, Any], column: str, origin: str) -> tuple[str, ...]:
    names = row.get(column)
    if names is None:
        return ()
    if isinstance(names, str):
        return tuple(part.strip() for part in names.split("|") if part.strip())
    if not isinstance(names, list) or not set(map(type, names)) <= _TYPES_OF_NAMES:
        raise CorpusError(f"{origin}: {column}={names!r} is not a list of names.", _CANONICAL)
    return tuple(map(str, names))
