"""Placement of encoder and shards.

They are in the processes of the ingress, where a call costs nothing, or in deployments of their own, which divide a
large index over nodes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from texthash.config import DOCUMENT_COPIES_BYTES, MAPPED_FILES_BYTES, ServiceConfig
from texthash.errors import TexthashError, UsageError
from texthash.index.releases.release import Release, read_release
from texthash.index.shard import Shard
from texthash.models.files import MODEL_FILES
from texthash.paths import StateDir
from texthash.service.problems import Problem
from texthash.service.replicas.shard import ShardServer

log = logging.getLogger("texthash.service")
RETRY_S = 5.0
# Bytes of a document in memory: its number, row address and tables for each 64 bits of its code, and its words.
_FIXED_BYTES = 24
_BYTES_OF_64_BITS = 64
_BYTES_OF_WORDS = 450
# A release is opened beside the one that is served.
_RELEASES = 2


@dataclass(frozen=True)
class Placement:
    """Placement of a release.

    Attributes:
        encoder: True if each ingress opens the model itself.
        shards: True if each ingress opens all shards itself.
        reason: Description for the log.
    """

    encoder: bool
    shards: bool
    reason: str


def placement_of(home: StateDir, release: Release, service: ServiceConfig) -> Placement:
    """Return the placement of a release.

    Raises:
        UsageError: ``service.placement`` is local, and the release is too large for an ingress.
    """
    if service.placement == "remote":
        return Placement(False, False, "encoder and shards are deployments (service.placement=remote)")
    needed, budget = _RELEASES * memory_of(home, [release]), service.local_memory_bytes
    what = (
        f"release {release.name} and its successor need about {needed / 1e6:,.0f} MB, and "
        f"service.local_memory_bytes allows an ingress {budget / 1e6:,.0f} MB"
    )
    if needed <= budget:
        return Placement(True, True, "encoder and shards are in the ingress")
    if service.placement == "local":
        raise UsageError(
            f"service.placement=local, but {what}.",
            f"set service.placement=auto, or service.local_memory_bytes={needed} where the nodes have so much.",
        )
    return Placement(True, False, f"the encoder is in the ingress, the shards are deployments: {what}")


def memory_of(home: StateDir, releases: Collection[Release]) -> int:
    """Return an estimate of the memory of opened releases in bytes. What they share is counted once."""
    models = {release.model_uri for release in releases}
    files = [home.path(uri) / name for uri in models for name in MODEL_FILES]
    indexes = {release.index_uri: release for release in releases}  # writes change a small part of an index
    return sum(file.stat().st_size for file in files) + sum(
        release.documents * _bytes_of_document(release) for release in indexes.values()
    )


def _bytes_of_document(release: Release) -> int:
    words = _BYTES_OF_WORDS if release.keywords is not None else 0
    return _FIXED_BYTES + _BYTES_OF_64_BITS * -(-release.bits // 64) + words


class LocalShard(ShardServer):
    """Shard in the process of the ingress.

    One that cannot be opened is unavailable, as a deployment of its own would be: the ingress answers from the others
    where a request allows it, and tries again.

    Args:
        home: State directory, absolute.
        release: Name of the release to open at once.
        number: Number of the shard.
        budget: Memory that models and shards of all opened releases may take, in bytes.
        retry_s: Seconds between two attempts to open a release.
        copies_bytes: Disk of this node for copies of documents in an object store.
        mapped_bytes: Disk of this node for files from which its processes map shards.
    """

    tolerated = (Problem,)

    def __init__(
        self,
        home: str,
        release: str,
        number: int,
        budget: int,
        retry_s: float = RETRY_S,
        *,
        copies_bytes: int = DOCUMENT_COPIES_BYTES,
        mapped_bytes: int = MAPPED_FILES_BYTES,
    ) -> None:
        self._failures: dict[str, tuple[float, Problem]] = {}
        self._retry_s = retry_s
        self._first = release
        self._budget = budget
        super().__init__(home, release, number, copies_bytes=copies_bytes, mapped_bytes=mapped_bytes)

    async def self_test(self) -> None:
        """As of any shard; one that could not be opened is tried again."""
        if self._shards.newest is None:
            with suppress(Problem):
                await self._shards.get(self._first)
        await super().self_test()

    def _open(self, release: str, newest: Shard | None) -> Shard:
        """Open the shard in a release.

        Raises:
            Problem: It cannot be opened; until ``retry_s`` later no other attempt is made.
        """
        if (failed := self._failures.get(release)) and time.monotonic() < failed[0]:
            raise failed[1]
        try:
            shard = super()._open(release, newest)
        except (TexthashError, OSError) as error:
            problem = Problem(
                "shard-unavailable",
                f"shard {self._number} of release {release} cannot be opened: {error}",
                headers={"Retry-After": str(round(self._retry_s))},
                shard=self._number,
            )
            if release not in self._failures:  # Logged once, not at every attempt.
                log.error("%s", problem.detail)
            self._failures[release] = (time.monotonic() + self._retry_s, problem)
            raise problem from error
        self._failures.pop(release, None)
        return shard

    async def ping(self, release: str) -> bool:
        """Return True once the shard is open in this release.

        Raises:
            Problem: There is no memory for it beside the release that is served.
        """
        if release not in self._shards.names:
            await self._make_room(release)
        return await super().ping(release)

    async def _make_room(self, release: str) -> None:
        if await asyncio.to_thread(self._memory_with, release, self._shards.names) <= self._budget:
            return
        self._shards.forget_unused()
        needed = await asyncio.to_thread(self._memory_with, release, self._shards.names)
        if needed > self._budget:
            raise Problem(
                "shard-unavailable",
                f"release {release} beside the one that is served needs about {needed / 1e6:,.0f} MB, and "
                f"service.local_memory_bytes allows an ingress {self._budget / 1e6:,.0f} MB: start the service again "
                "with more, or with service.placement=remote.",
            )

    def _memory_with(self, release: str, opened: Sequence[str]) -> int:
        """Return the memory that a release and those that are open take, in bytes; reads their records."""
        return memory_of(self._home, [read_release(self._home, name) for name in (*opened, release)])
