"""Server of the index writer: upserts that arrive together are made durable by one commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.api.filters import Filter
from texthash.errors import StorageUnavailableError, TexthashError
from texthash.index.filters.language import FilterError
from texthash.index.filters.types import AttributeTypeError, merged_types
from texthash.index.releases.publish import ReleaseMovedError
from texthash.index.releases.release import Release, current_name, read_release
from texthash.index.releases.snapshots import read_snapshot
from texthash.index.storage.free_space import DiskFullError
from texthash.index.storage.shard_format import Content
from texthash.index.writing.writer import IndexDocument, IndexWriter
from texthash.index.writing.writer_lock import IndexLockedError
from texthash.io.conditional import patience
from texthash.io.leases import LeaseLostError
from texthash.paths import resolve_home
from texthash.service.problems import STORE_PATIENCE_S, Problem, of_storage, storage_problem

log = logging.getLogger("texthash.service")
_RETRY_AFTER_S = "2"


@dataclass(frozen=True)
class Upsert:
    """Documents to insert or replace, with their codes.

    Attributes:
        content: Content of the release for which they were encoded; no other content can hold the codes.
        documents: Documents with distinct ids.
        codes: Packed codes, uint8 [N, bits / 8].
        known: True for each document with a word of the vocabulary, bool [N].
        vectors: Vectors, float32 [N, width], if the index stores any.
        categories: Category of each document, int64 [N], if the model has any.
    """

    content: Content
    documents: tuple[IndexDocument, ...]
    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    vectors: NDArray[np.float32] | None = None
    categories: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Delete:
    """Documents to delete, by id or by filter."""

    ids: tuple[str, ...] = ()
    given: Filter | None = None


@dataclass(frozen=True)
class Restore:
    """Restoration of a snapshot."""

    snapshot: str


@dataclass(frozen=True)
class Compact:
    """Compaction: small fragments are joined, and space is freed."""


Write = Upsert | Delete | Restore | Compact


@dataclass(frozen=True)
class WriteAck:
    """Acknowledgement of a durable write.

    Attributes:
        release: Name of the release that holds the write.
        documents: Number of written or deleted documents.
        new: Number of documents that the index did not hold before.
        unknown: Number of documents without a word of the vocabulary.
    """

    release: str
    documents: int
    new: int = 0
    unknown: int = 0


class WriterServer:
    """Server that holds the writer lock of the current index; other programs write through it.

    Args:
        home: State directory, absolute.
        address: URL of the service, which other programs that want to write are referred to.
        least_free: Free disk space in bytes that a write needs; None reads TEXTHASH_MIN_FREE_BYTES, or its default.
    """

    def __init__(self, home: str, address: str, least_free: int | None = None) -> None:
        self._home = resolve_home(home)
        self._address = address
        self._least_free = least_free
        self._writer: IndexWriter | None = None
        self._lock = asyncio.Lock()
        self._unreadable = ""

    async def write_many(self, writes: Sequence[Write]) -> list[WriteAck | Problem]:
        """Make writes durable in order; adjacent upserts share one commit. A failed write does not stop the others."""
        answers: list[WriteAck | Problem] = []
        async with self._lock:
            for group in _groups(writes):
                try:
                    with patience(STORE_PATIENCE_S):
                        answers += await asyncio.to_thread(self._write, group)
                except (Problem, TexthashError) as error:
                    answers += [_problem(error)] * len(group)
        return answers

    async def close_outdated_writer(self) -> None:
        """Release the writer lock of an index that is no longer current; call it every few seconds.

        An error of the storage is logged, and the next call tries again.
        """
        if self._writer is None or self._lock.locked():  # A write is in progress, and opens the current index itself.
            return
        async with self._lock:
            try:
                current = await asyncio.to_thread(read_release, self._home)
                if self._writer is not None and self._writer.release.index_uri != current.index_uri:
                    self._drop()
            except (TexthashError, OSError) as error:
                if str(error) != self._unreadable:  # Logged once, not at every call.
                    log.warning("the current release cannot be read: %s", error)
                self._unreadable = str(error)
            else:
                self._unreadable = ""

    def _open(self) -> IndexWriter:
        """Return the writer of the current index; a new one if another release was published."""
        current = current_name(self._home)
        if self._writer is not None and self._writer.release.name != current:
            self._drop()
        if self._writer is None:
            self._writer = IndexWriter.open(self._home, self._address, least_free=self._least_free)
        return self._writer

    def _drop(self) -> None:
        """Close the writer; the next write opens a new one, which undoes what this one left unfinished."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self, group: Sequence[Write]) -> Sequence[WriteAck | Problem]:
        lost = False
        while True:
            try:
                return self._attempt(self._open(), group)
            except ReleaseMovedError:
                log.info("another release was published before a write; the write is applied to that one")
            except LeaseLostError as error:
                # The store was out of reach for longer than the lease holds. Nothing was published since.
                log.warning("the writer is reopened: %s", error.problem)
                self._drop()
                if lost:
                    raise
                lost = True
            except Problem:
                raise
            except TexthashError as error:
                if self._writer is not None and self._writer.failed:
                    log.warning("a write failed, and the writer is reopened: %s", error.problem)
                    self._drop()
                raise
            except BaseException as error:  # A panic of the storage library is not an Exception.
                log.error("a write failed, and the writer is reopened", exc_info=error)
                self._drop()
                raise of_storage(error) or Problem("internal", f"the write failed: {type(error).__name__}.") from error

    def _attempt(self, writer: IndexWriter, group: Sequence[Write]) -> Sequence[WriteAck | Problem]:
        first = group[0]
        if isinstance(first, Delete):
            written = writer.delete(first.ids, first.given)
            return [WriteAck(written.release.name, written.documents)]
        if isinstance(first, Restore):
            target = read_release(self._home, read_snapshot(self._home, first.snapshot).release)
            return [WriteAck(writer.restore(target).name, target.documents)]
        if isinstance(first, Compact):
            compacted = writer.compact()
            return [WriteAck(compacted.name, compacted.documents)]
        upserts = [write for write in group if isinstance(write, Upsert)]
        if first.content != writer.release.content:
            raise Problem("model-changed", "another model was released while the documents were being encoded.")
        refused = _refused(upserts, writer.release)
        accepted = [upsert for upsert, problem in zip(upserts, refused, strict=True) if problem is None]
        done = iter(_upsert(writer, accepted) if accepted else ())
        return [next(done) if problem is None else problem for problem in refused]


