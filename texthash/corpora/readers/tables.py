"""Rows of JSONL, JSON, CSV, TSV and Parquet files, uninterpreted, with their line numbers."""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from texthash.corpora.readers import json_text
from texthash.corpora.readers.text_files import DAMAGES, Span, damaged, line_spans, lines, open_text
from texthash.errors import CorpusError
from texthash.input_files import require_file

Row = Mapping[str, Any]

JSONL_SUFFIXES = (".jsonl", ".jsonl.gz")
JSON_SUFFIXES = (".json", ".json.gz")
TAB_SUFFIXES = (".tsv", ".tsv.gz")
CELL_SUFFIXES = (".csv", ".csv.gz", *TAB_SUFFIXES)
ROW_SUFFIXES = (*JSONL_SUFFIXES, *CELL_SUFFIXES, ".parquet")
"""Suffixes of files that are always tables."""
READ_SUFFIXES = (*ROW_SUFFIXES, *JSON_SUFFIXES)
"""Suffixes of files that can be read as tables. In a folder, JSON counts only if all files are JSON."""
_HEAD_CHARACTERS = 4096
_NEVER_TEXT = ("id", "label", "labels", "split", "title")
_NAMED = 20  # columns in an error
_NAME_WIDTH = 60
_SEPARATORS = ",;\t"
_LINED_JSON = 'write [{"text": "..."}, ...], or one object a line (pandas: to_json(orient="records")).'


def is_table(path: Path, suffixes: tuple[str, ...] = ROW_SUFFIXES) -> bool:
    """Return whether the name of a file has one of the suffixes, ignoring case."""
    return path.name.lower().endswith(suffixes)


def spans(path: Path, size: int) -> list[Span | None]:
    """Return spans of about ``size`` bytes of whole lines or row groups; None stands for an indivisible file."""
    name = path.name.lower()
    try:
        found: Iterable[Span] = line_spans(path, size) if name.endswith((".jsonl", ".txt")) else ()
        found = _row_groups(path, size) if name.endswith(".parquet") else found
        return list(found) or [None]
    except (pa.ArrowException, OSError):
        return [None]  # the error is reported when the file is read


def _row_groups(path: Path, size: int) -> Iterator[Span]:
    metadata = pq.read_metadata(path)
    begin = before = rows = bytes_ = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        bytes_ += metadata.row_group(group).total_byte_size
        if bytes_ >= size or group + 1 == metadata.num_row_groups:
            yield Span(begin, group + 1, before)
            begin, before, bytes_ = group + 1, rows, 0


def rows(
    path: Path, span: Span | None = None, *, columns: Collection[str] = (), required: Collection[str] = ()
) -> Iterator[tuple[int, Row]]:
    """Yield the line (in Parquet and lists of JSON the row) number from 1, and the row.

    Args:
        path: A file with one of :data:`READ_SUFFIXES`.
        span: Span of the file to read; None: the whole file.
        columns: Columns that are read from Parquet.
        required: Columns that a table with a header must have; they also determine the separator of CSV.

    Raises:
        CorpusError: The file is malformed (names file and line).
    """
    require_file(path, "name a file of rows.", CorpusError)
    if is_table(path, JSONL_SUFFIXES):
        return _json_rows(path, span)
    if is_table(path, CELL_SUFFIXES):
        return _cell_rows(path, required)
    if is_table(path, (".parquet",)):
        return parquet_rows(path, columns, span, required)
    if is_table(path, JSON_SUFFIXES):
        return _array_rows(path)
    raise CorpusError(
        f"{path} has no supported format.", f"give a folder of text or one of {', '.join(READ_SUFFIXES)}."
    )


