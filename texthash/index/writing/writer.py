"""The one writer of an index: upserts and deletes that are durable when they return, and that a reader sees whole.

A write goes through four steps: a Lance commit on each shard it touches, these files brought to disk, a release that
names the new versions, and the pointer moved to it, on disk too. Only then does the call return. A reader follows
the pointer, so it sees all of a write, over all shards, or nothing. A write that fails between the steps, or whose
writer dies there, leaves commits that no release names; they are undone before the next write. What is to be published
is compared with what the shards hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.codes import check_codes
from texthash.index.releases.publish import ReleaseMovedError, advance, prune
from texthash.index.releases.release import Release, ShardState, list_releases, read_release, readable_releases
from texthash.index.releases.snapshots import snapshot_releases
from texthash.index.storage.arrow_schema import Coded, schema
from texthash.index.storage.free_space import LEAST_SHARE, FreeSpace, explaining_full_disk
from texthash.index.storage.mutations import (
    Change,
    compact,
    drop_versions,
    merge_tail,
    rows_by_id,
    rows_by_label,
    table_of,
)
from texthash.index.storage.shard_format import shard_of, width_of
from texthash.index.writing.writable_shards import WritableShards
from texthash.index.writing.writer_lock import WriterLock

if TYPE_CHECKING:
    import lance

    from texthash.paths import StateDir

# Each write leaves a piece of its own in the shards that it touches, and a version of each.
_TIDY_EVERY = 50
# Finding what nobody names any more reads the manifest of every version, so it is done for many at once.
_FREE_EVERY = 4


@dataclass(frozen=True)
class IndexDocument:
    """A document on its way into an index: what is stored beside its code."""

    id: str
    text: str
    title: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes:
        release: That holds it, and is current.
        documents: How many documents it wrote or deleted.
        new_ids: Those of them that the index did not hold before.
    """

    release: Release
    documents: int
    new_ids: frozenset[str] = frozenset()

    @property
    def new(self) -> int:
        """How many the index did not hold before."""
        return len(self.new_ids)


