"""Row addresses and labels of the documents of a shard, updated from one version to the next.

Codes are searched in memory. All other fields of a document are read on demand by its row address (fragment and row in
it), which stays the same until the dataset is compacted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.index.filters.language import Where
from texthash.index.filters.masks import mask_of
from texthash.index.filters.parts import Part
from texthash.index.filters.selection import Selection
from texthash.index.storage.arrow_schema import KNOWN, attribute_columns
from texthash.index.storage.document_map import DocumentMap
from texthash.index.storage.late_rows import LateRows
from texthash.index.storage.stored_filters import BaseTable, KeptSelections, TailTable

if TYPE_CHECKING:
    import lance

Numbers = NDArray[np.int64]
Addresses = NDArray[np.uint64]
_COLUMNS = ["number", "id", "code", "labels", KNOWN]
_TAIL = pa.schema({"number": pa.int64(), "id": pa.string(), "labels": pa.list_(pa.string()), "_rowaddr": pa.uint64()})


@dataclass(frozen=True)
class Difference:
    """Difference between two versions of a dataset.

    Attributes:
        removed: Numbers of the documents that were deleted or replaced, int64.
        added: Added rows, with ``number``, ``id``, ``code``, ``labels``, ``_rowaddr``, their attributes and, if the
            column exists, ``known_words``.
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
    return [*(name for name in _COLUMNS if name in dataset.schema.names), *attribute_columns(dataset.schema)]


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Documents of one version of a shard. Immutable: :meth:`advanced` returns those of another version.

    Attributes:
        dataset: Dataset in this version.
        base: Documents of the base version, which was read completely.
        numbers: Document numbers of the base version, int64, ascending.
        addresses: Address of each, uint64.
        count: Number of documents in this version.
        touched: Numbers removed, replaced or added since the base version, int64, ascending.
        tail: Rows added since the base version: ``number``, ``id``, ``labels``, ``_rowaddr`` and attributes, by number.
        map: Mapped rows of this version; None reads all rows from the dataset.
        late: Rows that are not in the map of a shard in an object store, while they are few; None for other shards.
        kept: Selections of this version.
    """

    dataset: lance.LanceDataset
    base: BaseTable
    numbers: Numbers
    addresses: Addresses
    count: int
    touched: Numbers
    tail: pa.Table
    map: DocumentMap | None = None
    late: LateRows | None = None
    kept: KeptSelections = field(default_factory=KeptSelections)

    @classmethod
    def read(cls, dataset: lance.LanceDataset, mapped: DocumentMap | None = None) -> tuple[StoredRows, pa.Table]:
        """Read a version: its documents, and a table in the order of its rows.

        The table has ``number``, ``code`` and, if the column exists, ``known_words``.
        """
        columns = [name for name in ("number", "code", KNOWN) if name in dataset.schema.names]
        table = dataset.scanner(columns=columns, with_row_address=True).to_table()
        numbers, addresses = table["number"].to_numpy(), table["_rowaddr"].to_numpy()
        if np.any(numbers[1:] < numbers[:-1]):
            order = np.argsort(numbers, kind="stable")
            numbers, addresses = numbers[order], addresses[order]
        return cls.of(BaseTable(dataset, numbers), dataset, addresses, mapped), table

    @classmethod
    def of(
        cls, base: BaseTable, dataset: lance.LanceDataset, addresses: Addresses, mapped: DocumentMap | None
    ) -> StoredRows:
        """Return the documents of the base version itself, with the address of each, in their order."""
        late, nothing = _late(dataset, mapped, addresses), np.empty(0, np.int64)
        return cls(dataset, base, base.numbers, addresses, len(addresses), nothing, _TAIL.empty_table(), mapped, late)

    def advanced(
        self, dataset: lance.LanceDataset, change: Difference, mapped: DocumentMap | None = None
    ) -> StoredRows:
        """Return the documents of the version that ``change`` leads to."""
        added = change.added["number"].to_numpy()
        touched = np.concatenate([change.removed, added])
        kept = self.tail.filter(pa.array(~np.isin(self.tail["number"].to_numpy(), touched)))
        columns = [*_TAIL.names, *attribute_columns(change.added.schema)]
        tail = pa.concat_tables([kept, change.added.select(columns)], promote_options="default").sort_by("number")
        all_touched = np.union1d(self.touched, touched)
        late = None
        if mapped is not None and mapped.is_copy:
            missing = np.flatnonzero(mapped.lacks(self.addresses))
            kept_late = self.addresses[missing[~np.isin(self.numbers[missing], all_touched)]]
            late = _late(dataset, mapped, np.concatenate([kept_late, tail["_rowaddr"].to_numpy()]), self.late)
        return replace(
            self,
            dataset=dataset,
            count=self.count - len(change.removed) + len(added),
            touched=all_touched,
            tail=tail.combine_chunks(),
            map=mapped,
            late=late,
            kept=KeptSelections(),
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
        if not len(self.touched):
            return _addresses_of(numbers, self.numbers, self.addresses)
        found = np.zeros(len(numbers), np.uint64)
        recent = np.isin(numbers, self.touched)
        for which, known, addresses in (
            (~recent, self.numbers, self.addresses),
            (recent, self.tail["number"].to_numpy(), self.tail["_rowaddr"].to_numpy()),
        ):
            own = _addresses_of(numbers[which], known, addresses)
            if own is None:
                return None
            found[which] = own
        return found

    def take(self, numbers: Numbers, columns: list[str]) -> pa.Table | None:
        """Return columns of documents, one row per entry of ``numbers``; None if one of them does not exist."""
        addresses = self.find(numbers)
        if addresses is None:
            return None
        distinct, inverse = np.unique(addresses, return_inverse=True)
        return rows_at(self.dataset, distinct, columns).take(pa.array(inverse))

    def mapped(self, numbers: Numbers, columns: list[str]) -> list[dict[str, Any]] | None:
        """Return columns of documents from the map, in their order; None if one of them is not in memory."""
        return self._read(numbers, columns, from_disk=False)

    def documents(self, numbers: Numbers, columns: list[str]) -> list[dict[str, Any]] | None:
        """Return columns of documents in their order; None if one of them does not exist.

        They come from memory where it has them.
        """
        return self._read(numbers, columns, from_disk=True)

    def _read(self, numbers: Numbers, columns: list[str], *, from_disk: bool) -> list[dict[str, Any]] | None:
        if self.map is None or not self.map.columns.issuperset(columns):
            table = self.take(numbers, columns) if from_disk else None
            return None if table is None else table.to_pylist()
        addresses = self.find(numbers)
        if addresses is None:
            return None
        held = self.map.holds(addresses)
        if held.all():
            return self.map.rows(addresses, columns)
        late = None if self.late is None else self.late.rows(addresses[~held], columns)
        if late is None and from_disk:
            table = self.take(numbers[~held], columns)
            late = None if table is None else table.to_pylist()
        return None if late is None else _merged(held, self.map.rows(addresses[held], columns), late)

    def select(self, where: Where) -> Selection:
        """Return the documents that fulfil a condition."""
        found = self.kept.get(where)
        if found is None:
            found = Selection.of_rows(self.numbers, mask_of(where, self.base.at(self.dataset)))
            if len(self.touched):
                found = found.with_rows(self._tail.numbers, mask_of(where, self._tail), self.touched)
            self.kept.put(where, found)
        return found

    def parts(self, selected: Selection | None) -> list[Part]:
        """Return the rows of this version with those of some documents kept; None keeps all."""
        base = np.ones(len(self.numbers), np.bool_)
        if selected is not None:
            base = selected.of(self.numbers, ascending=True)
        if not len(self.touched):
            return [Part(self.base, base)]
        rows = np.searchsorted(self.numbers, self.touched)
        rows = rows[rows < len(self.numbers)]
        rows = rows[np.isin(self.numbers[rows], self.touched)]
        base = base.copy()
        base[rows] = False
        tail = self._tail
        kept = np.ones(len(tail), np.bool_) if selected is None else selected.of(tail.numbers, ascending=True)
        return [Part(self.base, base), Part(tail, kept)]

    @cached_property
    def _tail(self) -> TailTable:
        return TailTable(self.tail)

    def prepare(self) -> None:
        """Read labels and attributes, so that the first filtered search does not wait for them."""
        self.base.prepare()


def rows_at(dataset: lance.LanceDataset, addresses: Addresses, columns: list[str]) -> pa.Table:
    """Return columns of the rows at some addresses, by ascending address. Only these rows are read.

    The datasets of an index do not have stable row ids, so their row ids are the row addresses.
    """
    named = ",".join(map(str, addresses.tolist()))
    return dataset.to_table(columns=columns, filter=f"_rowid IN ({named})" if named else "false")


def _late(
    dataset: lance.LanceDataset, mapped: DocumentMap | None, addresses: Addresses, before: LateRows | None = None
) -> LateRows | None:
    """Return the rows of those fragments that the map of a shard in an object store does not have."""
    if mapped is None or not mapped.is_copy:
        return None
    missing = addresses[mapped.lacks(addresses)]
    columns = [name for name in dataset.schema.names if name in mapped.columns]
    return LateRows.read(missing, lambda some: rows_at(dataset, some, columns), before)


def _merged(held: NDArray[np.bool_], here: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in their order: those of ``held``, and the others."""
    rows, more = iter(here), iter(others)
    return [next(rows) if own else next(more) for own in held.tolist()]


def _addresses_of(wanted: Numbers, known: Numbers, addresses: Addresses) -> Addresses | None:
    """Return the addresses of documents by their numbers, of which ``known`` are ascending; None if one is unknown."""
    rows = np.searchsorted(known, wanted)
    if len(wanted) and (not len(known) or rows.max() == len(known) or np.any(known[rows] != wanted)):
        return None
    return addresses[rows]


def _numbers(fragment: lance.LanceFragment) -> Numbers:
    return fragment.to_table(columns=["number"])["number"].to_numpy()
