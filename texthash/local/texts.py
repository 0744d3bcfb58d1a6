"""Conversion of texts and labels, from lists, columns or tables, into plain lists."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from texthash.api.missing import is_missing
from texthash.arguments import check_strings, shown
from texthash.errors import UsageError

COLUMN = "text"


def as_texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    """Return texts as a list of strings.

    Args:
        texts: List, pandas or pyarrow column, NumPy array or any iterable of strings; or a table
            (``datasets.Dataset``, ``ray.data.Dataset``, ``pyarrow.Table``, ``pandas.DataFrame``) with one
            named ``text``.
        name: Name of the argument, for errors.

    Raises:
        UsageError: ``texts`` is a single string, a mapping, or a table without ``text``; or a text is not a string.
    """
    values = _column(texts, name, COLUMN)
    check_strings(name, values)
    for place, value in enumerate(values):
        try:
            value.encode()
        except UnicodeEncodeError as error:  # no index could store it
            raise UsageError(
                f"{name}[{place}] is not Unicode text: a lone surrogate at character {error.start}.",
                "read its source as UTF-8, or replace it.",
            ) from None
    return values


def as_labels(labels: Iterable[Any] | None, count: int, name: str = "labels") -> list[list[str]] | None:
    """Return the labels of each text as a list of strings; None if there are no labels.

    Args:
        labels: One entry per text: a string, a number, a list of these, or None for a text without labels.
        count: Number of texts.
        name: Name of the argument, for errors.

    Raises:
        UsageError: The number of entries is not that of the texts, or a label is neither a string nor a whole number.
    """
    if labels is None:
        return None
    entries = _column(labels, name, name)
    if len(entries) != count:
        raise UsageError(f"there are {len(entries)} {name} for {count} texts.", "give one entry for each text.")
    return [_labels(entry, f"{name}[{place}]") for place, entry in enumerate(entries)]


def as_ids(ids: Iterable[str | int]) -> list[str]:
    """Return ids as a list of strings; whole numbers become their digits, as those of files do.

    Args:
        ids: List or column of strings or whole numbers, or a table with a column ``id``.

    Raises:
        UsageError: An id is neither, or is missing.
    """
    from texthash.corpora.readers import fields

    found = []
    for place, value in enumerate(_column(ids, "ids", "id")):
        try:
            found.append(value if isinstance(value, str) else fields.name(value))
        except fields.FieldError as error:
            raise UsageError(
                f"ids[{place}] {error}.", "give a string or a whole number; leave out what is missing."
            ) from None
    return as_texts(found, "ids")


def as_titles(titles: Iterable[str | None] | None, count: int) -> list[str]:
    """Return the title of each text; the empty text where it is missing, or where there are no titles.

    Args:
        titles: One string a text, or what stands for none (None, NaN, NA); a table with a column ``title``.
        count: Number of texts.

    Raises:
        UsageError: The number of titles is not that of the texts, or one is neither a string nor missing.
    """
    if titles is None:
        return [""] * count
    found = as_texts(["" if is_missing(title) else title for title in _column(titles, "titles", "title")], "titles")
    if len(found) != count:
        raise UsageError(
            f"there are {len(found)} titles for {count} texts.", "give one for each text, or an empty one."
        )
    return found


def as_attributes(attributes: Iterable[Mapping[str, Any] | None] | None, count: int) -> list[dict[str, Any]] | None:
    """Return the attributes of each text by name; None where there are none at all.

    Args:
        attributes: One mapping a text, or None for a text without attributes; or a table, whose columns are the
            attributes. Scalars of numpy count as Python's; what is missing there (None, NaN, NA, NaT) is left out.
        count: Number of texts.

    Raises:
        UsageError: another number of entries than texts, or a name or a value that no attribute has.
    """
    if attributes is None:
        return None
    from texthash.api.attributes import read_attributes

    entries = _rows(attributes)
    if len(entries) != count:
        raise UsageError(f"there are {len(entries)} attributes for {count} texts.", "give one mapping for each text.")
    found = []
    for place, entry in enumerate(entries):
        if entry is not None and not isinstance(entry, Mapping):
            raise UsageError(
                f"attributes[{place}] is {shown(entry)}.", "give a mapping, such as {'year': 2024}, or None."
            )
        try:
            found.append(read_attributes({key: _plain(value) for key, value in (entry or {}).items()}))
        except ValueError as error:
            raise UsageError(
                f"attributes[{place}]: {error}.", "give strings, finite numbers, booleans and dates."
            ) from None
    return found


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy or Arrow as a Python value; None for one that is missing."""
    if is_missing(value):  # NaN too, with which pandas fills a column of numbers
        return None
    if hasattr(value, "as_py"):
        return value.as_py()
    if hasattr(value, "to_pydatetime"):  # a date of pandas, as a saved index has those of Python
        return value.to_pydatetime(warn=False)
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def check_ids(ids: list[str]) -> None:
    """Raise :class:`UsageError` naming the first id that occurs twice, is empty or is longer than others may be."""
    from texthash.api.requests import MAX_ID

    check_unique(ids)
    for place, value in enumerate(ids):
        if not 1 <= len(value) <= MAX_ID:
            shown = f"{value[:20]!r}..., {len(value):,} characters" if value else "empty"
            raise UsageError(f"ids[{place}] is {shown}.", f"give an id of 1 to {MAX_ID} characters.")


