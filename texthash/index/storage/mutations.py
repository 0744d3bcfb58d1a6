"""Changes to the documents of one shard. Each is one Lance commit, which is atomic for readers.

A reader opens a shard in the version that its release names, so a commit is invisible until a release names it. A
commit that no release has named, because its writer died, is undone by :func:`rewind`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.api.attributes import AttributeType
from texthash.config import KeywordAnalysis
from texthash.errors import TexthashError
from texthash.index.filters.language import Where
from texthash.index.filters.masks import mask_of
from texthash.index.keywords.weights import WordWeights
from texthash.index.releases.release import ShardState
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    CONTENT,
    DEFAULT_WEIGHTS,
    KNOWN,
    WORDS,
    Coded,
    analysis_of,
    attribute_columns,
    codes_of,
    fitting,
    known_of,
    weights_of,
    with_attributes,
    with_codes,
    with_words,
    words_field,
)
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import drop_maps, newest_map, write_map
from texthash.index.storage.file_digests import files_of, record_added, tidy
from texthash.index.storage.lance_errors import naming_dataset, reading
from texthash.index.storage.shard_format import open_documents
from texthash.index.storage.stored_filters import TailTable
from texthash.paths import as_path

if TYPE_CHECKING:
    import lance

# Fragments with fewer rows are merged.
_TAIL_ROWS = 8_192
# A row address has the fragment in its upper half and the row in its lower half.
_OFFSET_BITS = np.uint64(32)
_OFFSET_MASK = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Rows:
    """Rows of a shard, without their content.

    Attributes:
        ids: Document ids.
        numbers: Document numbers, int64 [N].
        codes: Codes, uint8 [N, bits / 8].
        known: True for each document with a word in the vocabulary, bool [N].
        addresses: Row addresses in Lance, uint64 [N].
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
    """Change to one shard by a write.

    Attributes:
        removed: Rows of the newest version that are removed.
        added: New rows in the form of the shard's schema.
    """

    removed: Rows
    added: pa.Table

    def apply(self, dataset: lance.LanceDataset) -> lance.LanceDataset:
        """Apply the change, and return the new version of the shard. Raises the same errors as :func:`change`."""
        return change(dataset, self.removed, self.added) if len(self.removed) or len(self.added) else dataset

    def follow(self, state: ShardState) -> ShardState:
        """Return the state after the change, with the old version."""
        checksum = Checksum(state.checksum)
        checksum.remove(self.removed.numbers, self.removed.codes, self.removed.known)
        bits = 8 * self.added.schema.field("code").type.byte_width
        checksum.add(self.added["number"].to_numpy(), codes_of(self.added["code"], bits), known_of(self.added))
        count = state.documents - len(self.removed) + len(self.added)
        return replace(state, documents=count, checksum=str(checksum))


def rows_by_id(dataset: lance.LanceDataset, ids: Sequence[str]) -> Rows:
    """Return the rows that have one of these ids."""
    return _rows(dataset, pc.field("id").isin(pa.array(ids, pa.string())))


@naming_dataset
def rows_where(dataset: lance.LanceDataset, where: Where) -> Rows:
    """Return the rows that fulfil a condition."""
    columns = ["id", "labels", *attribute_columns(dataset.schema)]
    table = dataset.scanner(columns=["number", *columns], with_row_address=True).to_table()
    found = table["_rowaddr"].to_numpy()[mask_of(where, TailTable(table))]
    named = ",".join(map(str, found.tolist()))
    return _rows(dataset, f"_rowid IN ({named})" if named else "false")