class IndexWriter:
    """Writes to the index of the current release. Made by :meth:`open`; calls may come from several threads.

    Attributes:
        release: The newest release, which holds every write that returned.
    """

    def __init__(self, home: StateDir, release: Release, fence: WriterLock, space: FreeSpace) -> None:
        self.release = release
        self._home = home
        self._writer_lock = fence
        self._space = space
        self._lock = Lock()
        self._open_shards()
        self._writes = self._tidied = 0

    @classmethod
    def open(cls, home: StateDir, address: str | None = None, *, least_free: int | None = None) -> IndexWriter:
        """Become the writer of the current index, and undo what a writer that died left unfinished.

        Args:
            home: State directory.
            address: URL under which this process takes the writes of others.
            least_free: Bytes that have to be free for a write; None: TEXTHASH_MIN_FREE_BYTES, or its default.

        Raises:
            IndexLockedError: somebody else is the writer.
            DiskFullError: there is something to undo, and no space for it.
            TexthashError: nothing is released, or a shard is broken.
        """
        release = read_release(home)
        fence = WriterLock(home, release.index_uri)
        with explaining_full_disk(str(home.root)):
            fence.acquire(address)
        try:
            release.check(home)
            return cls(home, read_release(home), fence, FreeSpace(home, release.index_uri, least_free))
        except BaseException:
            fence.release()
            raise

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failed(self) -> bool:
        """Whether a write failed half-way: the next one opens the shards anew first."""
        return self._failed

    def close(self) -> None:
        """Let another become the writer, after the write that is under way."""
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
    ) -> WriteResult:
        """Put documents in; one whose id is there replaces the old one and keeps its number.

        Args:
            documents: With ids that are all different.
            codes: Their codes by the model of the release, uint8 [N, bits / 8].
            vectors: Those that the index keeps, [N, width], of length 1; None where it keeps none.
            known: Whether the model knows a word of each document, bool [N]; None: of all of them. Without one a
                document is kept, and is no neighbour of anything.

        Raises:
            ModelMismatchError: codes or vectors of another width, or none where the index keeps them.
            DiskFullError: too little space is free, or the disk became full meanwhile.
            ReleaseMovedError: a release of another index, or of another writer, has become current.
            TexthashError: an id twice; or the write failed, and nothing of it is to be seen.
        """
        check_codes(codes, self.release.bits)
        coded = Coded(codes, known, self._checked(vectors, len(documents)))
        _check_documents(documents, len(codes))
        shards = len(self.release.shards)
        mine: list[list[int]] = [[] for _ in range(shards)]
        for row, document in enumerate(documents):
            mine[shard_of(document.id, shards)].append(row)
        with self._lock:
            self._begin()
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
                given = [numbers[document.id] for document in chosen]
                return table_of([asdict(document) for document in chosen], given, coded.at(mine[shard]))

            self._publish([Change(part, rows_of(shard)) for shard, part in enumerate(old)], following)
            return WriteResult(self.release, len(documents), new_ids)

    def delete(self, ids: Sequence[str] = (), labels: Sequence[str] = ()) -> WriteResult:
        """Take documents out: those with these ids, or those with one of these labels. Ids that are not there count
        for nothing. Errors as :meth:`upsert`."""
        if bool(ids) == bool(labels):
            raise TexthashError("a delete needs either ids or labels.", "give one of them.")
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
                old = self._shards.each(lambda _, data: rows_by_label(data, labels))
            count = sum(len(part) for part in old)
            if count:
                nothing = schema(self.release.bits).empty_table()
                self._publish([Change(part, nothing) for part in old], self._next_number)
            return WriteResult(self.release, count)

    def compact(self) -> Release:
        """Write thinned and small pieces together, and free what no release or snapshot names any more. Errors as
        :meth:`upsert`; what needs no space to be freed is freed before a :class:`DiskFullError`."""
        with self._lock:
            if not self._failed:
                self._free_versions()
            self._begin(LEAST_SHARE)
            self._rearrange(compact)
            self._free_versions()
            return self.release

    def restore(self, release: Release) -> Release:
        """Bring back the documents of an earlier release of this index, as a new one.

        Raises:
            TexthashError: the release is of another index.
        """
        if release.index_uri != self.release.index_uri:
            raise TexthashError(
                f"release {release.name} is of the index {release.index_uri}, not of {self.release.index_uri}.",
                "`texthash index rollback` leads to an earlier index.",
            )
        with self._lock:
            self._begin(LEAST_SHARE)
            with self._whole():
                # No number is ever given twice, also not those of documents that the restore takes away.
                following = max(release.next_number, self._next_number)
                self._advance(self._shards.restore(self._home, release), following)
            return self.release

    # -- steps ------------------------------------------------------------------------------------------------

    def _open_shards(self) -> None:
        with explaining_full_disk(self.release.index_uri):
            self._shards = WritableShards(self._home, self.release)
        self._next_number = _next_number(self._home, self.release)
        self._failed = False

    def _begin(self, share: float = 1.0) -> None:
        """Be ready for a write: with space for it, and in the state of the current release.

        Raises:
            DiskFullError: too little is free.
            ReleaseMovedError: a write failed, and a release of another index has become current since.
        """
        self._space.check(share)
        if not self._failed:
            return
        current = read_release(self._home)
        if current.index_uri != self.release.index_uri:
            raise ReleaseMovedError(
                f"release {current.name}, which is current now, is of another index than this writer's.",
                "open the index again.",
            )
        self._shards.close()
        self.release = current
        self._open_shards()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Note that a write failed half-way. What it left is undone by opening the shards anew, and not before the next
        write: undoing takes a commit too, for which there may be no space now."""
        try:
            with explaining_full_disk(self.release.index_uri):
                yield
        except BaseException:
            self._failed = True
            raise

    def _checked(self, vectors: NDArray[np.floating] | None, documents: int) -> NDArray[np.float16] | None:
        """The vectors of an upsert in the form in which they are kept."""
        width = width_of(self.release.vectors)
        found = None if vectors is None else vectors.shape
        if found != ((documents, width) if width else None):
            raise ModelMismatchError(
                f"{documents} documents came with {'no vectors' if found is None else f'vectors of shape {found}'}, "
                f"the index keeps {f'one of width {width}' if width else 'none'} of each.",
                "encode the texts with the model of the release, with vectors of the kind that it names.",
            )
        return None if vectors is None else vectors.astype(np.float16)

    def _publish(self, changes: Sequence[Change], next_number: int) -> None:
        with self._whole():
            states = self._shards.change(changes, self.release, next_number)
            self._advance(states, next_number)
        self._writes += 1

    def _tidy(self) -> None:
        """Keep writes, reads and space from growing with the number of writes."""
        if self._writes >= _TIDY_EVERY:
            self._rearrange(merge_tail)
            self._tidied += 1
            if self._tidied % _FREE_EVERY == 0:
                self._free_versions()

    def _rearrange(self, how: Callable[[lance.LanceDataset], lance.LanceDataset]) -> None:
        with self._whole():
            self._advance(self._shards.rearrange(how, self.release), self._next_number)
        self._writes = 0

    def _advance(self, states: Sequence[ShardState], next_number: int) -> None:
        self.release = advance(self._home, self.release, states, next_number)
        self._next_number = next_number

    def _free_versions(self) -> None:
        prune(self._home, snapshot_releases(self._home))
        named: list[set[int]] = [set() for _ in self.release.shards]
        for release in [*list_releases(self._home), *snapshot_releases(self._home).values()]:
            if release.index_uri == self.release.index_uri:
                for shard, state in enumerate(release.shards):
                    named[shard].add(state.version)

        def free(shard: int, dataset: lance.LanceDataset) -> None:
            drop_versions(dataset, named[shard])

        self._shards.each(free)


def _next_number(home: StateDir, release: Release) -> int:
    """The number of the next new document. No release of the index has given it, nor one that was left by going back to
    an earlier one."""
    alike = [found.next_number for found in readable_releases(home) if found.index_uri == release.index_uri]
    return max([release.next_number, *alike])


def _check_documents(documents: Sequence[IndexDocument], codes: int) -> None:
    if len(documents) != codes:
        raise TexthashError(f"{len(documents)} documents came with {codes} codes.", "give one code per document.")
    ids = Counter(document.id for document in documents)
    if "" in ids:
        raise TexthashError("a document has no id.", "give each document an id of its own.")
    twice = [id_ for id_, count in ids.items() if count > 1]
    if twice:
        raise TexthashError(f"the id {twice[0]!r} occurs {ids[twice[0]]} times.", "write each document once.")
