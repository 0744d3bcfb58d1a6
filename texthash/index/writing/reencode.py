"""Migration of a live index to another model: its documents are re-encoded into a new index, and later writes follow.

If the live index stores vectors, the new one stores vectors of the same kind from its own model.

Both indexes hold the same documents under the same numbers in the same number of shards, so they differ in codes only.
Writes since the two were equal are found by comparing two versions of each shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.releases.release import RECODED
from texthash.index.storage.arrow_schema import (
    ATTRIBUTE,
    ATTRIBUTES,
    CONTENT,
    DEFAULT_WEIGHTS,
    VECTOR,
    Coded,
    attribute_columns,
    take_attributes,
    vectors_of,
    weights_of,
    with_codes,
)
from texthash.index.storage.free_space import FreeSpace, explaining_full_disk
from texthash.index.storage.lance_errors import reading
from texthash.index.storage.mutations import Change, Rows, rows_by_id, table_of
from texthash.index.storage.row_addresses import difference, rows_at
from texthash.index.storage.shard_format import (
    ShardIdentity,
    Vectors,
    is_written,
    kind_of,
    open_documents,
    read_manifest,
    shard_path,
    write_shard,
)
from texthash.index.writing.writable_shards import WritableShards
from texthash.index.writing.writer_lock import WriterLock
from texthash.progress import track

if TYPE_CHECKING:
    import lance

    from texthash.api.attributes import AttributeType
    from texthash.index.releases.release import Release, ShardState
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

_ROWS = 4_096
_ALL_ROWS = 2**63


class Encode:
    """Encoder of stored documents.

    An unchanged training document gets the code that the method defines for its database; every other document gets the
    code of its text. Vectors are always those of the text.

    Args:
        hasher: Model that encodes.
        home: State directory that holds the corpus of the model.
        kind: Kind of the vectors; None makes none.

    Raises:
        TexthashError: The method defines codes of its training documents, and the corpus is missing.
        ModelMismatchError: The corpus has changed, or the model has no such vectors.

    Attributes:
        vectors: Kind and width of the vectors that an index of these documents stores.
        reads_stored: Whether the model needs vectors that only an index has: the user's own.
    """

    def __init__(self, hasher: Hasher, home: StateDir, kind: VectorKind | None = None) -> None:
        from texthash.methods.categorizer import attributes_of
        from texthash.models.vectors import reads_stored_vectors, vector_width

        self._hasher = hasher
        self._written = attributes_of(hasher.method)
        self.vectors = None if kind is None else Vectors(kind, vector_width(hasher.method, kind))
        self.reads_stored = reads_stored_vectors(hasher.method, kind)
        self._own: dict[str, tuple[bytes, bytes]] = {}
        codes = hasher.method.database_codes()
        if codes is not None:
            from texthash.corpora.prepared.corpus import PreparedCorpus

            corpus = PreparedCorpus.open(home.corpus(hasher.corpus, hasher.edition.name))
            hasher.check_corpus(corpus)
            row = 0
            for table in corpus.train.documents(_ROWS):
                for id_, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
                    self._own[id_] = (_digest(text), codes[row].tobytes())
                    row += 1

    @property
    def columns(self) -> list[str]:
        """Columns of stored documents that decide their codes and vectors, or are kept, beside attributes."""
        return [*CONTENT.names, *([VECTOR] if self.reads_stored else [])]

    def columns_of(self, dataset: lance.LanceDataset, source: Release) -> list[str]:
        """Return these columns and those of the attributes of a dataset of an index that its model has not written."""
        own = {ATTRIBUTE + name for name in _own_types(source)}
        return [*self.columns, *(name for name in attribute_columns(dataset.schema) if name in own)]

    def types_of(self, source: Release) -> dict[str, AttributeType]:
        """Return the types of the attributes of the documents of an index, those included that this model writes."""
        return {**_own_types(source), **self._written}

    def check_source(self, home: StateDir, release: Release) -> None:
        """Check the stored vectors of a release, where the model reads such (:attr:`reads_stored`).

        Raises:
            ModelMismatchError: The index stores no vectors of the width and source that the model has learned from.
            UsageError: Documents have an attribute of their own that this model writes.
        """
        from texthash.methods.categorizer import check_own_attributes
        from texthash.models.files import read_hasher_record

        check_own_attributes(self._hasher.method, _own_types(release))

        if not self.reads_stored:
            return
        shape, source = self._hasher.method.shape, release.vectors
        if source is None or source.kind != "features" or source.width != shape.dense:
            raise ModelMismatchError(
                f"the model reads vectors of width {shape.dense} ({shape.encoder}) from the index, "
                "and the index stores none of that width.",
                "build it with index.vectors=features, which keeps them: `texthash index build`.",
            )
        stored = read_hasher_record(home.path(release.model_uri)).shape.encoder
        if stored != shape.encoder:
            raise ModelMismatchError(
                f"the model has learned from vectors of {shape.encoder}, but the index stores those of {stored}.",
                "build an index of its own vectors: `texthash index build`.",
            )

    def code(self, ids: list[str], texts: list[str], features: NDArray[np.float16] | None = None) -> Coded:
        """Encode documents, with their vectors if the index stores vectors.

        Args:
            ids: Ids of the documents.
            texts: Their texts.
            features: Their stored vectors, where the model reads such (:attr:`reads_stored`).

        Raises:
            TexthashError: A document has no text, because it was inserted as a code.
        """
        textless = [id_ for id_, text in zip(ids, texts, strict=True) if not text]
        if textless and not self.reads_stored:
            raise TexthashError(
                f"the document {textless[0]!r} has no text, only a code of another model.",
                "upsert it with its text, or delete it.",
            )
        given = features if self.reads_stored else None
        read = self._hasher.read(texts, vectors=kind_of(self.vectors), features=given)
        codes, known = self._hasher.binarize(read.values), read.known.copy()
        for row, (id_, text) in enumerate(zip(ids, texts, strict=True)):
            digest, own = self._own.get(id_, (b"", b""))
            if own and digest == _digest(text):
                codes[row] = np.frombuffer(own, np.uint8)
                known[row] = True
        vectors = None if read.vectors is None else read.vectors.astype(np.float16)
        return Coded(codes, known, vectors, read.categories)

    def code_rows(self, rows: list[dict[str, Any]]) -> Coded:
        """Encode documents that were read by :attr:`columns`."""
        width = self._hasher.method.shape.dense
        features = None
        if self.reads_stored:
            features = np.array([row[VECTOR] for row in rows], np.float16).reshape(-1, width)
        return self.code([row["id"] for row in rows], [row["text"] for row in rows], features)


def recode_index(home: StateDir, release: Release, model: str, hasher: Hasher, coder: Encode) -> Path:
    """Build an index that holds exactly the documents of a release, under their numbers, with codes of another model.

    An interrupted build resumes: written shards are reused.

    Args:
        home: State directory; the index is created under ``index/``.
        release: Release whose documents are re-encoded.
        model: Digest of the model.
        hasher: Model whose codes have the width of the release.
        coder: Encoder of documents by this model.

    Returns:
        Directory of the index.
    """
    coder.check_source(home, release)
    made_of = json.dumps([model, [asdict(state) for state in release.shards], coder.vectors and asdict(coder.vectors)])
    FreeSpace(home, release.index_uri).check()
    shards = len(release.shards)
    index = home.index / f"{hasher.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}-{shards}{RECODED}"
    for number, state in enumerate(track(release.shards, "re-encoding shards")):
        path = shard_path(index, number)
        if is_written(path):
            read_manifest(path)
            continue
        dataset = open_documents(home.path(state.uri), state.version, release.bits)
        identity = ShardIdentity(
            shard=number,
            shards=shards,
            bits=release.bits,
            model=model,
            vocabulary_hash=hasher.vocabulary_hash,
            vectors=coder.vectors,
            keywords=release.keywords,
            attributes=coder.types_of(release),
            weights=weights_of(dataset.schema) or DEFAULT_WEIGHTS,
        )
        write_shard(path, _recoded(dataset, coder, release), identity, release.next_number)
    return index


def _recoded(dataset: lance.LanceDataset, coder: Encode, source: Release) -> Iterator[pa.RecordBatch]:
    with reading(f"version {dataset.version} of {dataset.uri}"):
        for batch in dataset.to_batches(columns=coder.columns_of(dataset, source), batch_size=_ROWS):
            if batch.num_rows:
                rows = pa.Table.from_batches([batch])
                features = vectors_of(rows[VECTOR]) if coder.reads_stored else None
                coded = coder.code(rows["id"].to_pylist(), rows["text"].to_pylist(), features)
                yield from with_codes(rows, coded).to_batches()


@dataclass
class _ShardDelta:
    """Writes to one shard.

    Attributes:
        removed: Numbers of the rows that were deleted or replaced, by id.
        added: Rows that were inserted.
    """

    removed: dict[str, int]
    added: list[dict[str, Any]]


class IndexMigration:
    """Transfer of the writes to one index into another.

    Documents are matched by id. A replaced document keeps its number in the target; a new one has the same number in
    both indexes, unless that number is taken in the target.

    Args:
        home: State directory.
        source: Release of the index that receives the writes.
        target: Release of the other index, which holds the same documents.
        coder: Encoder by the model of ``target``, with the kind of vectors that ``target`` stores.
    """

    def __init__(self, home: StateDir, source: Release, target: Release, coder: Encode) -> None:
        coder.check_source(home, source)
        self._home = home
        self._source = source
        self._target = target
        self._coder = coder
        self._writer_lock = WriterLock(home, target.index_uri)
        self._space = FreeSpace(home, target.index_uri)
        self._shards: WritableShards | None = None

    def __enter__(self) -> IndexMigration:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def catch_up(self, current: Release) -> int:
        """Apply the writes up to a release of the source, and return the number of documents that they touched.

        Raises:
            IndexLockedError: Another process writes to the target.
            DiskFullError: Too little space is free, or the disk became full during the write.
            TexthashError: The target could not be written to, or a document cannot be encoded.
        """
        deltas = [self._delta(shard, current) for shard in range(len(current.shards))]
        touched = sum(len({*delta.removed, *(row["id"] for row in delta.added)}) for delta in deltas)
        if touched:
            self._apply(deltas, current)
        following = max(self._target.next_number, current.next_number)
        self._source, self._target = (
            current,
            replace(
                self._target,
                next_number=following,
                attributes=self._coder.types_of(current),
                written=current.was_written or self._target.was_written,
            ),
        )
        return touched

    def finish(self, current: Release) -> Release:
        """Apply the remaining writes, release the writer lock of the target, and return its release.

        ``hand_over`` calls this.
        """
        self.catch_up(current)
        self._close()
        return self._target

    # -- steps ------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        if self._shards is not None:
            self._shards.close()
            self._shards = None
        self._writer_lock.release()

    def _delta(self, shard: int, current: Release) -> _ShardDelta:
        before, after = self._source.shards[shard], current.shards[shard]
        if before == after:
            return _ShardDelta({}, [])
        with reading(f"version {after.version} of {after.uri}"):
            return self._read_delta(before, after, current)

    def _read_delta(self, before: ShardState, after: ShardState, current: Release) -> _ShardDelta:
        old = open_documents(self._home.path(before.uri), before.version, current.bits)
        new = old.checkout_version(after.version)
        change = difference(old, new, _ALL_ROWS)
        assert change is not None  # The limit on rows admits all of them.
        columns = self._coder.columns_of(new, current)
        added = _with_mapping(rows_at(new, change.added["_rowaddr"].to_numpy(), columns))
        is_removed = pc.field("number").isin(pa.array(change.removed))
        columns = self._coder.columns_of(old, current)
        removed = _with_mapping(old.to_table(columns=columns, filter=is_removed)) if len(change.removed) else []
        old_rows = {row["number"]: row for row in removed}
        # Compaction moves rows that no write has changed; they appear as removed and added.
        moved = {row["number"] for row in added if old_rows.get(row["number"]) == row}
        return _ShardDelta(
            {row["id"]: row["number"] for row in removed if row["number"] not in moved},
            [row for row in added if row["number"] not in moved],
        )

    def _apply(self, deltas: list[_ShardDelta], current: Release) -> None:
        self._space.check()
        try:
            with explaining_full_disk(self._target.index_uri):
                if self._shards is None:
                    self._writer_lock.acquire()
                    self._shards = WritableShards(self._home, self._target)
                self._change(self._shards, deltas, current)
        except BaseException:
            self._close()  # The next opening of the target undoes unfinished commits.
            raise

    def _change(self, shards: WritableShards, deltas: list[_ShardDelta], current: Release) -> None:
        existing = [
            rows_by_id(dataset, list({*delta.removed, *(row["id"] for row in delta.added)}))
            for dataset, delta in zip(shards.datasets, deltas, strict=True)
        ]
        numbers, following = _target_numbers(deltas, existing, self._target.next_number)
        changes, types = [], self._coder.types_of(current)
        for delta, old in zip(deltas, existing, strict=True):
            coded = self._coder.code_rows(delta.added)
            assigned = [numbers[row["id"]] for row in delta.added]
            changes.append(Change(old, table_of(delta.added, assigned, coded, types)))
        states = shards.change(changes, self._target, following)
        self._target = replace(self._target, shards=tuple(states), next_number=following, attributes=types)


def _target_numbers(deltas: list[_ShardDelta], existing: list[Rows], following: int) -> tuple[dict[str, int], int]:
    """Return the numbers in the target of all added rows, by id, and the next free number."""
    numbers: dict[str, int] = {}
    new: list[dict[str, Any]] = []
    for delta, old in zip(deltas, existing, strict=True):
        old_numbers = {id_: int(number) for id_, number in zip(old.ids, old.numbers, strict=True)}
        for row in delta.added:
            # A document that was deleted and inserted again has a new number.
            if row["id"] in old_numbers and delta.removed.get(row["id"], row["number"]) == row["number"]:
                numbers[row["id"]] = old_numbers[row["id"]]
            else:
                new.append(row)
    for row in sorted(new, key=lambda row: int(row["number"])):
        numbers[row["id"]] = max(following, row["number"])
        following = numbers[row["id"]] + 1
    return numbers, following


def _with_mapping(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows, with their attributes as one mapping."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row[ATTRIBUTES] = take_attributes(row)
    return rows


def _own_types(source: Release) -> dict[str, AttributeType]:
    """Return the types of the attributes of an index that its model has not written."""
    from texthash.methods.categorizer import attributes_of
    from texthash.methods.registry import get_method

    written = attributes_of(get_method(source.method))
    return {name: kind for name, kind in source.attributes.items() if name not in written}


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
