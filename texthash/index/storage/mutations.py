"""Changes to the documents of one shard: each is one Lance commit, which a reader sees whole or not at all.

A reader opens a shard in the version that its release names, so a commit changes nothing for anybody until a release
names it. A commit that no release ever named (its writer died) is undone by :func:`rewind`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.index.releases.release import ShardState
from texthash.index.storage.arrow_schema import CONTENT, KNOWN, Coded, codes_of, known_of, with_codes
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.file_digests import files_of, record_added, tidy
from texthash.index.storage.lance_errors import naming_dataset, reading
from texthash.index.storage.shard_format import open_documents
from texthash.paths import as_path

if TYPE_CHECKING:
    import lance

# Pieces with fewer rows are written together.
_TAIL_ROWS = 8_192
# Row addresses hold the fragment above and the row in it below.
_OFFSET_BITS = np.uint64(32)
_OFFSET_MASK = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Rows:
    """Some rows of a shard.

    Attributes:
        ids: Document ids.
        numbers: Document numbers, int64 [N].
        codes: uint8 [N, bits / 8].
        known: Whether the model knows a word of each, bool [N].
        addresses: Where Lance keeps each, uint64 [N].
    """

    ids: list[str]
    numbers: NDArray[np.int64]
    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    addresses: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Change:
    """What a write does to one shard: rows that leave it and rows that come, in the form of its schema.

    Attributes:
        removed: Rows of its newest version.
        added: New rows.
    """

    removed: Rows
    added: pa.Table

    def apply(self, dataset: lance.LanceDataset) -> lance.LanceDataset:
        """The shard after the change. Errors as :func:`change`."""
        return change(dataset, self.removed, self.added) if len(self.removed) or len(self.added) else dataset

    def follow(self, state: ShardState) -> ShardState:
        """The state after the change, but for the version."""
        checksum = Checksum(state.checksum)
        checksum.remove(self.removed.numbers, self.removed.codes, self.removed.known)
        bits = 8 * self.added.schema.field("code").type.byte_width
        checksum.add(self.added["number"].to_numpy(), codes_of(self.added["code"], bits), known_of(self.added))
        count = state.documents - len(self.removed) + len(self.added)
        return replace(state, documents=count, checksum=str(checksum))


def rows_by_id(dataset: lance.LanceDataset, ids: Sequence[str]) -> Rows:
    """The rows that hold some of these ids."""
    return _rows(dataset, pc.field("id").isin(pa.array(ids, pa.string())))


def rows_by_label(dataset: lance.LanceDataset, labels: Sequence[str]) -> Rows:
    """The rows that have one of these labels."""
    quoted = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
    return _rows(dataset, f"array_has_any(labels, [{quoted}])")


@naming_dataset
def change(dataset: lance.LanceDataset, removed: Rows, added: pa.Table) -> lance.LanceDataset:
    """Take some rows out and put others in, in one commit.

    Args:
        dataset: The shard in its newest version.
        removed: Rows of this version.
        added: New rows in the form of :func:`texthash.index.storage.arrow_schema.schema`.

    Returns:
        The dataset in its new version.

    Raises:
        TexthashError: somebody else has written to the shard since it was opened; nothing of this change is published.
    """
    from lance import LanceDataset, LanceOperation
    from lance.commit import CommitConflictError
    from lance.fragment import write_fragments

    before = files_of(dataset)
    added = _fitting(dataset, added)
    emptied, thinned = [], []
    fragments = removed.addresses >> _OFFSET_BITS
    for fragment in np.unique(fragments):
        offsets = (removed.addresses[fragments == fragment] & _OFFSET_MASK).tolist()
        found = dataset.get_fragment(int(fragment))
        assert found is not None  # the rows come from it
        left = found.delete_rows(offsets)
        if left is None:
            emptied.append(int(fragment))
        else:
            thinned.append(left)
    new = write_fragments(added, dataset, schema=dataset.schema) if len(added) else []
    operation = LanceOperation.Update(removed_fragment_ids=emptied, updated_fragments=thinned, new_fragments=new)
    try:
        changed = LanceDataset.commit(dataset, operation, read_version=dataset.version, max_retries=0)
    except CommitConflictError as error:
        raise _fenced(dataset) from error
    if changed.version != dataset.version + 1:  # a commit of somebody else that Lance could join with this one
        raise _fenced(dataset)
    record_added(before, changed)
    return changed


def _fitting(dataset: lance.LanceDataset, added: pa.Table) -> pa.Table:
    """Rows in the form of a dataset. One that was built before there was a column for documents without a known word
    gets it with the first such document."""
    if KNOWN not in dataset.schema.names and not known_of(added).all():
        dataset.add_columns(pa.field(KNOWN, pa.bool_()))
    return added.select(dataset.schema.names) if len(added) else added


@naming_dataset
def compact(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Write rows of small and thinned fragments together, and bring the index of ids up to date."""
    before = files_of(dataset)
    dataset.optimize.compact_files()
    dataset.optimize.optimize_indices()
    return _recorded(before, dataset)