def check_unique(ids: list[str], name: str = "ids") -> None:
    """Raise :class:`UsageError` naming the first id that occurs twice."""
    seen: set[str] = set()
    for value in ids:
        if value in seen:
            raise UsageError(f"{name} has {value!r} twice.", "give each document an id of its own.")
        seen.add(value)


def _rows(values: Any) -> list[Any]:
    """Return the rows of a table of attributes as mappings, or the members of a list."""
    if hasattr(values, "take_all"):  # ray.data.Dataset
        return list(values.take_all())
    if hasattr(values, "column_names") and not isinstance(values, Mapping):  # pyarrow.Table, datasets.Dataset
        return list(values.to_pylist() if hasattr(values, "to_pylist") else values)
    if getattr(values, "ndim", 1) == 2 and hasattr(values, "to_dict"):  # pandas.DataFrame
        return list(values.to_dict("records"))
    return _column(values, "attributes", "attributes")


def _column(values: Any, name: str, column: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise UsageError(f"{name}={values[:40]!r} is one text.", f"give a list of texts: {name}=[...].")
    if hasattr(values, "take_all"):  # ray.data.Dataset
        _check_column(values.columns(), name, column)
        return [row[column] for row in values.select_columns([column]).take_all()]
    names = getattr(values, "column_names", None)  # datasets.Dataset, pyarrow.Table
    if names is None and getattr(values, "ndim", 1) == 2:  # pandas.DataFrame
        names = getattr(values, "columns", None)
    if names is not None and not isinstance(values, Mapping):
        _check_column(names, name, column)
        values = values[column]
    if isinstance(values, AbstractSet):
        raise UsageError(f"{name} is a set, which has no order.", f"give a list: {name}=[...].")
    if isinstance(values, Mapping):
        raise UsageError(f"{name} is a mapping.", f"give its values: list({name}.values()).")
    if hasattr(values, "to_pylist"):  # a column of pyarrow
        return list(values.to_pylist())
    if hasattr(values, "tolist"):  # a column of NumPy or pandas
        found = values.tolist()
        if isinstance(found, list):
            return found
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise UsageError(f"{name} is a {type(values).__name__}.", "give a list of texts, or a column of a table.")
    return list(values)


def _check_column(names: Iterable[Any] | None, name: str, column: str) -> None:
    known = [] if names is None else [str(one) for one in names]
    if column not in known:
        raise UsageError(
            f"{name} is a table without a column {column!r}; it has {', '.join(known) or 'none'}.",
            f"give the column itself, such as {name}=table[{known[0] if known else column!r}].",
        )


def _labels(entry: Any, name: str) -> list[str]:
    if is_missing(entry):  # NaN in a column of pandas
        return []
    if isinstance(entry, str) or not isinstance(entry, Iterable) or getattr(entry, "ndim", 1) == 0:
        entry = [entry]
    if isinstance(entry, Mapping):
        raise UsageError(f"{name} is a mapping.", "give strings or whole numbers.")
    found = []
    for label in entry:
        label = label.as_py() if hasattr(label, "as_py") else label
        try:
            found.append(label if isinstance(label, str) else _digits(label))
        except (TypeError, ValueError):
            raise UsageError(
                f"{name} holds {shown(label)}, a {type(label).__name__}.", "give strings or whole numbers."
            ) from None
    return found


def _digits(number: Any) -> str:
    """Return the digits of a whole number; TypeError for another value, ValueError for one of thousands of digits."""
    if isinstance(number, bool) or is_missing(number):
        raise TypeError
    return str(operator.index(number))
