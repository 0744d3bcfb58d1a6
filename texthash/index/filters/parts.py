"""Parts of an index: rows of which some are kept, as facets count them and a scroll lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.index.filters.columns import Column, Mask
from texthash.index.filters.masks import Table
from texthash.index.filters.selection import Numbers


@dataclass(frozen=True, eq=False)
class ValueCounts:
    """Numbers of documents with each value of a label or attribute; those of several parts can be added.

    Attributes:
        values: Different values.
        counts: Number of documents with each, int64, above 0.
        documents: Number of documents with a value.
        ascending: True if the values ascend.
    """

    values: pa.Array
    counts: NDArray[np.int64]
    documents: int
    ascending: bool = False

    @classmethod
    def of(cls, values: pa.Array, counts: NDArray[np.int64], documents: int, *, ascending: bool = False) -> ValueCounts:
        """Return the counts without the values that no document has."""
        found = counts > 0
        if found.all():
            return cls(values, counts, documents, ascending)
        return cls(values.filter(pa.array(found)), counts[found], documents, ascending)

    @classmethod
    def of_lists(cls, lists: Iterable[Iterable[str]]) -> ValueCounts:
        """Return the counts of the labels of documents, each of which counts once for each of its labels."""
        own = [set(labels) for labels in lists]
        values = pa.array(list(chain.from_iterable(own)), pa.string()).dictionary_encode()
        counts = np.bincount(values.indices.to_numpy(), minlength=len(values.dictionary))
        return cls(values.dictionary, counts, sum(bool(labels) for labels in own))

    @classmethod
    def added(cls, parts: Iterable[ValueCounts]) -> ValueCounts:
        """Return the counts over several parts, with ascending values."""
        every = list(parts)
        if len(every) == 1 and every[0].ascending:
            return every[0]
        values = pa.concat_arrays([part.values for part in every])
        counts, documents = np.concatenate([part.counts for part in every]), sum(part.documents for part in every)
        if not len(values):
            return cls(values, counts, documents, ascending=True)
        # A stable sort merges runs that ascend already.
        order = np.argsort(_comparable(values), kind="stable")
        values = values.take(pa.array(order))
        first = np.ones(len(values), np.bool_)
        first[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
        summed = np.add.reduceat(counts[order], np.flatnonzero(first))
        return cls(values.filter(pa.array(first)), summed, documents, ascending=True)


def _comparable(values: pa.Array) -> NDArray[np.generic]:
    """Return values as numbers in their order: themselves, dates in microseconds, or the ranks of strings."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    if pa.types.is_string(values.type):
        return Column.of(values).positions
    return np.asarray(values.to_numpy(zero_copy_only=False))


class ListedTable(Table, Protocol):
    """Table whose labels can be counted."""

    @property
    def numbers(self) -> Numbers:
        """Document numbers, int64, ascending."""

    def label_counts(self, kept: Mask) -> ValueCounts:
        """Return the counts of the labels of some rows."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a table, of which some are kept.

    Attributes:
        table: Table of N rows.
        kept: True for each row that is kept, bool [N].
    """

    table: ListedTable
    kept: Mask

    def __len__(self) -> int:
        """Return the number of kept rows."""
        return int(np.count_nonzero(self.kept))
