"""The single writer of an index. Upserts and deletes are durable when they return, and atomic for readers.

A write takes four steps: a Lance commit on each shard it touches, fsync of the files, a release that names the new
versions, and a durable move of the pointer to that release. Only then does the call return. A reader follows the
pointer, so it sees all of a write, over all shards, or nothing. A write that fails between the steps, or whose writer
dies there, leaves commits that no release names; they are undone before the next write. A release is compared with the
rows of the shards before it is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.api.attributes import Value
from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.codes import check_codes
from texthash.index.filters.language import where_of
from texthash.index.filters.types import merged_types
from texthash.index.releases.publish import ReleaseMovedError, advance, prune
from texthash.index.releases.release import Release, ShardState, list_releases, read_release, readable_releases
from texthash.index.releases.snapshots import snapshot_releases
from texthash.index.storage.arrow_schema import DEFAULT_WEIGHTS, Coded, schema
from texthash.index.storage.free_space import LEAST_SHARE, FreeSpace, explaining_full_disk
from texthash.index.storage.mutations import (
    Change,
    add_words,
    compact,
    drop_versions,
    merge_tail,
    rows_by_id,
    rows_where,
    table_of,
)
from texthash.index.storage.shard_format import shard_of, width_of
from texthash.index.writing.writable_shards import WritableShards
from texthash.index.writing.writer_lock import WriterLock
from texthash.progress import log_line

if TYPE_CHECKING:
    import lance

    from texthash.api.attributes import AttributeType
    from texthash.api.filters import Filter
    from texthash.config import KeywordAnalysis
    from texthash.index.keywords.weights import WordWeights
    from texthash.paths import StateDir

# Each write adds a fragment and a version to every shard that it touches.
_TIDY_EVERY = 50
# Finding unused versions reads the manifest of every version, so it is done for many at once.
_FREE_EVERY = 4
_BROKEN_REMEDY = "restore it from a copy, or move it elsewhere if nobody needs what it names."


@dataclass(frozen=True)
class IndexDocument:
    """Content of a document to be written, stored beside its code.

    Attributes:
        id: Id of the document.
        text: Its text.
        title: Its title.
        labels: Its labels.
        attributes: Its attributes by name, in the form of :func:`texthash.api.attributes.read_attributes`.
    """

    id: str
    text: str
    title: str = ""
    labels: tuple[str, ...] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class WriteResult:
    """Result of a write.

    Attributes:
        release: Current release, which contains the write.
        documents: Number of documents written or deleted.
        new_ids: Ids of written documents that the index did not hold before.
    """

    release: Release
    documents: int
    new_ids: frozenset[str] = frozenset()

    @property
    def new(self) -> int:
        """Number of written documents that the index did not hold before."""
        return len(self.new_ids)


class IndexWriter:
    """Writer to the index of the current release, created by :meth:`open`. Thread-safe.

    Attributes:
        release: Newest release, which contains every write that has returned.
    """

    def __init__(self, home: StateDir, release: Release, writer_lock: WriterLock, space: FreeSpace) -> None:
        self.release = release
        self._home = home
        self._writer_lock = writer_lock
        self._space = space
        self._lock = Lock()
        self._open_shards()
        self._writes = self._tidied = 0

    @classmethod
    def open(cls, home: StateDir, address: str | None = None, *, least_free: int | None = None) -> IndexWriter:
        """Become the writer of the current index, and undo the unfinished commits of a writer that died.

        Args:
            home: State directory.
            address: URL under which this process accepts writes from others.
            least_free: Free disk space that a write requires, in bytes; None takes TEXTHASH_MIN_FREE_BYTES or its
                default.

        Raises:
            IndexLockedError: Another process is the writer.
            DiskFullError: there is something to undo, and no space for it.
            TexthashError: nothing is released, or a shard is broken.
        """
        release = read_release(home)
        writer_lock = WriterLock(home, release.index_uri)
        home.make()
        with explaining_full_disk(str(home.root)):
            writer_lock.acquire(address)
        try:
            release.check(home)
            return cls(home, read_release(home), writer_lock, FreeSpace(home, release.index_uri, least_free))
        except BaseException:
            writer_lock.release()
            raise

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failed(self) -> bool:
        """True if a write failed before it was published; the next write opens the shards again first."""
        return self._failed

    def close(self) -> None:
        """Wait for the running write, then release the writer lock."""
        with self._lock:
            self._shards.close()
            self._writer_lock.release()

    def upsert(
        self,
        documents: Sequence[IndexDocument],
        codes: NDArray[np.uint8],
        vectors: NDArray[np.floating] | None = None,
        *,
        known: NDArray[np.bool_] | None = None,
        categories: NDArray[np.int64] | None = None,
    ) -> WriteResult:
        """Insert documents. A document whose id exists replaces the old one and keeps its number.

        Args:
            documents: Documents, each with an id of its own.
            codes: Codes by the model of the release, uint8 [N, bits / 8].
            vectors: Unit vectors, [N, width], if the index stores vectors; otherwise None.
            known: True for each document with a word in the vocabulary, bool [N]; None means all of them. A document
                without one is stored but is never returned as a neighbour.
            categories: Categories by the model of the release, int64 [N], -1 of a document without; they replace the
                attribute of their name. None leaves the attributes as they are.

        Raises:
            ModelMismatchError: Codes or vectors have another width, or vectors are missing that the index stores.
            DiskFullError: Too little space is free, or the disk became full during the write.
            ReleaseMovedError: A release of another index, or of another writer, has become current.
            AttributeTypeError: An attribute has a value of another type than in the index.
            TexthashError: An id occurs twice; or the write failed, and none of it is visible.
        """
        check_codes(codes, self.release.bits)
        coded = Coded(codes, known, self._checked(vectors, len(documents)), categories)
        _check_documents(documents, len(codes))
        shards = len(self.release.shards)
        mine: list[list[int]] = [[] for _ in range(shards)]
        for row, document in enumerate(documents):
            mine[shard_of(document.id, shards)].append(row)
        with self._lock:
            self._begin()
            types = {**self.release.attributes, **coded.attributes}
            types = merged_types(types, ((one.id, one.attributes) for one in documents))
            self._tidy()
            old = self._shards.each(lambda shard, data: rows_by_id(data, [documents[row].id for row in mine[shard]]))
            numbers = {id_: int(number) for part in old for id_, number in zip(part.ids, part.numbers, strict=True)}
            new_ids = frozenset(document.id for document in documents if document.id not in numbers)
            following = self._next_number
            for document in documents:
                if document.id not in numbers:
                    numbers[document.id] = following
                    following += 1

            def rows_of(shard: int) -> pa.Table:
                chosen = [documents[row] for row in mine[shard]]
                assigned = [numbers[document.id] for document in chosen]
                return table_of([vars(document) for document in chosen], assigned, coded.at(mine[shard]), types)

            self._publish([Change(part, rows_of(shard)) for shard, part in enumerate(old)], following, types)
            return WriteResult(self.release, len(documents), new_ids)

    def delete(self, ids: Sequence[str] = (), given: Filter | None = None) -> WriteResult:
        """Delete the documents with these ids, or those that a filter keeps.

        Ids that do not exist are ignored. Raises the same errors as :meth:`upsert`, and FilterError for a filter that
        does not fit the attributes.
        """
        if bool(ids) == (given is not None):
            raise TexthashError("a delete needs either ids or a filter.", "give one of them.")
        shards = len(self.release.shards)
        with self._lock:
            self._begin(LEAST_SHARE)
            self._tidy()
            if ids:
                mine: list[list[str]] = [[] for _ in range(shards)]
                for id_ in dict.fromkeys(ids):
                    mine[shard_of(id_, shards)].append(id_)
                old = self._shards.each(lambda shard, data: rows_by_id(data, mine[shard]))
            else:
                where = where_of(given, self.release.attributes)
                assert where is not None
                old = self._shards.each(lambda _, data: rows_where(data, where))
            count = sum(len(part) for part in old)
            if count:
                nothing = schema(self.release.bits).empty_table()
                self._publish([Change(part, nothing) for part in old], self._next_number, self.release.attributes)
            return WriteResult(self.release, count)

    def compact(self) -> Release:
        """Merge small fragments and those with deleted rows, and free versions that no release or snapshot names.

        Raises the same errors as :meth:`upsert`; unused versions are freed even if a :class:`DiskFullError` follows.
        """
        with self._lock:
            if not self._failed:
                self._free_versions()
            self._begin(LEAST_SHARE)
            self._rearrange(compact)
            self._free_versions()
            return self.release

    def restore(self, release: Release) -> Release:
        """Restore the documents of an earlier release of this index, as a new release.

        Raises:
            TexthashError: The release belongs to another index.
        """
        if release.index_uri != self.release.index_uri:
            raise TexthashError(
                f"release {release.name} is of the index {release.index_uri}, not of {self.release.index_uri}.",
                "`texthash index rollback` returns to an earlier index.",
            )
        with self._lock:
            self._begin(LEAST_SHARE)
            with self._whole():
                # No number is ever assigned twice, not even that of a document which the restore removes.
                following = max(release.next_number, self._next_number)
                same = {"keywords": release.keywords, "attributes": release.attributes}
                states = self._shards.restore(self._home, release)
                self._advance(states, following, written=release.was_written, **same)
            return self.release

    def add_keywords(self, analysis: KeywordAnalysis, weights: WordWeights = DEFAULT_WEIGHTS) -> Release:
        """Store the words of all documents, for an index that was built without them, or otherwise.

        Raises the same errors as :meth:`upsert`.
        """
        with self._lock:
            self._begin()
            with self._whole():
                states = self._shards.rearrange(lambda data: add_words(data, analysis, weights), self.release)
                self._advance(states, self._next_number, keywords=analysis)
            return self.release

    # -- steps ------------------------------------------------------------------------------------------------

    def _open_shards(self) -> None:
        with explaining_full_disk(self.release.index_uri):
            self._shards = WritableShards(self._home, self.release)
        self._next_number = _next_number(self._home, self.release)
        self._failed = False

    def _begin(self, share: float = 1.0) -> None:
        """Prepare a write: check the free space, and after a failed write open the current release again.

        Raises:
            DiskFullError: Too little space is free.
            ReleaseMovedError: A write failed, and a release of another index has become current since.
        """
        self._writer_lock.check()
        self._space.check(share)
        if not self._failed:
            return
        current = read_release(self._home)
        if current.index_uri != self.release.index_uri:
            raise ReleaseMovedError(
                f"the current release {current.name} is of another index than this writer's.",
                "open the index again.",
            )
        self._shards.close()
        self.release = current
        self._open_shards()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Record that a write failed.

        Its commits are undone at the next write, when the shards are opened again: undoing takes a commit too, for
        which there may be no space now.
        """
        try:
            with explaining_full_disk(self.release.index_uri):
                yield
        except BaseException:
            self._failed = True
            raise

    def _checked(self, vectors: NDArray[np.floating] | None, documents: int) -> NDArray[np.float16] | None:
        """Check the shape of the vectors of an upsert, and return them in half precision."""
        width = width_of(self.release.vectors)
        shape = None if vectors is None else vectors.shape
        if shape != ((documents, width) if width else None):
            raise ModelMismatchError(
                f"{documents} documents came with {'no vectors' if shape is None else f'vectors of shape {shape}'}, "
                f"but the index stores {f'one of width {width}' if width else 'none'} per document.",
                "encode the texts with the model of the release, with vectors of the kind that it names.",
            )
        return None if vectors is None else vectors.astype(np.float16)

    def _publish(self, changes: Sequence[Change], next_number: int, types: Mapping[str, AttributeType]) -> None:
        with self._whole():
            states = self._shards.change(changes, self.release, next_number)
            self._advance(states, next_number, written=True, attributes=dict(types))
        self._writes += 1

    def _tidy(self) -> None:
        """Merge the small fragments of recent writes, so that time and space do not grow with their number."""
        if self._writes >= _TIDY_EVERY:
            self._rearrange(merge_tail)
            self._tidied += 1
            if self._tidied % _FREE_EVERY == 0:
                self._free_versions()

    def _rearrange(self, how: Callable[[lance.LanceDataset], lance.LanceDataset]) -> None:
        with self._whole():
            self._advance(self._shards.rearrange(how, self.release), self._next_number)
        self._writes = 0

    def _advance(self, states: Sequence[ShardState], next_number: int, **others: Any) -> None:
        self._writer_lock.check()
        self.release = advance(self._home, self.release, states, next_number, **others)
        self._next_number = next_number

    def _free_versions(self) -> None:
        """Free what nothing names. Which versions a broken record names is not known, so that none is freed then."""
        try:
            held = snapshot_releases(self._home)
            prune(self._home, held)
            releases = list_releases(self._home)
        except TexthashError as error:
            log_line(
                f"warning: no space of {self.release.index_uri} is freed, a broken record may need it: {error.problem} "
                f"{_BROKEN_REMEDY}"
            )
            return
        named: list[set[int]] = [set() for _ in self.release.shards]
        for release in [*releases, *held.values()]:
            if release.index_uri == self.release.index_uri:
                for shard, state in enumerate(release.shards):
                    named[shard].add(state.version)

        def free(shard: int, dataset: lance.LanceDataset) -> None:
            drop_versions(dataset, named[shard])

        self._shards.each(free)


def _next_number(home: StateDir, release: Release) -> int:
    """Return the number of the next new document, which no release of the index has assigned.

    Releases that a rollback has left behind count too.
    """
    alike = [found.next_number for found in readable_releases(home) if found.index_uri == release.index_uri]
    return max([release.next_number, *alike])


def _check_documents(documents: Sequence[IndexDocument], codes: int) -> None:
    if len(documents) != codes:
        raise TexthashError(f"{len(documents)} documents came with {codes} codes.", "give one code per document.")
    ids = Counter(document.id for document in documents)
    if "" in ids:
        raise TexthashError("a document has no id.", "give each document a unique id.")
    twice = [id_ for id_, count in ids.items() if count > 1]
    if twice:
        raise TexthashError(f"the id {twice[0]!r} occurs {ids[twice[0]]} times.", "write each document once.")
