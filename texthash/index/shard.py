"""Shard in memory: codes in a searchable index, labels as postings; documents are read from disk on demand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.contents import compare, counted
from texthash.index.filters.language import Where
from texthash.index.filters.parts import Part
from texthash.index.filters.selection import Selection
from texthash.index.keywords.stored import StoredKeywords
from texthash.index.keywords.top import load_kernel
from texthash.index.mapped_contents import MappedFiles, map_contents
from texthash.index.memory.deferred import DeferredIndex
from texthash.index.memory.hits import Hits
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    KNOWN,
    VECTOR,
    attribute_columns,
    codes_of,
    known_of,
    take_attributes,
    vectors_of,
)
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_copies import map_of
from texthash.index.storage.file_digests import check_manifest, check_opened, recorded
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.row_addresses import StoredRows, difference
from texthash.index.storage.shard_format import (
    DOCUMENT_FIELDS,
    ShardManifest,
    open_documents,
    read_manifest,
)
from texthash.io.atomic import is_local
from texthash.io.local_copies import LocalCopies
from texthash.paths import as_path

if TYPE_CHECKING:
    from texthash.index.memory.cost_model import Plan
    from texthash.index.memory.multi_index import MultiIndex

T = TypeVar("T")
_MASKS_KEPT = 64
# A new version is read incrementally if at most this number of rows, or 1 / _FEW_OF of all rows, have changed.
_FEW_ROWS = 65_536
_FEW_OF = 8


class StoredCode(NamedTuple):
    """Code of a document, and true if one of its words is in the vocabulary; without one it has no neighbours."""

    code: bytes
    known: bool


class Shard:
    """Opened shard, created by :meth:`open`. Immutable: :meth:`advanced` returns another one with later writes.

    Attributes:
        uri: Directory or URI of the shard.
        manifest: Manifest of the shard.
        version: Lance version that was opened.
        keywords: Keyword search over the same documents.
    """

    def __init__(
        self,
        uri: str,
        manifest: ShardManifest,
        rows: StoredRows,
        index: DeferredIndex | MultiIndex,
        checksum: Checksum,
        keywords: StoredKeywords | None = None,
        *,
        copies: LocalCopies | None = None,
        files: MappedFiles | None = None,
    ) -> None:
        self.uri = uri
        self._copies, self._files = copies, files
        self.manifest = manifest
        self._checksum = checksum
        self.version: int = rows.dataset.version
        self.keywords = keywords or StoredKeywords(uri, rows)
        self._rows = rows
        self._index = index
        self._masks: OrderedDict[Where, NDArray[np.uint32]] = OrderedDict()

    @classmethod
    def open(
        cls,
        path: str | Path,
        version: int | None = None,
        *,
        checksum: str | None = None,
        copies: LocalCopies | None = None,
        files: MappedFiles | None = None,
    ) -> Shard:
        """Read the codes and numbers of a shard into memory, or map them.

        Inexpensive checks find damage: the digests of manifests and deletion files, the sizes of all other files, and
        the checksum of the rows that are read.

        Args:
            path: Directory or URI of the shard.
            version: Lance version; None opens the newest.
            checksum: Expected checksum of numbers and codes, if known, see
                :class:`texthash.index.storage.checksum.Checksum`.
            copies: Copies of the documents of shards in an object store, which searches then read from the disk of
                this node; None reads them from the store. One that does not fit is logged, and not made.
            files: Files of this node from which its processes map codes and tables; None reads them into memory, as for
                a shard whose file does not fit, which is logged. They need a known checksum.

        Raises:
            TexthashError: The shard or that version is missing, damaged or of a later format.
        """
        path = as_path(path)
        manifest = read_manifest(path)
        digests = recorded(path) if version is None else check_manifest(path, version)
        with reading(str(path)):
            dataset = open_documents(path, version, manifest.bits)
            check_opened(path, dataset, digests, manifest.lists_files)
            mapped = map_of(path, dataset, copies)
        read = map_contents(files, path, dataset, mapped, manifest.bits, checksum)
        keywords = StoredKeywords(str(path), read.rows, read.keywords)
        return cls(str(path), manifest, read.rows, read.index, read.checksum, keywords, copies=copies, files=files)

    def advanced(self, version: int, checksum: str | None = None) -> Shard:
        """Return the shard in another version. If few rows differ, only these are read, and the tables are shared.

        The new files are checked for damage as :meth:`open` does.

        Args:
            version: Lance version.
            checksum: Expected checksum of the numbers and codes in that version; None: not compared.

        Raises:
            TexthashError: That version is missing or damaged.
        """
        path = as_path(self.uri)
        digests = check_manifest(path, version, after=self.version if version > self.version else -1)
        most = max(_FEW_ROWS, len(self) // _FEW_OF)
        with reading(f"version {version} of {self.uri}"):
            dataset = self._rows.dataset.checkout_version(version)
            check_opened(path, dataset, digests)
            change = difference(self._rows.dataset, dataset, most) if self._rows.changes < most else None
            mapped = map_of(path, dataset, self._copies, self._rows.map)
        bits = self.manifest.bits
        if change is None:
            read = map_contents(self._files, path, dataset, mapped, bits, checksum)
            keywords = StoredKeywords(self.uri, read.rows, read.keywords)
            return self._with(read.rows, read.index, read.checksum, keywords)
        found = counted(self._checksum_without(change.removed), change.added, bits)
        compare(f"version {version} of {self.uri}", found, checksum)
        index = self._index.without(change.removed)
        added = change.added.filter(pa.array(known_of(change.added)))
        if len(added):
            index = index.added(codes_of(added["code"], bits), added["number"].to_numpy())
        rows = self._rows.advanced(dataset, change, mapped)
        keywords = self.keywords.advanced(rows, change)
        return self._with(rows, index, found, keywords)

    def _with(
        self,
        rows: StoredRows,
        index: DeferredIndex | MultiIndex,
        checksum: Checksum,
        keywords: StoredKeywords,
    ) -> Shard:
        return Shard(self.uri, self.manifest, rows, index, checksum, keywords, copies=self._copies, files=self._files)

    def _checksum_without(self, removed: NDArray[np.int64]) -> Checksum:
        """Return the checksum of the remaining rows. Codes are taken from memory, or read if no word is known."""
        left, known = Checksum(str(self._checksum)), self._index.holds(removed)
        left.remove(removed[known], self._index.codes(removed[known]), known[known])
        if not known.all():
            codes = codes_of(self._take(removed[~known], ["code"])["code"], self.manifest.bits)
            left.remove(removed[~known], codes, known[~known])
        return left

    def __len__(self) -> int:
        return self._rows.count

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, int64 [documents], ascending."""
        return self._rows.all_numbers()

    @property
    def documents_are_local(self) -> bool:
        """True if the documents of hits are read from this node, so that searches need no object store."""
        return self._rows.map is not None or is_local(as_path(self.uri))

    @property
    def size_bytes(self) -> int:
        """Memory of codes, document numbers, tables, postings and attributes in bytes."""
        return self._index.size_bytes + self.keywords.size_bytes + self._rows.base.size_bytes

    def warmup(self) -> None:
        """Compile or load the kernels, build the tables and read words and labels ahead of the first request."""
        from texthash.hamming.kernels import warmup

        warmup(self.manifest.bits)
        self._index.prepare()
        if self.keywords.analysis is not None:
            load_kernel()
            self.keywords.prepare()
        with self._reading():
            self._rows.prepare()

    def search(
        self,
        codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        *,
        radius: int | None = None,
        where: Where | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """Return the nearest documents of each query, by (distance, number), and the plan of each search.

        Documents without a known word are never returned.

        Args:
            codes: Query codes, uint8 [Q, bits / 8].
            limit: Largest number of hits per query.
            offset: Number of hits to skip.
            radius: Largest Hamming distance of a hit in bits; None for no limit.
            where: Condition that a hit must fulfil; None for no restriction.
            threads: Number of threads of the call.
            plan: Search strategy: flat, mih, or auto for the one that is expected to be faster after :meth:`warmup`.

        Raises:
            ModelMismatchError: The query codes have another width.
            TexthashError: The plan does not exist.
        """
        allow = self._allow(where)
        return self._index.search(codes, limit, offset, radius=radius, allow=allow, threads=threads, plan=plan)

    def total_within_radius(
        self, codes: NDArray[np.uint8], radius: int, where: Where | None = None, threads: int = 1
    ) -> NDArray[np.int64]:
        """Return the number of documents within a radius of each query, int64 [Q]. Arguments as in :meth:`search`."""
        return self._index.total_within_radius(codes, radius, self._allow(where), threads)

    def documents(self, numbers: Sequence[int] | NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return documents by number, in the given order.

        Args:
            numbers: Numbers of documents of this shard.
            fields: Names of fields to return beside the id: title, text, labels, attributes (a mapping of names to
                values) and code (bytes).

        Raises:
            TexthashError: The shard does not hold one of the numbers, or a field does not exist.
        """
        _check_fields(fields)
        selected = np.asarray(numbers, np.int64)
        if not selected.size:
            return []
        with self._reading():
            documents = self._rows.documents(selected, self._stored(["id", *fields]))
        return _with_mapping(self._existing(documents, selected), ATTRIBUTES in fields)

    def mapped_documents(
        self, numbers: Sequence[int] | NDArray[np.int64], fields: Sequence[str]
    ) -> list[dict[str, Any]] | None:
        """Return the same as :meth:`documents` from mapped memory, in microseconds; None if that does not hold all."""
        _check_fields(fields)
        with self._reading():
            documents = self._rows.mapped(np.asarray(numbers, np.int64), self._stored(["id", *fields]))
        return None if documents is None else _with_mapping(documents, ATTRIBUTES in fields)

    def rows(self, columns: Sequence[str], ids: Sequence[str] | None = None) -> pa.Table:
        """Return columns of documents by id, or of all documents.

        ``known_words`` and vectors are among them if the shard has these columns; ``attributes`` stands for those of
        all attributes.
        """
        dataset = self._rows.dataset
        names = [*self._stored(columns), *(name for name in (KNOWN, VECTOR) if name in dataset.schema.names)]
        condition = None if ids is None else pc.field("id").isin(pa.array(ids, pa.string()))
        with self._reading():
            return dataset.to_table(columns=names, filter=condition)

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return codes of documents of this shard from memory, uint8 [N, bits / 8], in the order of ``numbers``."""
        return self._index.codes(numbers)

    def distances(self, code: bytes, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the Hamming distances of a code to documents of this shard, int64 [N], in the order of ``numbers``.

        The distance is -1 for a document without a known word.
        """
        return self.distances_of_each([code], [numbers])[0]

    def distances_of_each(
        self, codes: Sequence[bytes], numbers: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.int64]]:
        """Return the result of :meth:`distances` for several codes, each with the numbers of its own documents."""
        sizes = [len(own) for own in numbers]
        if not sum(sizes):
            return [np.empty(0, np.int64) for _ in numbers]
        given = np.frombuffer(b"".join(codes), np.uint8).reshape(len(sizes), -1)
        found = self._index.distances(given, np.repeat(np.arange(len(sizes)), sizes), np.concatenate(numbers))
        return np.split(found, np.cumsum(sizes)[:-1])

    def scores(
        self, values: NDArray[np.floating], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the asymmetric score of each document for a query, float64 [N], from the codes in memory.

        Args:
            values: Activations of the queries minus the thresholds, [Q, bits].
            queries: Query of each document, int64 [N].
            numbers: Documents of this shard that have a known word, int64 [N].

        Raises:
            ModelMismatchError: The queries have another width.
            TexthashError: A value is not finite.
        """
        return self._index.scores(values, queries, numbers)

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return vectors of documents of this shard from disk, float16 [N, width], in the order of ``numbers``.

        Raises:
            ModelMismatchError: The index stores no vectors.
            TexthashError: The shard does not hold one of the numbers.
        """
        width = self._vector_width()
        if not len(numbers):
            return np.empty((0, width), np.float16)
        return vectors_of(self._take(numbers, [VECTOR])[VECTOR])

    def document(self, document_id: str) -> dict[str, Any] | None:
        """Return a document by id, with all fields, its code and ``known_words``; None if it does not exist."""
        columns = self._stored([*DOCUMENT_FIELDS, "code"])
        table = self._with_ids([document_id], columns)
        known = pa.array(known_of(table))
        found = _with_mapping(table.select(["id", *columns]).append_column(KNOWN, known).to_pylist(), True)
        return found[0] if found else None

    def count(self, where: Where | None = None) -> int:
        """Return the number of documents, or of those that fulfil a condition."""
        return len(self) if where is None else len(self.select(where))

    def select(self, where: Where) -> Selection:
        """Return the documents that fulfil a condition."""
        with self._reading():
            return self._rows.select(where)

    def parts(self, selected: Selection | None = None) -> list[Part]:
        """Return all documents as rows with attributes and labels, with those of a selection kept; None keeps all."""
        with self._reading():
            return self._rows.parts(selected)

    def prepare_filter(self, where: Where | None) -> None:
        """Make the mask of a condition, which later searches by it find ready."""
        self._allow(where)

    def codes_of(self, ids: Sequence[str]) -> dict[str, StoredCode]:
        """Return the stored codes of those documents that exist in this shard, by id."""
        table = self._with_ids(ids, ["code"])
        codes = map(StoredCode, table["code"].to_pylist(), known_of(table).tolist())
        return dict(zip(table["id"].to_pylist(), codes, strict=True))

    def vectors_of(self, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        """Return the stored vectors [width] of those documents that exist in this shard, by id.

        Raises:
            ModelMismatchError: The index stores no vectors.
        """
        self._vector_width()
        table = self._with_ids(ids, [VECTOR])
        return dict(zip(table["id"].to_pylist(), vectors_of(table[VECTOR]), strict=True))

    def _with_ids(self, ids: Sequence[str], columns: list[str]) -> pa.Table:
        """Return id, some columns, and ``known_words`` if the column exists, of documents by id."""
        dataset = self._rows.dataset
        names = ["id", *columns, *([KNOWN] if KNOWN in dataset.schema.names else [])]
        if not ids:
            return dataset.schema.empty_table().select(names)
        with self._reading():
            return dataset.to_table(columns=names, filter=pc.field("id").isin(list(set(ids))))

    def _stored(self, fields: Sequence[str]) -> list[str]:
        """Return the stored columns of fields; each attribute has its own."""
        more = attribute_columns(self._rows.dataset.schema) if ATTRIBUTES in fields else []
        return [*(name for name in fields if name != ATTRIBUTES), *more]

    def _reading(self) -> AbstractContextManager[None]:
        return reading(f"version {self.version} of {self.uri}")

    def _take(self, numbers: NDArray[np.int64], columns: list[str]) -> pa.Table:
        with self._reading():
            table = self._rows.take(numbers, columns)
        return self._existing(table, numbers)

    def _existing(self, found: T | None, numbers: NDArray[np.int64]) -> T:
        if found is None:
            raise TexthashError(
                f"shard {self.manifest.shard} does not hold all of the documents {numbers[:5].tolist()}.",
                "query the shard that found them.",
            )
        return found

    def _vector_width(self) -> int:
        if self.manifest.vectors is None:
            raise ModelMismatchError(
                f"{self.uri} stores no vectors.",
                "build the index with index.vectors=activations, or use asymmetric rescoring.",
            )
        return self.manifest.vectors.width

    def _allow(self, where: Where | None) -> NDArray[np.uint32] | None:
        """Return the mask of the rows that fulfil a condition. Recently used masks are cached."""
        if where is None:
            return None
        from texthash.hamming.kernels import pack_allow

        mask = self._masks.pop(where, None)
        if mask is None:
            numbers = self._index.numbers
            mask = pack_allow(self.select(where).of(numbers, ascending=self._index.ascending))
        self._masks[where] = mask
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return mask


def _check_fields(fields: Sequence[str]) -> None:
    unknown = set(fields) - {*DOCUMENT_FIELDS, "code"}
    if unknown:
        raise TexthashError(
            f"documents have no field {', '.join(sorted(unknown))}.", f"use {', '.join(DOCUMENT_FIELDS)} or code."
        )


def _with_mapping(rows: list[dict[str, Any]], attributes: bool) -> list[dict[str, Any]]:
    """Return rows, with their attributes as one mapping if these are wanted."""
    if attributes:
        for row in rows:
            row[ATTRIBUTES] = take_attributes(row)
    return rows
