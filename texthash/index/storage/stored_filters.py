"""Filters over the documents of one version of a shard.

Labels and attributes of the base version are read on first use, an attribute when a filter names it; those of the rows
added since come with the difference of the versions.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.index.filters.columns import Column, Mask
from texthash.index.filters.language import Where
from texthash.index.filters.masks import equal_ids, labelled_lists
from texthash.index.filters.parts import ValueCounts
from texthash.index.filters.selection import Selection
from texthash.index.storage.arrow_schema import ATTRIBUTE, attribute_types
from texthash.index.storage.lance_errors import reading
from texthash.io.local_copies import HeldCopy

if TYPE_CHECKING:
    import lance

Numbers = NDArray[np.int64]
LabelArrays = tuple[dict[str, int], NDArray[np.int64], Numbers]
_KEPT = 16


class Postings:
    """Documents of each label in one version of a dataset, read on first use.

    Args:
        dataset: The version.
        arrays: Its :attr:`arrays`, where they are known.
    """

    def __init__(self, dataset: lance.LanceDataset, arrays: LabelArrays | None = None) -> None:
        self._dataset = dataset
        if arrays is not None:
            self.__dict__["arrays"] = arrays

    def numbers(self, labels: Iterable[str]) -> Numbers:
        """Return the numbers of the documents that have one of the labels, int64.

        A document with several of them occurs several times.
        """
        names, starts, numbers = self.arrays
        known = [names[label] for label in labels if label in names]
        return np.concatenate([*(numbers[starts[n] : starts[n + 1]] for n in known), np.empty(0, np.int64)])

    @cached_property
    def arrays(self) -> LabelArrays:
        """Label numbers by name, starts [labels + 1], and document numbers grouped by label."""
        with reading(self._dataset.uri):
            table = self._dataset.to_table(columns=["number", "labels"])
        column = table["labels"].combine_chunks()
        values = pc.list_flatten(column).dictionary_encode()
        numbers = table["number"].to_numpy()[pc.list_parent_indices(column).to_numpy()]
        labels = values.indices.to_numpy()
        starts = np.zeros(len(values.dictionary) + 1, np.int64)
        np.cumsum(np.bincount(labels, minlength=len(values.dictionary)), out=starts[1:])
        names = {name: number for number, name in enumerate(values.dictionary.to_pylist())}
        return names, starts, numbers[np.argsort(labels, kind="stable")]

    def counts(self, ascending: Numbers, kept: Mask) -> ValueCounts:
        """Return how many of some documents have each label.

        Args:
            ascending: Document numbers of the version, int64 [N], ascending.
            kept: True for each that is counted, bool [N].
        """
        names, starts, _ = self.arrays
        rows = self._rows_among(ascending)
        labelled = np.zeros(len(ascending), np.bool_)
        labelled[rows] = True
        before = np.concatenate([[0], np.cumsum(kept[rows] & self._first)])
        values = pa.array(list(names), pa.string())
        return ValueCounts.of(values, before[starts[1:]] - before[starts[:-1]], int(np.sum(labelled & kept)))

    def _rows_among(self, ascending: Numbers) -> NDArray[np.int32]:
        """Return the row of each posting, kept after the first use."""
        known: NDArray[np.int32] | None = self.__dict__.get("_rows")
        if known is None:
            known = np.searchsorted(ascending, self.arrays[2]).astype(np.int32)
            self.__dict__["_rows"] = known
        return known

    @cached_property
    def _first(self) -> NDArray[np.bool_] | np.bool_:
        """Postings that do not repeat a label of the same document; those of a document are neighbours."""
        _, starts, numbers = self.arrays
        first = np.ones(len(numbers), np.bool_)
        first[1:] = numbers[1:] != numbers[:-1]
        first[starts[:-1][starts[:-1] < len(numbers)]] = True
        return np.True_ if first.all() else first


class BaseTable:
    """Documents of the base version, by ascending number, as rows that a filter is evaluated on.

    Args:
        dataset: Base version.
        numbers: Its document numbers, int64, ascending.
        postings: Its labels; None reads them on first use.
        held: File that these are mapped from, held as long as they are used; None for none.
    """

    def __init__(
        self,
        dataset: lance.LanceDataset,
        numbers: Numbers,
        postings: Postings | None = None,
        held: HeldCopy | None = None,
    ) -> None:
        self._dataset, self._current, self.numbers, self._held = dataset, dataset, numbers, held
        self.postings = postings or Postings(dataset)
        self._columns: dict[str, Column | None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, dataset: lance.LanceDataset) -> BaseTable:
        """Return the same rows, of which those are found by id that a later version still has."""
        view = copy.copy(self)
        view._current = dataset
        return view

    @property
    def size_bytes(self) -> int:
        """Memory of the attributes that were read, in bytes."""
        return sum(column.size_bytes for column in list(self._columns.values()) if column is not None)

    def column(self, name: str) -> Column | None:
        """Return an attribute by row, read on first use; None if the version has no such attribute."""
        with self._lock:
            if name not in self._columns:
                self._columns[name] = self._read(ATTRIBUTE + name)
            return self._columns[name]

    def labelled(self, names: Iterable[str]) -> Mask:
        """Return which rows have one of the labels, bool [N]."""
        found = np.zeros(len(self), np.bool_)
        found[np.searchsorted(self.numbers, self.postings.numbers(set(names)))] = True
        return found

    def with_ids(self, ids: Iterable[str]) -> Mask:
        """Return which rows have one of the ids, bool [N]; they are found by the index of ids."""
        named = pc.field("id").isin(pa.array(list(ids), pa.string()))
        numbers = self._current.to_table(columns=["number"], filter=named)["number"].to_numpy()
        return Selection.of_rows(np.sort(numbers), np.ones(len(numbers), np.bool_)).of(self.numbers)

    def label_counts(self, kept: Mask) -> ValueCounts:
        """Return the counts of the labels of some rows."""
        return self.postings.counts(self.numbers, kept)

    def prepare(self) -> None:
        """Read labels and attributes ahead of the first filtered search.

        None needs the files of this version afterwards, which a compaction may free.
        """
        _ = self.postings.arrays
        for name in attribute_types(self._dataset.schema):
            self.column(name)

    def _read(self, name: str) -> Column | None:
        if name not in self._dataset.schema.names:
            return None
        with reading(self._dataset.uri):
            table = self._dataset.to_table(columns=["number", name])
        numbers, values = table["number"].to_numpy(), table[name]
        if np.any(numbers[1:] < numbers[:-1]):
            values = values.take(pa.array(np.argsort(numbers, kind="stable")))
        return Column.of(values)


class TailTable:
    """Rows added since the base version, by ascending number, as rows that a filter is evaluated on.

    Args:
        rows: Rows with ``number``, ``id``, ``labels`` and attributes.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._columns: dict[str, Column | None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def numbers(self) -> Numbers:
        """Document numbers, int64, ascending."""
        return self._rows["number"].to_numpy()

    def column(self, name: str) -> Column | None:
        """Return an attribute by row; None if no row has it."""
        if name not in self._columns:
            stored = ATTRIBUTE + name
            self._columns[name] = Column.of(self._rows[stored]) if stored in self._rows.schema.names else None
        return self._columns[name]

    def labelled(self, names: Iterable[str]) -> Mask:
        """Return which rows have one of the labels, bool [N]."""
        return labelled_lists(self._rows["labels"], names)

    def with_ids(self, ids: Iterable[str]) -> Mask:
        """Return which rows have one of the ids, bool [N]."""
        return equal_ids(self._rows["id"], ids)

    def label_counts(self, kept: Mask) -> ValueCounts:
        """Return the counts of the labels of some rows."""
        return ValueCounts.of_lists(self._rows["labels"].filter(pa.array(kept)).to_pylist())


class KeptSelections:
    """Selections of one version by their conditions; the last ones are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Where, Selection] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, where: Where) -> Selection | None:
        """Return a kept selection; None for an unknown one."""
        with self._lock:
            if where in self._kept:
                self._kept.move_to_end(where)
            return self._kept.get(where)

    def put(self, where: Where, selection: Selection) -> None:
        """Keep a selection in place of the one that was not used for longest."""
        with self._lock:
            self._kept[where] = selection
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
