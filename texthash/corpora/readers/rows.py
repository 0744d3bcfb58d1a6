"""Documents of rows: one typed interpretation of a row for all table formats.

:class:`Columns` names the columns. ``text`` is required; a missing value (null, NaN, an empty cell) is the empty text.
``id`` is text or a whole number, by default file name and line. ``labels`` is a list of names, or names joined by
``|``; ``label`` is one name, or a list. ``split`` is one of :data:`~texthash.corpora.document.SPLIT_NAMES`. ``title``
is shown and not encoded, unless it is one of the columns of the text. In a pair corpus ``queries`` are the questions
that the text answers, and ``negatives`` the ids of texts that look like answers to them but are not; both have the form
of ``labels``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from texthash.api.attributes import AttributeColumn, Value
from texthash.api.requests import MAX_ID
from texthash.config import CorpusConfig
from texthash.corpora.document import NO_ID, Document
from texthash.corpora.readers import fields, tables
from texthash.corpora.readers.attributes import attribute
from texthash.corpora.readers.fields import FieldError
from texthash.corpora.readers.tables import Row, no_column
from texthash.corpora.readers.text_files import Span
from texthash.errors import CorpusError

T = TypeVar("T")
_LONGEST_SHOWN = 200
_JSON = 'a row looks like {"id": "1", "text": "...", "labels": ["a"], "split": "train"}.'
_PARQUET = "the columns are id, text, title, split (strings) and labels (a list of strings)."
_CELLS = ("id", "text", "labels", "split"), ("1", "...", "a|b", "train")


@dataclass(frozen=True)
class Columns:
    """Names of the columns.

    Attributes:
        text: Columns whose texts, joined by line breaks, are the text of a document.
        id: Column of the id; if it is not named ``id``, it is required in every row.
        vector: Column of the vectors, which is required in every row; None reads none.
        attributes: Columns of the attributes. A table with a header needs them, and a row may lack a value.
        labels: Column of the labels, which a table with a header then needs; None: ``labels`` and ``label``, if it has
            them. A text in a column that is not named ``label`` is several labels, joined by ``|``.
        title: Column of the title; if it is not named ``title``, a table with a header needs it.
        split: Column of the split; if it is not named ``split``, a table with a header needs it.
    """

    text: tuple[str, ...] = ("text",)
    id: str = "id"
    vector: str | None = None
    attributes: tuple[AttributeColumn, ...] = ()
    labels: str | None = None
    title: str = "title"
    split: str = "split"

    @classmethod
    def of(cls, config: CorpusConfig) -> Columns:
        """Return the columns that a configuration names."""
        names = config.columns.model_dump(exclude_none=True)
        return cls(text=config.text, attributes=config.attribute_columns, **names)

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every row has to have."""
        more = () if self.vector is None else (self.vector,)
        return (*self.text, *more) if self.id == Columns.id else (*self.text, self.id, *more)

    @property
    def named(self) -> dict[str, str]:
        """Columns of other than the usual names that a row may lack, by what they hold."""
        usual = {"labels": None, "title": Columns.title, "split": Columns.split}
        return {what: getattr(self, what) for what, name in usual.items() if getattr(self, what) != name}

    @property
    def header(self) -> tuple[str, ...]:
        """Columns that a table with a header has to have."""
        return (*self.required, *self.named.values(), *(column.name for column in self.attributes))

    @property
    def read(self) -> set[str]:
        """All columns that a document is made of."""
        labels = ("labels", "label") if self.labels is None else (self.labels,)
        return {*self.header, self.id, *labels, self.title, self.split, "queries", "negatives"}


@dataclass(frozen=True)
class Table:
    """File of rows, with defaults for its rows.

    Attributes:
        path: Path of the file.
        name: Prefix of the ids of rows without an id; empty: the file name.
        split: Split of rows without a split.
        columns: Names of the columns.
    """

    path: Path
    name: str = ""
    split: str = ""
    columns: Columns = Columns()


def documents(table: Table | Path, span: Span | None = None) -> Iterator[Document]:
    """Yield the documents of one file, or of a span of it.

    Raises:
        CorpusError: A row is invalid (names file and line, and shows the row).
    """
    return _read(table if isinstance(table, Table) else Table(table), span, document)


def texts(table: Table, span: Span | None = None) -> Iterator[Document]:
    """Yield the documents of one file with id and text only; other columns are ignored."""
    return _read(table, span, _text_alone)


def _read(table: Table, span: Span | None, convert: Callable[[Row, Table, int], Document]) -> Iterator[Document]:
    columns = table.columns
    wanted = columns.read if convert is document else {*columns.header, columns.id}
    for line, row in tables.rows(table.path, span, columns=wanted, required=columns.header):
        yield convert(row, table, line)


