"""Writes for requests: encode the documents, let the writer make the write durable, and return its release."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from texthash.api.filters import Filter
from texthash.errors import StorageUnavailableError, TexthashError, UsageError
from texthash.index.releases.release import Release, read_release, releases_path
from texthash.index.releases.snapshots import Snapshot, read_snapshot, readable_snapshots, take_snapshot
from texthash.index.storage.free_space import DiskFullError, FreeSpace
from texthash.index.writing.writer import IndexDocument
from texthash.io.atomic import is_local
from texthash.io.conditional import patience
from texthash.io.outputs import is_writable
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.metrics import StorageMetrics
from texthash.service.problems import STORE_PATIENCE_S, Problem, storage_problem
from texthash.service.replicas.encoder import Encoded
from texthash.service.replicas.writer import Compact, Delete, Restore, Upsert, Write, WriteAck

log = logging.getLogger("texthash.service")
_ATTEMPTS = 3
_LONGEST_READ_S = 15.0
T = TypeVar("T")


class Writer(Protocol):
    """Interface of the writer."""

    async def write(self, write: Write) -> WriteAck: ...


class IndexWriteService:
    """Service that executes the write requests.

    Args:
        home: State directory.
        coordinator: Coordinator, which encodes and is moved to the release of a write that is waited for.
        writer: Writer that makes writes durable.
        settle: Function that waits until every ingress has followed; None for a single ingress.

    Attributes:
        home: State directory.
    """

    def __init__(
        self,
        home: StateDir,
        coordinator: Coordinator,
        writer: Writer,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.home = home
        self._coordinator = coordinator
        self._writer = writer
        self._settle = settle
        self._metrics = StorageMetrics()

    async def upsert(
        self, documents: Sequence[IndexDocument], wait: bool, given: Sequence[Sequence[float] | None] = ()
    ) -> tuple[WriteAck, Release]:
        """Insert or replace documents.

        Args:
            documents: Documents with distinct ids.
            wait: True returns only when every later search sees the write.
            given: Vector of each document, None for one that comes without; empty if all do.

        Returns:
            Acknowledgement of the write, and the release that holds it.

        Raises:
            Problem: Encoder or writer is unavailable, or the write was rejected.
        """
        for attempt in range(_ATTEMPTS):
            release, encoded = await self._encode(documents, given)
            try:
                own = (encoded.codes, encoded.known, encoded.vectors, encoded.categories)
                upsert = Upsert(release.content, tuple(documents), *own)
                done = await self._writer.write(upsert)
            except Problem as problem:
                if problem.kind != "model-changed" or attempt + 1 == _ATTEMPTS:
                    raise
                await self._coordinator.follow(await _read(read_release, self.home))
                continue
            return done, await self._visible(done, wait)
        raise AssertionError("an attempt returns or raises")

    async def _encode(
        self, documents: Sequence[IndexDocument], given: Sequence[Sequence[float] | None]
    ) -> tuple[Release, Encoded]:
        texts = [document.text for document in documents]
        with_vector = [vector is not None for vector in given]
        if not any(with_vector):
            return await self._coordinator.encode(texts, "document", vectors=True)
        if not all(with_vector):
            without = documents[with_vector.index(False)].id
            raise Problem(
                "vector-mismatch",
                f"the document {without!r} has no vector, and others of this request have one: send the documents with "
                "vectors, and those without, in requests of their own.",
            )
        vectors = [vector for vector in given if vector is not None]
        if odd := next((row for row, vector in enumerate(vectors) if len(vector) != len(vectors[0])), None):
            raise Problem(
                "vector-mismatch",
                f"documents.{odd}.vector has {len(vectors[odd])} numbers, documents.0.vector has {len(vectors[0])}.",
            )
        return await self._coordinator.encode(texts, "document", vectors=True, given=vectors)

    async def delete(self, ids: Sequence[str], given: Filter | None, wait: bool) -> tuple[WriteAck, Release]:
        """Delete documents by id or by filter. Returns and raises as :meth:`upsert`."""
        done = await self._writer.write(Delete(tuple(ids), given))
        return done, await self._visible(done, wait)

    async def refusal(self) -> str | None:
        """Return why writes are refused, as where disk space is short; None while they are accepted."""
        try:
            closed = await asyncio.to_thread(self._closed_folder)
            await asyncio.to_thread(self._space().check)
        except DiskFullError as error:
            return error.problem
        except OSError as error:  # The state directory is closed, or its disk fails.
            return f"free space cannot be read: {error}"
        return None if closed is None else f"{closed} cannot be written"

    def _closed_folder(self) -> Path | None:
        """Return a folder of this machine that a write needs and cannot change, as on a read-only disk."""
        needed = (releases_path(self.home), self.home.path(self._coordinator.release.index_uri))
        return next((path for path in needed if is_local(path) and not is_writable(path)), None)

    def report(self) -> None:
        """Set the gauges of free space; call it every few seconds, since they expire."""
        space = self._space()
        try:
            free, _ = space.left()
        except OSError as error:  # The ingress continues to answer searches.
            log.warning("free space cannot be read: %s", error)
            return
        self._metrics.record(free, space.least)

    def _space(self) -> FreeSpace:
        return FreeSpace(self.home, self._coordinator.release.index_uri, self._coordinator.limits.min_free_bytes)

    async def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, oldest first."""
        return await _read(readable_snapshots, self.home)

    async def take_snapshot(self, name: str) -> Snapshot:
        """Take a snapshot of the current state.

        Raises:
            Problem: The name is invalid or taken, or disk space is short.
        """
        try:
            return await _read(take_snapshot, self.home, name)
        except UsageError as error:
            problem = [{"loc": ["body", "name"], "msg": error.problem}]
            raise Problem("invalid-field", f"{error.problem} {error.remedy}", errors=problem) from None
        except DiskFullError as error:
            raise Problem("insufficient-storage", error.problem) from None
        except StorageUnavailableError as error:
            raise storage_problem(error.problem) from error
        except TexthashError as error:
            raise Problem("snapshot-exists", error.problem) from None

    async def restore(self, name: str) -> tuple[WriteAck, Release]:
        """Restore the documents of a snapshot; every search sees them when this returns."""
        try:
            await _read(read_snapshot, self.home, name)
        except StorageUnavailableError as error:
            raise storage_problem(error.problem) from error
        except TexthashError as error:
            raise Problem("unknown-snapshot", error.problem) from None
        done = await self._writer.write(Restore(name))
        return done, await self._visible(done, True)

    async def compact(self) -> Release:
        """Join small fragments and free space; every search sees the new release when this returns."""
        return await self._visible(await self._writer.write(Compact()), True)

    async def _visible(self, done: WriteAck, wait: bool) -> Release:
        release = await _read(read_release, self.home, done.release)
        if wait:
            await self._coordinator.follow(release)
            if self._settle is not None:
                await self._settle()
        return release


async def _read(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function of the state in a thread: in an object store that is slow it takes seconds, or fails.

    The client of the store asks for longer than one waits here, where it lists objects.
    """
    try:
        async with asyncio.timeout(_LONGEST_READ_S):
            with patience(STORE_PATIENCE_S):
                return await asyncio.to_thread(function, *arguments)
    except TimeoutError:
        raise storage_problem(f"the state has not been read in {_LONGEST_READ_S:g} s.") from None
