"""Attributes as columns: distinct values in order, and for each row the position of its value among them.

Every condition of the filter language is an interval or a set of positions then, a facet a count of positions, and a
sort a sort of positions. A row costs four bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType, Value

Mask = NDArray[np.bool_]
MISSING = -1
"""Position of a row that lacks the attribute."""
ARROW: dict[AttributeType, pa.DataType] = {
    "string": pa.string(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.timestamp("us", "UTC"),
}
"""Type of a column in Arrow by type of the attribute."""


@dataclass(frozen=True, eq=False)
class Column:
    """Values of one attribute in N rows.

    Attributes:
        distinct: Distinct values, ascending, without nulls.
        positions: Position of the value of each row in ``distinct``, int32 [N]; -1 where it is missing.
    """

    distinct: pa.Array
    positions: NDArray[np.int32]

    @classmethod
    def of(cls, values: pa.Array | pa.ChunkedArray) -> Column:
        """Return the column of values in one of the types of :data:`ARROW`; null is missing."""
        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if isinstance(array, pa.ChunkedArray):  # combine_chunks of no chunks
            array = pa.array([], values.type)
        encoded = array.dictionary_encode()
        # The bytes of UTF-8 have the order of the code points.
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        ranks = np.full(len(order) + 1, MISSING, np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        found = encoded.indices.fill_null(len(order)).to_numpy(zero_copy_only=False)
        return cls(encoded.dictionary.take(pa.array(order)), ranks[found])

    @classmethod
    def missing(cls, rows: int, kind: pa.DataType) -> Column:
        """Return the column of an attribute that no row has."""
        return cls(pa.array([], kind), np.full(rows, MISSING, np.int32))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def size_bytes(self) -> int:
        """Memory in bytes."""
        return int(self.distinct.nbytes + self.positions.nbytes)

    def value(self, position: int) -> Value:
        """Return a distinct value by its position."""
        found: Value = self.distinct[position].as_py()
        return found

    def place(self, value: Value, *, after: bool = False) -> int:
        """Return the position of the first distinct value that is not below ``value``, or that is above it."""
        search = bisect_right if after else bisect_left
        return search(range(len(self.distinct)), value, key=self.value)

    def exists(self) -> Mask:
        """Return which rows have the attribute, bool [N]."""
        return self.positions > MISSING

    def within(self, first: int, end: int) -> Mask:
        """Return which rows have a value at positions from ``first`` up to ``end``, which is excluded, bool [N]."""
        # Below the first position the difference wraps around, and -1 is the largest number: one comparison does.
        width = np.uint32(max(0, end - first))
        return self.positions.view(np.uint32) - np.uint32(first) < width

    def one_of(self, values: Iterable[Value]) -> Mask:
        """Return which rows have one of the values, bool [N]."""
        places = [place for value in values if (place := self._of(value)) is not None]
        if len(places) < 2:
            return self.within(places[0], places[0] + 1) if places else np.zeros(len(self), np.bool_)
        wanted = np.zeros(len(self.distinct) + 1, np.bool_)  # the last one is that of missing rows
        wanted[places] = True
        return wanted[self.positions]

    def between(self, low: Value | None, high: Value | None, with_low: bool, with_high: bool) -> Mask:
        """Return which rows have a value between two bounds, bool [N], as the condition ``Between``."""
        first = 0 if low is None else self.place(low, after=not with_low)
        end = len(self.distinct) if high is None else self.place(high, after=with_high)
        return self.within(first, end)

    def starts_with(self, prefix: str) -> Mask:
        """Return which rows have a string that begins with ``prefix``, bool [N]."""
        all_places = range(len(self.distinct))
        end = bisect_right(all_places, prefix, key=lambda at: self.distinct[at].as_py()[: len(prefix)])
        return self.within(self.place(prefix), end)

    def counts(self, rows: Mask | None = None) -> NDArray[np.int64]:
        """Return how many rows have each distinct value, int64 [distinct], among some rows or all."""
        chosen = self.positions if rows is None else self.positions[rows]
        return np.bincount(chosen + 1, minlength=len(self.distinct) + 1)[1:]

    def _of(self, value: Value) -> int | None:
        place = self.place(value)
        return place if place < len(self.distinct) and self.value(place) == value else None


def array_of(values: Iterable[Value | None], kind: AttributeType) -> pa.Array:
    """Return values of one attribute as an array of Arrow."""
    return pa.array(list(values), ARROW[kind])


def type_of_arrow(kind: pa.DataType) -> AttributeType:
    """Return the type of an attribute by the type of its column."""
    return next(name for name, own in ARROW.items() if own == kind)