def _upsert(writer: IndexWriter, upserts: Sequence[Upsert]) -> list[WriteAck]:
    """Write upserts with one commit."""
    documents = [document for upsert in upserts for document in upsert.documents]
    vectors = [upsert.vectors for upsert in upserts if upsert.vectors is not None]
    categories = [upsert.categories for upsert in upserts if upsert.categories is not None]
    written = writer.upsert(
        documents,
        np.concatenate([upsert.codes for upsert in upserts]),
        np.concatenate(vectors) if vectors else None,
        known=np.concatenate([upsert.known for upsert in upserts]),
        categories=np.concatenate(categories) if categories else None,
    )
    return [
        WriteAck(
            written.release.name,
            len(upsert.documents),
            sum(document.id in written.new_ids for document in upsert.documents),
            int((~upsert.known).sum()),
        )
        for upsert in upserts
    ]


def _refused(upserts: Sequence[Upsert], release: Release) -> list[Problem | None]:
    """Return the problem of each upsert that does not fit the types of the attributes; None for the others.

    The types are those of the release and of the upserts before it.
    """
    types, problems = dict(release.attributes), list[Problem | None]()
    for upsert in upserts:
        try:
            types = merged_types(types, ((document.id, document.attributes) for document in upsert.documents))
            problems.append(None)
        except AttributeTypeError as error:
            problems.append(_problem(error))
    return problems


def _groups(writes: Sequence[Write]) -> list[list[Write]]:
    """Group writes into commits: adjacent upserts of one content without a common id share one."""
    groups: list[list[Write]] = []
    ids: set[str] = set()
    for write in writes:
        if not isinstance(write, Upsert):
            groups.append([write])
            continue
        own = {document.id for document in write.documents}
        last = groups[-1][0] if groups else None
        if isinstance(last, Upsert) and last.content == write.content and not ids & own:
            groups[-1].append(write)
            ids |= own
        else:
            groups.append([write])
            ids = own
    return groups


def _problem(error: Problem | TexthashError) -> Problem:
    if isinstance(error, IndexLockedError):
        return Problem("index-held", error.problem, headers={"Retry-After": _RETRY_AFTER_S})
    if isinstance(error, StorageUnavailableError):
        return storage_problem(error.problem)
    if isinstance(error, DiskFullError):
        return Problem("insufficient-storage", error.problem)
    if isinstance(error, (FilterError, AttributeTypeError)):
        return Problem("attribute-mismatch", f"{error.problem} {error.remedy}")
    return Problem("write-failed", error.problem) if isinstance(error, TexthashError) else error
