"""Another model for a live index: its documents in an index of their own, coded anew, and what is written meanwhile
after them. Where the live one keeps vectors, the new one keeps those of the same kind by its own model.

Both indexes hold the same documents under the same numbers in as many shards, so going from one to the other is a
matter of codes. What was written since they were alike is found by comparing two versions of each shard.
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

from texthash.config import VectorKind
from texthash.errors import TexthashError
from texthash.index.storage.arrow_schema import CONTENT, Coded, with_codes
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

    from texthash.index.releases.release import Release, ShardState
    from texthash.models.hasher import Hasher
    from texthash.paths import StateDir

_ROWS = 4_096
_ALL_ROWS = 2**63


class Encode:
    """Codes of stored documents by a model: of their text, or, for unchanged training documents, those that the method
    defines for its database; and vectors of their text.

    Args:
        hasher: The model.
        home: State directory, where its corpus is.
        kind: Of the vectors; None: none.

    Raises:
        TexthashError: the method has codes of its own for training documents, and the corpus is not there.
        ModelMismatchError: that corpus has changed, or the model has no such vectors.

    Attributes:
        vectors: What an index of its documents keeps.
    """

    def __init__(self, hasher: Hasher, home: StateDir, kind: VectorKind | None = None) -> None:
        from texthash.models.vectors import vector_width

        self._hasher = hasher
        self.vectors = None if kind is None else Vectors(kind, vector_width(hasher.method, kind))
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

    def code(self, ids: list[str], texts: list[str]) -> Coded:
        """What the model makes of documents, with vectors if there are to be some.

        Raises:
            TexthashError: a document without text, which was put in as a code.
        """
        bare = [id_ for id_, text in zip(ids, texts, strict=True) if not text]
        if bare:
            raise TexthashError(
                f"the document {bare[0]!r} has no text, only a code of another model.",
                "put it in with its text, or take it out.",
            )
        read = self._hasher.read(texts, vectors=kind_of(self.vectors))
        codes, known = self._hasher.binarize(read.values), read.known.copy()
        for row, (id_, text) in enumerate(zip(ids, texts, strict=True)):
            digest, own = self._own.get(id_, (b"", b""))
            if own and digest == _digest(text):
                codes[row] = np.frombuffer(own, np.uint8)
                known[row] = True
        return Coded(codes, known, None if read.vectors is None else read.vectors.astype(np.float16))


def recode_index(home: StateDir, release: Release, model: str, hasher: Hasher, coder: Encode) -> Path:
    """Build an index that holds exactly the documents of a release, under their numbers, with codes of another model.

    Resumes: shards that are written stay.

    Args:
        home: State directory; the index appears under ``index/``.
        release: Whose documents.
        model: Digest of the model.
        hasher: The model, of as many bits.
        coder: Its codes and vectors.

    Returns:
        Directory of the index.
    """
    made_of = json.dumps([model, [asdict(state) for state in release.shards], coder.vectors and asdict(coder.vectors)])
    FreeSpace(home, release.index_uri).check()
    shards = len(release.shards)
    index = home.index / f"{hasher.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}-{shards}"
    for number, state in enumerate(track(release.shards, "coding shards anew")):
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
        )
        write_shard(path, _recoded(dataset, coder, release.bits), identity, release.next_number)
    return index


def _recoded(dataset: lance.LanceDataset, coder: Encode, bits: int) -> Iterator[pa.RecordBatch]:
    with reading(f"version {dataset.version} of {dataset.uri}"):
        for batch in dataset.to_batches(columns=CONTENT.names, batch_size=_ROWS):
            if batch.num_rows:
                coded = coder.code(batch.column("id").to_pylist(), batch.column("text").to_pylist())
                yield from with_codes(pa.Table.from_batches([batch]), coded).to_batches()


@dataclass
class _Written:
    """What was written to one shard: rows that are gone or were replaced, by id, and rows that came."""

    gone: dict[str, int]
    came: list[dict[str, Any]]


class IndexMigration:
    """Takes what is written to one index over to another.

    Documents are matched by id. One that was replaced keeps its number in the other index; a new one has the same
    number in both, unless that is taken there.

    Args:
        home: State directory.
        source: A release of the index that is written to.
        target: A release of the other one, which holds the same documents.
        coder: Codes, and vectors as ``target`` keeps them, by the model of ``target``.
    """

    def __init__(self, home: StateDir, source: Release, target: Release, coder: Encode) -> None:
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
        self._leave()

    def catch_up(self, current: Release) -> int:
        """Take over what was written up to a release of the source; gives how many documents it touched.

        Raises:
            IndexLockedError: somebody else writes to the target.
            DiskFullError: too little space is free, or the disk became full meanwhile.
        TexthashError: the target could not be written to, or a document cannot be coded.
        """
        written = [self._written(shard, current) for shard in range(len(current.shards))]
        touched = sum(len({*found.gone, *(row["id"] for row in found.came)}) for found in written)
        if touched:
            self._apply(written)
        following = max(self._target.next_number, current.next_number)
        self._source, self._target = current, replace(self._target, next_number=following)
        return touched

    def finish(self, current: Release) -> Release:
        """Take over the rest, and let the target go to its next writer; for ``hand_over``."""
        self.catch_up(current)
        self._leave()
        return self._target

    # -- steps ------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        if self._shards is not None:
            self._shards.close()
            self._shards = None
        self._writer_lock.release()

    def _written(self, shard: int, current: Release) -> _Written:
        before, after = self._source.shards[shard], current.shards[shard]
        if before == after:
            return _Written({}, [])
        with reading(f"version {after.version} of {after.uri}"):
            return self._changed(before, after, current)

    def _changed(self, before: ShardState, after: ShardState, current: Release) -> _Written:
        old = open_documents(self._home.path(before.uri), before.version, current.bits)
        new = old.checkout_version(after.version)
        change = difference(old, new, _ALL_ROWS)
        assert change is not None  # all rows may be read
        came = rows_at(new, change.added["_rowaddr"].to_numpy(), CONTENT.names).to_pylist()
        left = pc.field("number").isin(pa.array(change.removed))
        gone = old.to_table(columns=CONTENT.names, filter=left).to_pylist() if len(change.removed) else []
        moved = {row["number"]: row for row in gone}  # compacting moves rows that nobody has written
        same = {row["number"] for row in came if moved.get(row["number"]) == row}
        return _Written(
            {row["id"]: row["number"] for row in gone if row["number"] not in same},
            [row for row in came if row["number"] not in same],
        )

    def _apply(self, written: list[_Written]) -> None:
        self._space.check()
        try:
            with explaining_full_disk(self._target.index_uri):
                if self._shards is None:
                    self._writer_lock.acquire()
                    self._shards = WritableShards(self._home, self._target)
                self._change(self._shards, written)
        except BaseException:
            self._leave()  # what was begun is undone when the target is opened again
            raise

    def _change(self, shards: WritableShards, written: list[_Written]) -> None:
        held = [
            rows_by_id(dataset, list({*found.gone, *(row["id"] for row in found.came)}))
            for dataset, found in zip(shards.datasets, written, strict=True)
        ]
        numbers, following = _numbers(written, held, self._target.next_number)
        changes = []
        for found, old in zip(written, held, strict=True):
            coded = self._coder.code([row["id"] for row in found.came], [row["text"] for row in found.came])
            given = [numbers[row["id"]] for row in found.came]
            changes.append(Change(old, table_of(found.came, given, coded)))
        states = shards.change(changes, self._target, following)
        self._target = replace(self._target, shards=tuple(states), next_number=following)


def _numbers(written: list[_Written], held: list[Rows], following: int) -> tuple[dict[str, int], int]:
    """Numbers in the target of all rows that came, by id, and the number that follows them."""
    numbers: dict[str, int] = {}
    new: list[dict[str, Any]] = []
    for found, old in zip(written, held, strict=True):
        kept = {id_: int(number) for id_, number in zip(old.ids, old.numbers, strict=True)}
        for row in found.came:
            # One that was taken out and put in again has another number than before.
            if row["id"] in kept and found.gone.get(row["id"], row["number"]) == row["number"]:
                numbers[row["id"]] = kept[row["id"]]
            else:
                new.append(row)
    for row in sorted(new, key=lambda row: int(row["number"])):
        numbers[row["id"]] = max(following, row["number"])
        following = numbers[row["id"]] + 1
    return numbers, following


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