def cells(lines: Iterable[tuple[int, str]], name: str, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield uninterpreted rows of CSV: the line at which each ends, and its cells. ``name`` is the file in errors."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader((line for _, line in lines), strict=True, delimiter=separator)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise CorpusError(f"{name}:{reader.line_num}: not CSV: {error}", "correct the quoting.") from error


def separator_of(path: Path, header: str, required: Collection[str] = ()) -> str:
    """Return the separator of a table: that of its suffix, or another one that yields the required columns."""
    usual = "\t" if is_table(path, TAB_SUFFIXES) else ","
    for separator in (usual, *_SEPARATORS.replace(usual, "")):
        found = next(csv.reader([header], delimiter=separator), [])
        if {*required} <= {name.strip() for name in found}:
            return separator
    return usual


def separator_in(path: Path, required: Collection[str] = ()) -> str:
    """Return the separator by which :func:`rows` reads a table of cells."""
    header = next((line for _, line in lines(path) if line.strip()), "")
    return separator_of(path, header, required)


def parquet_rows(
    path: Path, columns: Collection[str], span: Span | None = None, required: Collection[str] = ()
) -> Iterator[tuple[int, Row]]:
    """Yield the row number from 1, and the row with those of ``columns`` that the file has."""
    number = span.before if span else 0
    try:
        file = pq.ParquetFile(path)
        found = file.schema_arrow.names
        _check_header([name for name in found if name in columns], found, required, str(path))
        wanted = [name for name in found if name in columns]
        groups = list(range(span.begin, span.end)) if span else None
        for part in file.iter_batches(1024, row_groups=groups, columns=wanted or None):
            for row in part.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # ValueError: dates beyond those of Python
        raise CorpusError(
            f"{path}: not a readable Parquet file after row {number}: {error}", "write the file again."
        ) from error


def json_items(path: Path, what: str) -> Iterator[tuple[int, Row]]:
    """Yield the objects of a JSON list with their number; one is in memory at a time.

    Args:
        path: Path of the file, gzipped or not.
        what: Name of an object in errors, ``row`` or ``question``.

    Raises:
        CorpusError: The file is malformed (names the file and the number of the object).
    """
    number = 0
    try:
        with open_text(path) as file:
            for number, item in enumerate(json_text.members(file), start=1):
                if not isinstance(item, dict):
                    raise CorpusError(f"{path}:{number}: a {type(item).__name__}, not an object.", _LINED_JSON)
                yield number, item
    except DAMAGES as error:
        raise CorpusError(
            f"{path}: damaged or cut off after {what} {number}: {' '.join(str(error).split())}", "fetch it again."
        ) from error
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise CorpusError(f"{path}: not JSON after {what} {number}: {error}", "fetch or write it again.") from error


def begins_list(path: Path) -> bool:
    """Return whether the first character of a JSON file opens a list."""
    try:
        with open_text(path) as file:
            while block := file.read(_HEAD_CHARACTERS):
                if begin := block.lstrip():
                    return begin[0] == "["
    except DAMAGES as error:
        raise damaged(error, str(path)) from error
    return False


def _array_rows(path: Path) -> Iterator[tuple[int, Row]]:
    if begins_list(path):
        yield from json_items(path, "row")
        return
    found = _json_rows(path)
    try:
        first = next(found, None)
    except CorpusError as error:
        raise CorpusError(f"{path} has neither a list of rows nor one object a line.", _LINED_JSON) from error
    if first is None:
        raise CorpusError(f"{path} is empty.", _LINED_JSON)
    yield from chain([first], found)


def _json_rows(path: Path, span: Span | None = None) -> Iterator[tuple[int, Row]]:
    for number, line in lines(path, span=span):
        if not line.strip():
            continue
        try:
            row = json_text.decode(line)
        except RecursionError as error:  # thousands of brackets
            raise CorpusError(
                f"{path}:{number}: not JSON: nested too deeply.", "write one JSON object a line."
            ) from error
        except ValueError as error:
            if not line.endswith("\n") and not str(error).startswith("Extra data"):
                raise CorpusError(f"{path}:{number}: cut off: {error}", "fetch or write the file again.") from error
            raise CorpusError(f"{path}:{number}: not JSON: {error}", "write one JSON object a line.") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}:{number}: a {type(row).__name__}, not an object.", "write one object a line.")
        yield number, row


def _cell_rows(path: Path, required: Collection[str]) -> Iterator[tuple[int, Row]]:
    found = lines(path)
    blank = []
    for first in found:
        blank.append(first)
        if first[1].strip():
            break
    else:
        raise CorpusError(f"{path}:1: there is no header.", "begin with the names of the columns.")
    table = cells(chain(blank, found), str(path), separator_of(path, first[1], required))
    line, header = next(table)
    header = [name.strip() for name in header]
    _check_header(header, header, required, f"{path}:{line}")
    for line, row in table:
        if len(row) != len(header):
            raise CorpusError(
                f"{path}:{line}: {len(row)} cells under a header of {len(header)}.",
                "quote cells that hold separators or line breaks.",
            )
        yield line, dict(zip(header, row, strict=True))


def _check_header(names: list[str], found: list[str], required: Collection[str], origin: str) -> None:
    """Raise :class:`CorpusError` if a column occurs twice or a required one is absent."""
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise CorpusError(f"{origin}: the column {twice[0]!r} occurs twice.", "give each column a name of its own.")
    if absent := [name for name in required if name not in found]:
        raise no_column(absent[0], found, origin)


def no_column(name: str, found: Iterable[str], origin: str) -> CorpusError:
    """Return the error of a table or row without a required column."""
    others = [str(column) for column in found]
    text = next((column for column in others if column not in _NEVER_TEXT), "COLUMN")
    return CorpusError(
        f"{origin}: there is no column {name!r}, only {listed_columns(others)}.",
        f"name columns as they are in the file: that of the text, such as corpus.text={_shown(text)}, those of "
        "corpus.attributes, and others in corpus.columns, such as corpus.columns.id; `texthash encode` and `index "
        "upsert` take --text-column and --id-column.",
    )


def listed_columns(names: Sequence[str]) -> str:
    """Return the first names of columns for an error, and the number of the others."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(map(_shown, names[:_NAMED]))}{more}" if names else "nothing"


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."
