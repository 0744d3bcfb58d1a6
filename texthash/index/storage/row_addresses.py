"""Where the documents of a shard lie in its dataset, and which labels they have; followed from one version to the next.

Codes are searched in memory; everything else of a document is read when it is asked for, by its row address (fragment
and row in it), which stays the same until the dataset is compacted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.index.storage.arrow_schema import KNOWN

if TYPE_CHECKING:
    import lance

Numbers = NDArray[np.int64]
Addresses = NDArray[np.uint64]
_COLUMNS = ["number", "code", "labels", KNOWN]
_TAIL = pa.schema({"number": pa.int64(), "labels": pa.list_(pa.string()), "_rowaddr": pa.uint64()})


@dataclass(frozen=True)
class Difference:
    """What one version of a dataset has and another has not.

    Attributes:
        removed: Numbers of the documents that are gone or were replaced, int64.
        added: The rows that came, with ``number``, ``code``, ``labels``, ``_rowaddr`` and, if there is such a column,
            ``known_words``.
    """

    removed: Numbers
    added: pa.Table


def difference(old: lance.LanceDataset, new: lance.LanceDataset, most: int) -> Difference | None:
    """What changed between two versions, found by reading only the fragments that differ.

    Args:
        old: One version.
        new: The other.
        most: Rows that may be read.

    Returns:
        None where more than ``most`` rows differ or were moved: then reading everything anew is no dearer.
    """
    before = {fragment.fragment_id: fragment for fragment in old.get_fragments()}
    after = {fragment.fragment_id: fragment for fragment in new.get_fragments()}
    came = [fragment for number, fragment in after.items() if number not in before]
    left = [fragment for number, fragment in before.items() if number not in after]
    if sum(fragment.count_rows() for fragment in (*came, *left)) > most:
        return None
    removed = [_numbers(fragment) for fragment in left]
    added = [_read(new, came)] if came else []
    for number, fragment in before.items():
        if number in after and after[number].deletion_file() != fragment.deletion_file():
            was, now = _numbers(fragment), _numbers(after[number])
            removed.append(np.setdiff1d(was, now, assume_unique=True))
            back = np.setdiff1d(now, was, assume_unique=True)  # on the way to an older version
            if len(back):
                rows = _read(new, [after[number]])
                added.append(rows.filter(pa.array(np.isin(rows["number"].to_numpy(), back))))
    empty = new.schema.empty_table().select(_columns(new)).append_column("_rowaddr", pa.array([], pa.uint64()))
    return Difference(np.concatenate([*removed, np.empty(0, np.int64)]), pa.concat_tables([empty, *added]))


def _read(dataset: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> pa.Table:
    return dataset.scanner(columns=_columns(dataset), fragments=fragments, with_row_address=True).to_table()


def _columns(dataset: lance.LanceDataset) -> list[str]:
    return [name for name in _COLUMNS if name in dataset.schema.names]


class Postings:
    """The documents of each label in one version of a dataset; read when they are first asked for."""

    def __init__(self, dataset: lance.LanceDataset) -> None:
        self._dataset = dataset

    def numbers(self, labels: Iterable[str]) -> Numbers:
        """Numbers of the documents that have one of the labels, int64; one with several of them comes several times."""
        names, starts, numbers = self.arrays
        known = [names[label] for label in labels if label in names]
        return np.concatenate([*(numbers[starts[n] : starts[n + 1]] for n in known), np.empty(0, np.int64)])

    @cached_property
    def arrays(self) -> tuple[dict[str, int], NDArray[np.int64], Numbers]:
        """Label numbers by name, starts [labels + 1], document numbers by label."""
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
    """The documents of one version of a shard. Immutable: :meth:`advanced` gives those of another version.

    Attributes:
        dataset: In that version.
        postings: Of the version that was read whole.
        numbers: Numbers that this version holds, int64, ascending.
        addresses: Address of each, uint64.
        count: How many documents this version holds.
        touched: Numbers that were removed, replaced or added since, int64, ascending.
        tail: Rows that came since: ``number``, ``labels`` and ``_rowaddr``, by number.
    """

    dataset: lance.LanceDataset
    postings: Postings
    numbers: Numbers
    addresses: Addresses
    count: int
    touched: Numbers
    tail: pa.Table

    @classmethod
    def read(cls, dataset: lance.LanceDataset) -> tuple[StoredRows, pa.Table]:
        """Read a version; gives also ``number``, ``code`` and, if there is such a column, ``known_words`` of its rows,
        in its order."""
        columns = [name for name in _columns(dataset) if name != "labels"]
        table = dataset.scanner(columns=columns, with_row_address=True).to_table()
        numbers = table["number"].to_numpy()
        order = np.argsort(numbers, kind="stable")
        addresses = table["_rowaddr"].to_numpy().astype(np.uint64)
        postings, nothing = Postings(dataset), np.empty(0, np.int64)
        rows = cls(dataset, postings, numbers[order], addresses[order], len(numbers), nothing, _TAIL.empty_table())
        return rows, table

    def advanced(self, dataset: lance.LanceDataset, change: Difference) -> StoredRows:
        """The documents of the version that ``change`` leads to."""
        came = change.added["number"].to_numpy()
        gone = np.concatenate([change.removed, came])
        kept = self.tail.filter(pa.array(~np.isin(self.tail["number"].to_numpy(), gone)))
        tail = pa.concat_tables([kept, change.added.select(_TAIL.names).cast(_TAIL)]).sort_by("number")
        return replace(
            self,
            dataset=dataset,
            count=self.count - len(change.removed) + len(came),
            touched=np.union1d(self.touched, gone),
            tail=tail.combine_chunks(),
        )

    @property
    def changes(self) -> int:
        """How many documents were removed, replaced or added since everything was read."""
        return len(self.touched)

    def all_numbers(self) -> Numbers:
        """Numbers of all documents, int64, ascending."""
        if not len(self.touched):
            return self.numbers
        return np.union1d(np.setdiff1d(self.numbers, self.touched, assume_unique=True), self.tail["number"].to_numpy())

    def find(self, numbers: Numbers) -> Addresses | None:
        """Addresses of documents, uint64 in the order of their numbers; None if one of them is not here."""
        found = np.zeros(len(numbers), np.uint64)
        recent = np.isin(numbers, self.touched)
        for which, known, addresses in (
            (~recent, self.numbers, self.addresses),
            (recent, self.tail["number"].to_numpy(), self.tail["_rowaddr"].to_numpy()),
        ):
            wanted = numbers[which]
            if not len(wanted):
                continue
            rows = np.searchsorted(known, wanted)
            if not len(known) or np.any(known[np.minimum(rows, len(known) - 1)] != wanted):
                return None
            found[which] = addresses[rows]
        return found

    def take(self, numbers: Numbers, columns: list[str]) -> pa.Table | None:
        """Columns of documents, a row for each number in ``numbers``; None if one of them is not here."""
        addresses = self.find(numbers)
        if addresses is None:
            return None
        distinct, inverse = np.unique(addresses, return_inverse=True)
        return rows_at(self.dataset, distinct, columns).take(pa.array(inverse))

    def labelled(self, labels: Iterable[str]) -> Numbers:
        """Numbers of the documents that have one of the labels, int64, ascending."""
        wanted = set(labels)
        old = self.postings.numbers(wanted)
        old = old[~np.isin(old, self.touched)] if len(self.touched) else old
        return np.union1d(old, _with_labels(self.tail, wanted))

    def prepare(self) -> None:
        """Read the labels, so that the first filter does not wait for it."""
        _ = self.postings.arrays


def rows_at(dataset: lance.LanceDataset, addresses: Addresses, columns: list[str]) -> pa.Table:
    """Columns of the rows at some addresses, in ascending order of these; only these rows are read.

    A dataset without stable row ids, as all of an index are, has the addresses of its rows as their ids.
    """
    named = ",".join(map(str, addresses.tolist()))
    return dataset.to_table(columns=columns, filter=f"_rowid IN ({named})" if named else "false")


def _numbers(fragment: lance.LanceFragment) -> Numbers:
    return fragment.to_table(columns=["number"])["number"].to_numpy()


def _with_labels(tail: pa.Table, wanted: Collection[str]) -> Numbers:
    mine = [bool(set(labels or ()) & set(wanted)) for labels in tail["labels"].to_pylist()]
    return tail["number"].to_numpy()[np.asarray(mine, np.bool_)] if mine else np.empty(0, np.int64)
