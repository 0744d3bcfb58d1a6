"""Vectors in a column of a user's own tables: lists of numbers in Parquet, JSONL or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.corpora.readers import fields, tables
from texthash.corpora.readers.rows import Table, id_of
from texthash.corpora.readers.text_files import Span
from texthash.errors import CorpusError

_ROWS = 1024
_REMEDY = "give every row a list of numbers, all of one length."


class Vectors(NamedTuple):
    """Vectors of some rows.

    Attributes:
        table: File of the rows.
        lines: Line of each row (in Parquet its number), from 1.
        ids: Id of each row.
        values: Vectors, float32 [N, D].
    """

    table: Table
    lines: list[int]
    ids: list[str]
    values: NDArray[np.float32]


def vectors(table: Table, span: Span | None, column: str) -> Iterator[Vectors]:
    """Yield the vectors of one file, or of a span of it, some rows at a time. They may be zero, or not finite.

    Raises:
        CorpusError: There is no such column, or a row has no list of numbers of the length of the others.
    """
    if tables.is_table(table.path, (".parquet",)):
        yield from _of_parquet(table, span, column)
        return
    rows = tables.rows(table.path, span)
    while some := list(islice(rows, _ROWS)):
        values = [_numbers(row.get(column), f"{table.path}:{line}: {column}") for line, row in some]
        lines = [line for line, _ in some]
        lengths = np.array([len(value) for value in values])
        _check_lengths(lengths, lines, table, column)
        ids = [id_of(row, table, line) for line, row in some]
        yield Vectors(table, lines, ids, _single(np.array(values, np.float64)))


def _numbers(value: Any, where: str) -> list[float]:
    try:
        return fields.numbers(value)
    except fields.FieldError as error:
        raise CorpusError(f"{where} {error}.", _REMEDY) from None


def _of_parquet(table: Table, span: Span | None, column: str) -> Iterator[Vectors]:
    path, number = table.path, span.before if span else 0
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if column not in names:
            raise CorpusError(
                f"{path}: there is no column {column!r}, only {tables.listed_columns(names)}.",
                "name the column of the vectors: corpus.features=column:NAME.",
            )
        wanted = [column, *([table.columns.id] if table.columns.id in names and table.columns.id != column else [])]
        groups = list(range(span.begin, span.end)) if span else None
        for part in file.iter_batches(_ROWS, row_groups=groups, columns=wanted):
            lines = [number + place for place in range(1, len(part) + 1)]
            number += len(part)
            rows = part.select(wanted[1:]).to_pylist() if wanted[1:] else [{} for _ in lines]
            ids = [id_of(row, table, line) for row, line in zip(rows, lines, strict=True)]
            yield Vectors(table, lines, ids, _values(part.column(column), lines, table, column))
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{path}: not a readable Parquet file after row {number}: {error}", "write the file again."
        ) from error


def _values(array: pa.Array, lines: list[int], table: Table, column: str) -> NDArray[np.float32]:
    kind = array.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise CorpusError(f"{table.path}: the column {column!r} is of {kind}, not lists of numbers.", _REMEDY)
    lengths = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
    _check_lengths(lengths, lines, table, column)
    flat = array.flatten()
    if flat.null_count:
        row = int(np.argmin(flat.is_valid().to_numpy(zero_copy_only=False))) // int(lengths[0])
        raise CorpusError(f"{table.path}:{lines[row]}: {column} has a null among its numbers.", _REMEDY)
    numbers = flat.to_numpy(zero_copy_only=False)
    return _single(numbers).reshape(len(array), -1)


def _single(numbers: NDArray) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond single precision becomes infinite, and is refused as such
        return numbers.astype(np.float32)


def _check_lengths(lengths: NDArray[np.int64], lines: list[int], table: Table, column: str) -> None:
    wrong = (lengths != lengths[0]) | (lengths < 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        found = "absent" if lengths[row] < 0 else f"a list of {lengths[row]} numbers"
        before = f", and of {lengths[0]} in line {lines[0]}" if row else ""
        raise CorpusError(f"{table.path}:{lines[row]}: {column} is {found}{before}.", _REMEDY)
