"""Changing the index for a request: encode, let the writer make it durable, and answer from what it made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from texthash.errors import TexthashError, UsageError
from texthash.index.releases.release import Release, read_release
from texthash.index.releases.snapshots import Snapshot, list_snapshots, read_snapshot, take_snapshot
from texthash.index.storage.free_space import DiskFullError, FreeSpace
from texthash.index.writing.writer import IndexDocument
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.metrics import StorageMetrics
from texthash.service.problems import Problem
from texthash.service.replicas.writer import Compact, Delete, Restore, Upsert, Write, WriteAck

log = logging.getLogger("texthash.service")
_ATTEMPTS = 3


class Writer(Protocol):
    """The writer as the index_writes sees it."""

    async def write(self, write: Write) -> WriteAck: ...


class IndexWriteService:
    """Writes for requests.

    Args:
        home: State directory.
        coordinator: Encodes, and is moved to the release of a write that is waited for.
        writer: Makes writes durable.
        settle: Waits until every ingress has followed; None where there is one.
    """

    def __init__(
        self,
        home: StateDir,
        coordinator: Coordinator,
        writer: Writer,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._home = home
        self._gateway = coordinator
        self._writer = writer
        self._settle = settle
        self._metrics = StorageMetrics()

    async def upsert(self, documents: Sequence[IndexDocument], wait: bool) -> tuple[WriteAck, Release]:
        """Put documents in.

        Args:
            documents: With ids that are all different.
            wait: Whether every search that begins after the answer has to see them.

        Returns:
            What was done, and the release that holds it.

        Raises:
            Problem: encoder or writer is away, or the write was refused.
        """
        for attempt in range(_ATTEMPTS):
            release, encoded = await self._gateway.encode([d.text for d in documents], "document", vectors=True)
            try:
                upsert = Upsert(release.content, tuple(documents), encoded.codes, encoded.known, encoded.vectors)
                done = await self._writer.write(upsert)
            except Problem as problem:
                if problem.kind != "model-changed" or attempt + 1 == _ATTEMPTS:
                    raise
                await self._gateway.follow(read_release(self._home))
                continue
            return done, await self._visible(done, wait)
        raise AssertionError("an attempt returns or raises")

    async def delete(self, ids: Sequence[str], labels: Sequence[str], wait: bool) -> tuple[WriteAck, Release]:
        """Take documents out. Arguments and errors as :meth:`upsert`."""
        done = await self._writer.write(Delete(tuple(ids), tuple(labels)))
        return done, await self._visible(done, wait)

    async def refusal(self) -> str | None:
        """Why writes are refused for want of space; None where they are not."""
        try:
            await asyncio.to_thread(self._space().check)
        except DiskFullError as error:
            return error.problem
        return None

    def report(self) -> None:
        """Set the gauges of free space, which are forgotten unless this is repeated every few seconds."""
        space = self._space()
        try:
            free, _ = space.left()
        except OSError as error:  # which is no reason to end this ingress: it goes on answering searches
            log.warning("free space cannot be read: %s", error)
            return
        self._metrics.record(free, space.least)

    def _space(self) -> FreeSpace:
        return FreeSpace(self._home, self._gateway.release.index_uri, self._gateway.limits.min_free_bytes)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first."""
        return list_snapshots(self._home)

    def take_snapshot(self, name: str) -> Snapshot:
        """Hold on to what is served now."""
        try:
            return take_snapshot(self._home, name)
        except UsageError as error:
            problem = [{"loc": ["body", "name"], "msg": error.problem}]
            raise Problem("invalid-field", f"{error.problem} {error.remedy}", errors=problem) from None
        except DiskFullError as error:
            raise Problem("insufficient-storage", error.problem) from None
        except TexthashError as error:
            raise Problem("snapshot-exists", error.problem) from None

    async def restore(self, name: str) -> tuple[WriteAck, Release]:
        """Bring back the documents of a snapshot; visible when this returns."""
        try:
            read_snapshot(self._home, name)
        except TexthashError as error:
            raise Problem("unknown-snapshot", error.problem) from None
        done = await self._writer.write(Restore(name))
        return done, await self._visible(done, True)

    async def compact(self) -> Release:
        """Write small pieces together and free space; visible when this returns."""
        return await self._visible(await self._writer.write(Compact()), True)

    async def _visible(self, done: WriteAck, wait: bool) -> Release:
        release = read_release(self._home, done.release)
        if wait:
            await self._gateway.follow(release)
            if self._settle is not None:
                await self._settle()
        return release