@naming_dataset
def change(dataset: lance.LanceDataset, removed: Rows, added: pa.Table) -> lance.LanceDataset:
    """Remove rows and add others, in one commit.

    Args:
        dataset: Newest version of the shard.
        removed: Rows of this version.
        added: New rows in the form of :func:`texthash.index.storage.arrow_schema.schema`.

    Returns:
        New version of the dataset.

    Raises:
        TexthashError: Another process has written to the shard since it was opened; nothing of this change is
            published.
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
        assert found is not None  # The rows were read from it.
        remaining = found.delete_rows(offsets)
        if remaining is None:
            emptied.append(int(fragment))
        else:
            thinned.append(remaining)
    new = write_fragments(added, dataset, schema=dataset.schema) if len(added) else []
    operation = LanceOperation.Update(removed_fragment_ids=emptied, updated_fragments=thinned, new_fragments=new)
    try:
        changed = LanceDataset.commit(dataset, operation, read_version=dataset.version, max_retries=0)
    except CommitConflictError as error:
        raise _conflict(dataset) from error
    if changed.version != dataset.version + 1:  # Lance has merged this commit with one of another process.
        raise _conflict(dataset)
    record_added(before, changed)
    return changed


def _fitting(dataset: lance.LanceDataset, added: pa.Table) -> pa.Table:
    """Return rows in the form of a dataset, with the words of each if it has these.

    A dataset gets the column of an attribute with the first document that has it, and an older one that of known words
    with the first document that has none.
    """
    new = [added.schema.field(name) for name in attribute_columns(added.schema) if name not in dataset.schema.names]
    if KNOWN not in dataset.schema.names and not known_of(added).all():
        new.append(pa.field(KNOWN, pa.bool_()))
    if new:
        dataset.add_columns(pa.schema(new))
    if not len(added):
        return added
    own = dataset.schema
    return fitting(with_words(added, own) if WORDS in own.names else added, own)


@naming_dataset
def add_words(
    dataset: lance.LanceDataset, analysis: KeywordAnalysis, weights: WordWeights = DEFAULT_WEIGHTS
) -> lance.LanceDataset:
    """Add the words of all documents, for keyword search, to a shard that was built without them.

    Existing words by the same analysis with the same weights are left unchanged, others are replaced.
    """
    import lance

    if (analysis_of(dataset.schema), weights_of(dataset.schema)) == (analysis, weights):
        return dataset
    columns = pa.schema([words_field(analysis, weights)])
    before = files_of(dataset)
    if WORDS in dataset.schema.names:
        dataset.drop_columns([WORDS])

    @lance.batch_udf(output_schema=columns)
    def words(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = with_words(pa.Table.from_batches([batch]), columns).select([WORDS])
        return rows.combine_chunks().to_batches()[0]

    dataset.add_columns(words, read_columns=["title", "text"])
    record_added(before, dataset)
    return dataset


@naming_dataset
def compact(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Merge small fragments and those with deleted rows, update the index of ids, and map the documents anew."""
    before, version = files_of(dataset), dataset.version
    dataset.optimize.compact_files()
    dataset.optimize.optimize_indices()
    if dataset.version != version or newest_map(before, version) is None:
        write_map(as_path(dataset.uri).parent, dataset)
    return _recorded(before, dataset)


@naming_dataset
def merge_tail(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Merge the small fragments of single writes.

    Large fragments are left unchanged, so the cost does not depend on the size of the shard. The index of ids is
    updated when it lacks a considerable share of the rows.
    """
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
    """Delete all versions except those in ``kept``, and free the files and maps that only they use."""
    dropped = {found["version"] for found in dataset.versions()} - set(kept)
    if dropped:
        dataset.cleanup_old_versions(versions=sorted(dropped), delete_unverified=True)
    drop_maps(as_path(dataset.uri).parent, [found["version"] for found in dataset.versions()])


def rewind(path: Path, version: int, bits: int) -> lance.LanceDataset:
    """Open a shard for writing in the state of a version. Later commits are undone by a new commit."""
    newest = open_documents(path, None, bits)
    if newest.version == version:
        return newest
    earlier = open_documents(path, version, bits)
    before = files_of(earlier)
    with reading(str(path)):
        earlier.restore()
    restored = open_documents(path, None, bits)
    record_added(before, restored)
    return restored


def table_of(
    documents: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    coded: Coded,
    types: Mapping[str, AttributeType] = MappingProxyType({}),
) -> pa.Table:
    """Return documents with their numbers, codes, vectors and attributes, of these types, as rows of a shard."""
    columns = {name: [document[name] for document in documents] for name in CONTENT.names if name != "number"}
    content = pa.table({"number": numbers, **columns}, schema=CONTENT)
    if types:
        content = with_attributes(content, [document[ATTRIBUTES] for document in documents], types)
    return with_codes(content, coded)


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


def _conflict(dataset: lance.LanceDataset) -> TexthashError:
    return TexthashError(
        f"{dataset.uri} was changed by another process since version {dataset.version} was opened.",
        "nothing was written: an index has one writer; open it again to continue.",
    )
