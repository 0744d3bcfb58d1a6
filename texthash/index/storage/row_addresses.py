"""Row addresses and labels of the documents of a shard, updated from one version to the next.

Codes are searched in memory. All other fields of a document are read on demand by its row address (fragment and row in
it), which stays the same until the dataset is compacted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.index.storage.arrow_schema import KNOWN
from texthash.index.storage.document_map import DocumentMap

if TYPE_CHECKING:
    import lance

Numbers = NDArray[np.int64]
Addresses = NDArray[np.uint64]
_COLUMNS = ["number", "code", "labels", KNOWN]
_TAIL = pa.schema({"number": pa.int64(), "labels": pa.list_(pa.string()), "_rowaddr": pa.uint64()})


@dataclass(frozen=True)
class Difference:
    """Difference between two versions of a dataset.

    Attributes:
        removed: Numbers of the documents that were deleted or replaced, int64.
        added: Added rows, with ``number``, ``code``, ``labels``, ``_rowaddr`` and, if the column exists,
            ``known_words``.
    """

    removed: Numbers
    added: pa.Table


def difference(old: lance.LanceDataset, new: lance.LanceDataset, most: int) -> Difference | None:
    """Return the difference between two versions. Only the fragments that differ are read.

    Args:
        old: Version to compare with.
        new: Version whose changes are returned; it may be the earlier of the two.
        most: Largest number of rows to read.

    Returns:
        The difference, or None if more than ``most`` rows differ or were moved: reading everything is then no slower.
    """
    before = {fragment.fragment_id: fragment for fragment in old.get_fragments()}
    after = {fragment.fragment_id: fragment for fragment in new.get_fragments()}
    new_fragments = [fragment for number, fragment in after.items() if number not in before]
    old_fragments = [fragment for number, fragment in before.items() if number not in after]
    if sum(fragment.count_rows() for fragment in (*new_fragments, *old_fragments)) > most:
        return None
    removed = [_numbers(fragment) for fragment in old_fragments]
    added = [_read(new, new_fragments)] if new_fragments else []
    for number, fragment in before.items():
        if number in after and after[number].deletion_file() != fragment.deletion_file():
            was, now = _numbers(fragment), _numbers(after[number])
            removed.append(np.setdiff1d(was, now, assume_unique=True))
            undeleted = np.setdiff1d(now, was, assume_unique=True)  # Not empty if ``new`` is the earlier version.
            if len(undeleted):
                rows = _read(new, [after[number]])
                added.append(rows.filter(pa.array(np.isin(rows["number"].to_numpy(), undeleted))))
    empty = new.schema.empty_table().select(_columns(new)).append_column("_rowaddr", pa.array([], pa.uint64()))
    return Difference(np.concatenate([*removed, np.empty(0, np.int64)]), pa.concat_tables([empty, *added]))


def _read(dataset: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> pa.Table:
    return dataset.scanner(columns=_columns(dataset), fragments=fragments, with_row_address=True).to_table()


def _columns(dataset: lance.LanceDataset) -> list[str]:
    return [name for name in _COLUMNS if name in dataset.schema.names]


class Postings:
    """Documents of each label in one version of a dataset, read on first use."""

    def __init__(self, dataset: lance.LanceDataset) -> None:
        self._dataset = dataset

    def numbers(self, labels: Iterable[str]) -> Numbers:
        """Return the numbers of the documents that have one of the labels, int64.

        A document with several of them occurs several times.
        """
        names, starts, numbers = self.arrays
        known = [names[label] for label in labels if label in names]
        return np.concatenate([*(numbers[starts[n] : starts[n + 1]] for n in known), np.empty(0, np.int64)])

    @cached_property
    def arrays(self) -> tuple[dict[str, int], NDArray[np.int64], Numbers]:
        """Label numbers by name, starts [labels + 1], and document numbers grouped by label."""
        table = self._dataset.to_table(columns=["number", "labels"])
        column = table["labels"].combine_chunks()
        values = pc.list_flatten(column).dictionary_encode()
        numbers = table["number"].to_numpy()[pc.list_parent_indices(column).to_numpy()]
        labels = values.indices.to_numpy()
        starts = np.zeros(len(values.dictionary) + 1, np.int64)
        np.cumsum(np.bincount(labels, minlength=len(values.dictionary)), out=starts[1:])
        names = {name: number for number, name in enumerate(values.dictionary.to_pylist())}
        return names, starts, numbers[np.argsort(labels, kind="stable")]


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Documents of one version of a shard. Immutable: :meth:`advanced` returns those of another version.

    Attributes:
        dataset: Dataset in this version.
        postings: Postings of the base version, which was read completely.
        numbers: Document numbers of the base version, int64, ascending.
        addresses: Address of each, uint64.
        count: Number of documents in this version.
        touched: Numbers removed, replaced or added since the base version, int64, ascending.
        tail: Rows added since the base version: ``number``, ``labels`` and ``_rowaddr``, by number.
        map: Mapped rows of this version; None reads all rows from the dataset.
    """

    dataset: lance.LanceDataset
    postings: Postings
    numbers: Numbers
    addresses: Addresses
    count: int
    touched: Numbers
    tail: pa.Table
    map: DocumentMap | None = None

    @classmethod
    def read(cls, dataset: lance.LanceDataset, mapped: DocumentMap | None = None) -> tuple[StoredRows, pa.Table]:
        """Read a version: its documents, and a table in the order of its rows.

        The table has ``number``, ``code`` and, if the column exists, ``known_words``.
        """
        columns = [name for name in _columns(dataset) if name != "labels"]
        table = dataset.scanner(columns=columns, with_row_address=True).to_table()
        numbers = table["number"].to_numpy()
        order = np.argsort(numbers, kind="stable")
        addresses = table["_rowaddr"].to_numpy().astype(np.uint64)
        postings, nothing = Postings(dataset), np.empty(0, np.int64)
        ordered = numbers[order], addresses[order]
        return cls(dataset, postings, *ordered, len(numbers), nothing, _TAIL.empty_table(), mapped), table

    def advanced(
        self, dataset: lance.LanceDataset, change: Difference, mapped: DocumentMap | None = None
    ) -> StoredRows:
        """Return the documents of the version that ``change`` leads to."""
        added = change.added["number"].to_numpy()
        touched = np.concatenate([change.removed, added])
        kept = self.tail.filter(pa.array(~np.isin(self.tail["number"].to_numpy(), touched)))
        tail = pa.concat_tables([kept, change.added.select(_TAIL.names).cast(_TAIL)]).sort_by("number")
        return replace(
            self,
            dataset=dataset,
            count=self.count - len(change.removed) + len(added),
            touched=np.union1d(self.touched, touched),
            tail=tail.combine_chunks(),
            map=mapped,
        )

    @property
    def changes(self) -> int:
        """Number of documents removed, replaced or added since the base version."""
        return len(self.touched)

    def all_numbers(self) -> Numbers:
        """Return the numbers of all documents, int64, ascending."""
        if not len(self.touched):
            return self.numbers
        return np.union1d(np.setdiff1d(self.numbers, self.touched, assume_unique=True), self.tail["number"].to_numpy())

    def find(self, numbers: Numbers) -> Addresses | None:
        """Return the addresses of documents, uint64 in the order of ``numbers``; None if one of them does not exist."""
        found = np.zeros(len(numbers), np.uint64)
        recent = np.isin(numbers, self.touched)
        for which, known, addresses in (
            (~recent, self.numbers, self.addresses),
            (recent, self.tail["number"].to_numpy(), self.tail["_rowaddr"].to_numpy()),
        ):
            selected = numbers[which]
            if not len(selected):
                continue
            rows = np.searchsorted(known, selected)
            if not len(known) or np.any(known[np.minimum(rows, len(known) - 1)] != selected):
                return None
            found[which] = addresses[rows]
        return found

    def take(self, numbers: Numbers, columns: list[str]) -> pa.Table | None:
        """Return columns of documents, one row per entry of ``numbers``; None if one of them does not exist."""
        addresses = self.find(numbers)
        if addresses is None:
            return None
        distinct, inverse = np.unique(addresses, return_inverse=True)
        return rows_at(self.dataset, distinct, columns).take(pa.array(inverse))

    def mapped(self, numbers: Numbers, columns: list[str]) -> list[dict[str, Any]] | None:
        """Return columns of documents from the map, in their order; None if one of them is not in it."""
        if self.map is None or not self.map.columns.issuperset(columns):
            return None
        addresses = self.find(numbers)
        if addresses is None or not self.map.holds(addresses).all():
            return None
        return self.map.rows(addresses, columns)

    def documents(self, numbers: Numbers, columns: list[str]) -> list[dict[str, Any]] | None:
        """Return columns of documents in their order; None if one of them does not exist.

        They come from the map where it has them.
        """
        if self.map is None or not self.map.columns.issuperset(columns):
            table = self.take(numbers, columns)
            return None if table is None else table.to_pylist()
        addresses = self.find(numbers)
        if addresses is None:
            return None
        held = self.map.holds(addresses)
        found: list[dict[str, Any]] = [{}] * len(numbers)
        late = self.take(numbers[~held], columns) if not held.all() else None
        for rows, values in (
            (np.flatnonzero(held), self.map.rows(addresses[held], columns)),
            (np.flatnonzero(~held), [] if late is None else late.to_pylist()),
        ):
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row] = value
        return found

    def labelled(self, labels: Iterable[str]) -> Numbers:
        """Return the numbers of the documents that have one of the labels, int64, ascending."""
        distinct = set(labels)
        base = self.postings.numbers(distinct)
        base = base[~np.isin(base, self.touched)] if len(self.touched) else base
        return np.union1d(base, _with_labels(self.tail, distinct))

    def prepare(self) -> None:
        """Read the labels, so that the first filtered search does not wait for them."""
        _ = self.postings.arrays


def rows_at(dataset: lance.LanceDataset, addresses: Addresses, columns: list[str]) -> pa.Table:
    """Return columns of the rows at some addresses, by ascending address. Only these rows are read.

    The datasets of an index do not have stable row ids, so their row ids are the row addresses.
    """
    named = ",".join(map(str, addresses.tolist()))
    return dataset.to_table(columns=columns, filter=f"_rowid IN ({named})" if named else "false")


def _numbers(fragment: lance.LanceFragment) -> Numbers:
    return fragment.to_table(columns=["number"])["number"].to_numpy()


def _with_labels(tail: pa.Table, selected: Collection[str]) -> Numbers:
    matches = [bool(set(labels or ()) & set(selected)) for labels in tail["labels"].to_pylist()]
    return tail["number"].to_numpy()[np.asarray(matches, np.bool_)] if matches else np.empty(0, np.int64)