@naming_dataset
def merge_tail(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Write the small pieces that single writes left together; large ones stay where they are, so the cost does not
    depend on the size of the shard. The index of ids follows when it lacks a good part of the rows."""
    before = files_of(dataset)
    dataset.optimize.compact_files(target_rows_per_fragment=_TAIL_ROWS, materialize_deletions=False)
    for index in dataset.list_indices():
        found = dataset.stats.index_stats(index["name"])
        if found["num_unindexed_rows"] > max(_TAIL_ROWS, found["num_indexed_rows"] // 8):
            dataset.optimize.optimize_indices()
    return _recorded(before, dataset)


def _recorded(before: set[str], dataset: lance.LanceDataset) -> lance.LanceDataset:
    record_added(before, dataset)
    tidy(as_path(dataset.uri).parent, dataset.version)
    return dataset


@naming_dataset
def drop_versions(dataset: lance.LanceDataset, kept: Collection[int]) -> None:
    """Free what only versions need that are not to be kept."""
    dropped = {found["version"] for found in dataset.versions()} - set(kept)
    if dropped:
        dataset.cleanup_old_versions(versions=sorted(dropped), delete_unverified=True)


def rewind(path: Path, version: int, bits: int) -> lance.LanceDataset:
    """Open a shard for writing in the state of a version; commits made after it are undone by a commit of their own."""
    newest = open_documents(path, None, bits)
    if newest.version == version:
        return newest
    wanted = open_documents(path, version, bits)
    before = files_of(wanted)
    with reading(str(path)):
        wanted.restore()
    restored = open_documents(path, None, bits)
    record_added(before, restored)
    return restored


def table_of(
    documents: Sequence[dict[str, object]],
    numbers: Sequence[int],
    coded: Coded,
) -> pa.Table:
    """Documents, their numbers, and what the model made of them, as rows of a shard."""
    columns = {name: [document[name] for document in documents] for name in CONTENT.names if name != "number"}
    return with_codes(pa.table({"number": numbers, **columns}, schema=CONTENT), coded)


@naming_dataset
def _rows(dataset: lance.LanceDataset, condition: pc.Expression | str) -> Rows:
    columns = ["id", "number", "code", *([KNOWN] if KNOWN in dataset.schema.names else [])]
    scanner = dataset.scanner(columns=columns, filter=condition, with_row_address=True)
    table = scanner.to_table()
    bits = 8 * table.schema.field("code").type.byte_width
    return Rows(
        table["id"].to_pylist(),
        table["number"].to_numpy(),
        codes_of(table["code"], bits),
        known_of(table),
        table["_rowaddr"].to_numpy().astype(np.uint64),
    )


def _fenced(dataset: lance.LanceDataset) -> TexthashError:
    return TexthashError(
        f"{dataset.uri} was changed by somebody else since version {dataset.version} was opened.",
        "nothing was written: an index has one writer; open it again to go on.",
    )
