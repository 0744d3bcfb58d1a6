"""Order of documents by an attribute, and the page of it that follows a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.api.attributes import Value
from texthash.api.facets import LABELS
from texthash.index.filters.columns import Column
from texthash.index.filters.language import FilterError, Types, known_type
from texthash.index.filters.parts import Part
from texthash.index.filters.selection import Numbers


@dataclass(frozen=True)
class Sort:
    """Order by an attribute, then by document number; documents without the attribute are last.

    Attributes:
        attribute: Name of the attribute.
        descending: True for the largest value first.
    """

    attribute: str
    descending: bool = False


@dataclass(frozen=True)
class After:
    """Place after a document.

    Attributes:
        number: Number of the document.
        value: Value by which it is sorted; None if it has none, or without a sort.
    """

    number: int
    value: Value | None = None


@dataclass(frozen=True, eq=False)
class Listed:
    """Documents in order.

    Attributes:
        numbers: Number of each, int64.
        values: Value of each by which it is sorted; all None without a sort.
    """

    numbers: Numbers
    values: list[Value | None]


def checked_sort(attribute: str, descending: bool, types: Types, place: str = "sort.attribute") -> Sort:
    """Return a sort by an attribute of an index.

    Raises:
        FilterError: No document has had the attribute, or it is the labels.
    """
    if attribute == LABELS:
        raise FilterError(
            f"{place}: documents cannot be sorted by their labels, of which each may have several.",
            "sort by an attribute.",
        )
    known_type(attribute, types, place)
    return Sort(attribute, descending)


def page_of(parts: Iterable[Part], sort: Sort | None, after: After | None, limit: int) -> Listed:
    """Return the first documents of some parts, or the first after another one."""
    return first_of([_page(part, sort, after, limit) for part in parts], sort, limit)[0]


def first_of(pages: Sequence[Listed], sort: Sort | None, limit: int) -> tuple[Listed, NDArray[np.int64]]:
    """Merge pages in order; return the first documents, and the position in ``pages`` of each."""
    rows = [
        (value, number, owner)
        for owner, page in enumerate(pages)
        for number, value in zip(page.numbers.tolist(), page.values, strict=True)
    ]
    rows.sort(key=lambda row: row[1])
    if sort is not None:
        have: list[Any] = [row for row in rows if row[0] is not None]
        have.sort(key=lambda row: row[0], reverse=sort.descending)  # stable, also in reverse
        rows = have + [row for row in rows if row[0] is None]
    rows = rows[:limit]
    numbers = np.asarray([number for _, number, _ in rows], np.int64)
    owners = np.asarray([owner for _, _, owner in rows], np.int64)
    return Listed(numbers, [value for value, _, _ in rows]), owners


def _page(part: Part, sort: Sort | None, after: After | None, limit: int) -> Listed:
    numbers = part.table.numbers
    if sort is None:
        first = 0 if after is None else int(np.searchsorted(numbers, after.number, "right"))
        rows = first + np.flatnonzero(part.kept[first:])[:limit]
        return Listed(numbers[rows], [None] * len(rows))
    column = part.table.column(sort.attribute)
    ranks, missing = _ranks(column, len(numbers), sort.descending)
    rows = np.flatnonzero(part.kept if after is None else part.kept & _follow(ranks, numbers, column, sort, after))
    keys = ranks[rows].astype(np.int64) * (len(numbers) + 1) + rows
    if len(rows) > limit:
        nearest = np.argpartition(keys, limit - 1)[:limit]
        rows, keys = rows[nearest], keys[nearest]
    rows = rows[np.argsort(keys)]
    places = ranks[rows].tolist()
    if column is None:
        return Listed(numbers[rows], [None] * len(rows))
    last = len(column.distinct) - 1
    values = [
        None if place == missing else column.value(last - place if sort.descending else place) for place in places
    ]
    return Listed(numbers[rows], values)


def _ranks(column: Column | None, rows: int, descending: bool) -> tuple[NDArray[np.int32], int]:
    """Return the rank of each row by its value, and the rank of a row without one."""
    if column is None:
        return np.zeros(rows, np.int32), 0
    missing = len(column.distinct)
    ranks = missing - 1 - column.positions if descending else column.positions.copy()
    ranks[~column.exists()] = missing
    return ranks, missing


def _follow(
    ranks: NDArray[np.int32], numbers: Numbers, column: Column | None, sort: Sort, after: After
) -> NDArray[np.bool_]:
    """Return which rows follow a document, bool [N]."""
    missing = 0 if column is None else len(column.distinct)
    later = numbers > after.number
    if after.value is None:
        return (ranks == missing) & later
    if column is None:
        return np.ones(len(numbers), np.bool_)
    low, high = column.place(after.value), column.place(after.value, after=True)
    if sort.descending:
        low, high = missing - high, missing - low
    equal = (ranks >= low) & (ranks < high)
    return (ranks >= high) | (equal & later)