def document(row: Row, table: Table, line: int) -> Document:
    """Return the document of one row; raises :class:`CorpusError`."""
    try:
        return Document(
            id=id_of(row, table, line),
            text=_text(row, table, line),
            labels=_labels(row, table.columns.labels),
            split=_field(row, table.columns.split, fields.split) or table.split,
            title=_field(row, table.columns.title, _title),
            origin=f"{table.path}:{line}",
            queries=_field(row, "queries", fields.names),
            negatives=_field(row, "negatives", fields.names),
            remark=NO_ID if fields.is_missing(row.get(table.columns.id)) else "",
            vector=None if table.columns.vector is None else _field(row, table.columns.vector, fields.numbers),
            attributes=_attributes(row, table.columns.attributes),
        )
    except FieldError as error:
        raise _refused(row, table, line, error) from error


def _text_alone(row: Row, table: Table, line: int) -> Document:
    try:
        return Document(id_of(row, table, line), _text(row, table, line), origin=f"{table.path}:{line}")
    except FieldError as error:
        raise _refused(row, table, line, error) from error


def _field(row: Row, column: str, read: Callable[[Any], T]) -> T:
    try:
        return read(row.get(column))
    except FieldError as error:
        raise FieldError(f"{column} {error}", error.remedy) from None


def id_of(row: Row, table: Table, line: int) -> str:
    """Return the id of one row; raises :class:`FieldError`, or :class:`CorpusError` where the column is absent."""
    column = table.columns.id
    if column not in row and column in table.columns.required:
        raise no_column(column, row, f"{table.path}:{line}")
    if fields.is_missing(row.get(column)):
        return f"{table.name or table.path.name}:{line}"
    found = _field(row, column, fields.name)
    if len(found) > MAX_ID:
        raise FieldError(f"{column} has {len(found):,} characters, at most {MAX_ID} are allowed")
    return found


def _text(row: Row, table: Table, line: int) -> str:
    columns = table.columns.text
    if absent := [column for column in columns if column not in row]:
        if len(absent) < len(columns):  # an object of JSON, since a table has a header
            raise CorpusError(
                f"{table.path}:{line}: the row has no {absent[0]!r}, one of the columns whose texts are joined.",
                f'write "{absent[0]}": null where a row has none.',
            )
        raise no_column(absent[0], row, f"{table.path}:{line}")
    if len(columns) == 1:
        return _field(row, columns[0], fields.text)
    return "\n".join(filter(None, (_field(row, column, fields.text) for column in columns)))


def _title(value: Any) -> str:
    return "" if fields.is_missing(value) else fields.name(value)


def _labels(row: Row, column: str | None) -> tuple[str, ...]:
    if column is not None:
        return _field(row, column, fields.single if column == "label" else fields.names)
    several, one = _field(row, "labels", fields.names), _field(row, "label", fields.single)
    if several and not {*one} <= {*several}:
        raise FieldError(f"label and labels disagree: {fields.shortened(one)} and {fields.shortened(several)}")
    return several or one


def _attributes(row: Row, columns: Sequence[AttributeColumn]) -> dict[str, Value] | None:
    """Return the attributes of a row by name, without missing ones; None where no column is named."""
    if not columns:
        return None
    values = {name: _field(row, name, partial(attribute, kind=kind)) for name, kind in columns}
    return {name: value for name, value in values.items() if value is not None}


def _refused(row: Row, table: Table, line: int, error: FieldError) -> CorpusError:
    """Return the error of a row, which shows the row and an example of a valid one in the format of its file."""
    path = table.path
    if tables.is_table(path, tables.CELL_SUFFIXES):
        separator = tables.separator_in(path, table.columns.header)
        shown, right = _cells_of(row.values(), separator), " / ".join(_cells_of(c, separator) for c in _CELLS)
        remedy = f"the file begins like {right}."
    else:
        shown = _json_of(row)
        remedy = _PARQUET if tables.is_table(path, (".parquet",)) else _JSON
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "..."
    return CorpusError(f"{path}:{line}: {error}. The row: {shown}", error.remedy or remedy)


def _cells_of(values: Iterable[Any], separator: str) -> str:
    written = io.StringIO()
    csv.writer(written, delimiter=separator, lineterminator="").writerow(values)
    return written.getvalue()


def _json_of(row: Row) -> str:
    try:
        return json.dumps(row, default=fields.shortened)
    except (RecursionError, ValueError, TypeError):  # thousands of brackets or digits, keys that are no text
        return fields.shortened(row)
