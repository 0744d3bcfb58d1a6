"""One shard in memory: its codes in an index, its labels as postings, its documents left on disk until asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.kernels import pack_allow, warmup
from texthash.index.memory.cost_model import Plan
from texthash.index.memory.flat import Hits
from texthash.index.memory.multi_index import MultiIndex, join_plans
from texthash.index.storage.arrow_schema import KNOWN, VECTOR, codes_of, known_of, vectors_of
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.file_digests import check_manifest, check_opened, recorded
from texthash.index.storage.lance_errors import REMEDY, reading
from texthash.index.storage.row_addresses import StoredRows, difference
from texthash.index.storage.shard_format import DOCUMENT_FIELDS, ShardManifest, open_documents, read_manifest
from texthash.paths import as_path

_MASKS_KEPT = 64
# Up to so many rows, or this share of all, are followed from one version to the next without reading everything.
_FEW_ROWS = 65_536
_FEW_OF = 8


class StoredCode(NamedTuple):
    """Code of a document, and whether the model knows a word of it: without one there is nothing like it."""

    code: bytes
    known: bool


class Shard:
    """An opened shard. Made by :meth:`open`; it never changes: what is written later is in another, which
    :meth:`advanced` makes of this one.

    Attributes:
        uri: Where it lies.
        manifest: What the shard is.
        version: Lance version that was opened.
    """

    def __init__(self, uri: str, manifest: ShardManifest, rows: StoredRows, index: MultiIndex) -> None:
        self.uri = uri
        self.manifest = manifest
        self.version: int = rows.dataset.version
        self._rows = rows
        self._index = index
        self._masks: OrderedDict[frozenset[str], NDArray[np.uint32]] = OrderedDict()

    @classmethod
    def open(
        cls,
        path: str | Path,
        version: int | None = None,
        *,
        bits: int | None = None,
        model: str | None = None,
        checksum: str | None = None,
    ) -> Shard:
        """Read the codes and numbers of a shard into memory.

        Damage is looked for where that costs little: the digests of its manifests and lists of deleted rows, the sizes
        of all other files, and the checksum of what is read.

        Args:
            path: Directory or address of the shard.
            version: Lance version; None for the newest.
            bits: Width that its codes have to have, if that matters.
            model: Digest of the model that has to have made them, if that matters.
            checksum: Which numbers and codes have to have, if that is known:
                :class:`texthash.index.storage.checksum.Checksum`.

        Raises:
            TexthashError: the shard or that version is missing, damaged or of a later format.
            ModelMismatchError: other bits, or another model.
        """
        path = as_path(path)
        manifest = read_manifest(path)
        if bits is not None and manifest.bits != bits:
            raise ModelMismatchError(
                f"{path} holds codes of {manifest.bits} bits, {bits} are expected.",
                "use the model that made the index.",
            )
        if model is not None and manifest.model != model:
            raise ModelMismatchError(
                f"{path} was made by model {manifest.model[:12]}, not by {model[:12]}.",
                "use the model that made the index, or build an index with this one.",
            )
        digests = recorded(path) if version is None else check_manifest(path, version)
        with reading(str(path)):
            dataset = open_documents(path, version, manifest.bits)
            check_opened(path, dataset, digests)
            rows, table = StoredRows.read(dataset)
        if checksum is not None:
            _check_checksum(str(path), table, manifest.bits, checksum)
        return cls(str(path), manifest, rows, _index_of(table, manifest.bits))

    def advanced(self, version: int) -> Shard:
        """The shard in another version. Only what differs is read, and tables are kept, as long as that is little.

        Raises:
            TexthashError: that version is missing or broken.
        """
        most = max(_FEW_ROWS, len(self) // _FEW_OF)
        with reading(f"version {version} of {self.uri}"):
            dataset = self._rows.dataset.checkout_version(version)
            change = difference(self._rows.dataset, dataset, most) if self._rows.changes < most else None
            if change is None:
                rows, table = StoredRows.read(dataset)
        if change is None:
            return Shard(self.uri, self.manifest, rows, _index_of(table, self.manifest.bits))
        index = self._index.without(change.removed)
        came = change.added.filter(pa.array(known_of(change.added)))
        if len(came):
            index = index.added(codes_of(came["code"], self.manifest.bits), came["number"].to_numpy())
        return Shard(self.uri, self.manifest, self._rows.advanced(dataset, change), index)

    def __len__(self) -> int:
        return self._rows.count

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, int64 [documents], ascending."""
        return self._rows.all_numbers()

    @property
    def size_bytes(self) -> int:
        """Memory of codes, document numbers and tables."""
        return self._index.size_bytes

    def warmup(self) -> None:
        """Compile or load the kernels, make the tables and read the labels, so that the first request does not wait."""
        warmup(self.manifest.bits)
        self._index.prepare()
        with self._reading():
            self._rows.prepare()

    def search(
        self,
        codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        radius: int | None = None,
        labels: Iterable[str] | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """The nearest documents of each query, by (distance, number), and how they were found. A document without a
        known word is near to nothing: it has no place among them.

        Args:
            codes: Query codes, uint8 [Q, bits / 8].
            limit: Hits per query at most.
            offset: Hits to leave out first.
            radius: Only documents at most so many bits away.
            labels: Only documents with at least one of these labels.
            threads: Threads of one call.
            plan: flat, mih, or auto: whichever is expected to be faster, once :meth:`warmup` was called.

        Raises:
            ModelMismatchError: the query codes have another width.
            TexthashError: a plan that does not exist.
        """
        return self._index.search(codes, limit, offset, radius, self._allow(labels), threads, plan)

    def total_within_radius(
        self, codes: NDArray[np.uint8], radius: int, labels: Iterable[str] | None = None, threads: int = 1
    ) -> NDArray[np.int64]:
        """Number of documents within a radius of each query, int64 [Q]. Arguments as :meth:`search`."""
        return self._index.total_within_radius(codes, radius, self._allow(labels), threads)

    def documents(self, numbers: Sequence[int] | NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Documents by number, in the order asked.

        Args:
            numbers: Of documents of this shard.
            fields: Which of title, text, labels and code (bytes) to return beside the id.

        Raises:
            TexthashError: a number that this shard does not hold, or a field that does not exist.
        """
        unknown = set(fields) - {*DOCUMENT_FIELDS, "code"}
        if unknown:
            raise TexthashError(
                f"documents have no field {', '.join(sorted(unknown))}.", f"use {', '.join(DOCUMENT_FIELDS)} or code."
            )
        wanted = np.asarray(numbers, np.int64)
        if not wanted.size:
            return []
        found: list[dict[str, Any]] = self._take(wanted, ["id", *fields]).to_pylist()
        return found

    def rows(self, columns: Sequence[str], ids: Sequence[str] | None = None) -> pa.Table:
        """Columns of documents, with ``known_words`` and vectors where the shard has them: of some ids, or of all."""
        dataset = self._rows.dataset
        wanted = [*columns, *(name for name in (KNOWN, VECTOR) if name in dataset.schema.names)]
        condition = None if ids is None else pc.field("id").isin(pa.array(ids, pa.string()))
        with self._reading():
            return dataset.to_table(columns=wanted, filter=condition)

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of documents of this shard, from memory: uint8 [N, bits / 8], in the order of their numbers."""
        return self._index.codes(numbers)

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
        """Vectors of documents of this shard, from disk: float16 [N, width], in the order of their numbers.

        Raises:
            ModelMismatchError: the index keeps none.
            TexthashError: a number that this shard does not hold.
        """
        width = self._vector_width()
        if not len(numbers):
            return np.empty((0, width), np.float16)
        return vectors_of(self._take(numbers, [VECTOR])[VECTOR])

    def document(self, document_id: str) -> dict[str, Any] | None:
        """A document by id, with all fields, its code and whether the model knows a word of it (``known_words``); None
        if there is none."""
        table = self._with_ids([document_id], [*DOCUMENT_FIELDS, "code"])
        known = pa.array(known_of(table))
        found = table.select(["id", *DOCUMENT_FIELDS, "code"]).append_column(KNOWN, known).to_pylist()
        return found[0] if found else None

    def count(self, labels: Iterable[str] | None = None) -> int:
        """Number of documents; with labels, of those that have one of them."""
        return len(self) if labels is None else len(self._labelled(labels))

    def codes_of(self, ids: Sequence[str]) -> dict[str, StoredCode]:
        """Stored codes of those documents that this shard holds, by id."""
        table = self._with_ids(ids, ["code"])
        codes = map(StoredCode, table["code"].to_pylist(), known_of(table).tolist())
        return dict(zip(table["id"].to_pylist(), codes, strict=True))

    def vectors_of(self, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        """Stored vectors [width] of those documents that this shard holds, by id.

        Raises:
            ModelMismatchError: the index keeps none.
        """
        self._vector_width()
        table = self._with_ids(ids, [VECTOR])
        return dict(zip(table["id"].to_pylist(), vectors_of(table[VECTOR]), strict=True))

    def _with_ids(self, ids: Sequence[str], columns: list[str]) -> pa.Table:
        """Id, some columns, and ``known_words`` if there is such a column, of documents by id."""
        dataset = self._rows.dataset
        wanted = ["id", *columns, *([KNOWN] if KNOWN in dataset.schema.names else [])]
        if not ids:
            return dataset.schema.empty_table().select(wanted)
        with self._reading():
            return dataset.to_table(columns=wanted, filter=pc.field("id").isin(list(set(ids))))

    def _reading(self) -> AbstractContextManager[None]:
        return reading(f"version {self.version} of {self.uri}")

    def _take(self, numbers: NDArray[np.int64], columns: list[str]) -> pa.Table:
        with self._reading():
            table = self._rows.take(numbers, columns)
        if table is None:
            raise TexthashError(
                f"shard {self.manifest.shard} does not hold all of the documents {numbers[:5].tolist()}.",
                "ask the shard that found them.",
            )
        return table

    def _labelled(self, labels: Iterable[str]) -> NDArray[np.int64]:
        with self._reading():
            return self._rows.labelled(labels)

    def _vector_width(self) -> int:
        if self.manifest.vectors is None:
            raise ModelMismatchError(
                f"{self.uri} keeps no vectors.",
                "build the index with index.vectors=activations, or rescore asymmetric.",
            )
        return self.manifest.vectors.width

    def _allow(self, labels: Iterable[str] | None) -> NDArray[np.uint32] | None:
        """Mask of the rows that have one of the labels; the last few are kept."""
        if labels is None:
            return None
        key = frozenset(labels)
        mask = self._masks.pop(key, None)
        if mask is None:
            numbers = self._index.numbers
            allowed = np.isin(numbers, self._labelled(key))
            mask = pack_allow(allowed)
        self._masks[key] = mask
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return mask


def _index_of(rows: pa.Table, bits: int) -> MultiIndex:
    """What is searched: the rows of which a word is known."""
    rows = rows.filter(pa.array(known_of(rows)))
    return MultiIndex(codes_of(rows["code"], bits), rows["number"].to_numpy())


def _check_checksum(what: str, rows: pa.Table, bits: int, wanted: str) -> None:
    found = Checksum()
    found.add(rows["number"].to_numpy(), codes_of(rows["code"], bits), known_of(rows))
    if str(found) != wanted:
        raise TexthashError(
            f"{what} is damaged: its rows have the checksum {found}, those that were released {wanted}.", REMEDY
        )


def merge(parts: Sequence[Hits], limit: int, offset: int = 0) -> tuple[Hits, list[NDArray[np.int64]]]:
    """Join what the shards found for the same queries, exactly: by (distance, number).

    Args:
        parts: One per shard, each with at least ``offset + limit`` hits per query where it has so many.
        limit: Hits per query at most.
        offset: Hits to leave out first.

    Returns:
        The hits, and for each query the shard (place in ``parts``) of each hit, int64.
    """
    distances, numbers, shards = [], [], []
    for query in range(len(parts[0])):
        near = np.concatenate([part.distances[query] for part in parts])
        which = np.concatenate([part.numbers[query] for part in parts])
        owner = np.repeat(np.arange(len(parts)), [len(part.numbers[query]) for part in parts])
        order = np.lexsort((which, near))[offset : offset + limit]
        distances.append(near[order])
        numbers.append(which[order])
        shards.append(owner[order])
    known = [part for part in parts if part.plans]
    plans = [join_plans([part.plans[query] for part in known]) for query in range(len(distances) if known else 0)]
    candidates = np.stack([part.candidates for part in known]).sum(axis=0) if known else np.empty(0, np.int64)
    return Hits(distances, numbers, plans, candidates), shards
