"""Clients of the deployments of encoder, shards and writer, by the interfaces that the coordinator calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ReplicaState

from texthash.index.filters.facets import FacetType
from texthash.index.filters.language import Where
from texthash.index.filters.order import After, Listed, Sort
from texthash.index.filters.parts import ValueCounts
from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.index.matches import Matches
from texthash.index.shard import StoredCode
from texthash.service import tracing
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import Encoded, Texts
from texthash.service.replicas.shard_calls import KeywordQuery, KeywordResult, QueryGroup, ShardResult
from texthash.service.replicas.writer import Write, WriteAck

# Seconds that a call waits for a deployment without a running replica before it is answered 503.
_PATIENCE_S = 3.0
_RETRY_AFTER_S = "2"
# Serve's default, cloudpickle, is several times slower on small messages; it is only needed for unimportable objects.
_PICKLED: dict[str, Any] = {"request_serialization": "pickle", "response_serialization": "pickle"}


class _Remote:
    """Calls to one deployment, which are repeated after the death of a replica.

    Args:
        handle: Handle of the deployment.
        unavailable: Function that makes the problem of a deployment without a running replica.
    """

    def __init__(self, handle: DeploymentHandle, unavailable: Callable[[], Problem]) -> None:
        self._handle = handle
        self._unavailable = unavailable
        self._methods: dict[str, Any] = {}

    async def _call(self, method: str, *args: Any) -> Any:
        if tracing.is_on():
            method, args = "traced", (tracing.carrier(), method, *args)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_S
        while True:
            try:
                return await self._attempt(self._method(method), args)
            except (RayActorError, DeploymentUnavailableError, BackPressureError):
                # Reads, upserts and deletions can be repeated safely.
                if loop.time() >= give_up:
                    raise self._unavailable() from None
                await asyncio.sleep(0.1)

    def _method(self, name: str) -> Any:
        """Return a method of the deployment; cached, since a handle makes a new one at each access."""
        if name not in self._methods:
            self._methods[name] = self._handle.options(method_name=name, **_PICKLED)
        return self._methods[name]

    async def _attempt(self, method: Any, args: tuple[Any, ...]) -> Any:
        async def result() -> Any:
            return await method.remote(*args)

        waiting = asyncio.ensure_future(result())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=_PATIENCE_S)
            while not done:
                if not await asyncio.to_thread(_has_replica, self._handle):
                    raise self._unavailable()
                # A replica runs and is slow: wait until the deadline of the request.
                done, _ = await asyncio.wait({waiting}, timeout=_PATIENCE_S)
            return waiting.result()
        finally:
            waiting.cancel()


def _has_replica(handle: DeploymentHandle) -> bool:
    application = serve.status().applications.get(handle.app_name)
    deployment = application.deployments.get(handle.deployment_name) if application else None
    return deployment is not None and deployment.replica_states.get(ReplicaState.RUNNING, 0) > 0


class RemoteEncoder(_Remote):
    """Client of the encoder."""

    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "encoder-unavailable",
                "the encoder is being restarted; texts cannot be encoded until it is available.",
                headers={"Retry-After": _RETRY_AFTER_S},
            ),
        )

    async def encode(self, call: Texts) -> Encoded:
        encoded: Encoded | Problem = await self._call("encode", call)
        if isinstance(encoded, Problem):
            raise encoded
        return encoded

    async def ping(self, release: str) -> bool:
        return await self._call("ping", release)


class RemoteWriter(_Remote):
    """Client of the writer."""

    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "writer-unavailable",
                "the writer of the index is being restarted.",
                headers={"Retry-After": _RETRY_AFTER_S},
            ),
        )

    async def write(self, write: Write) -> WriteAck:
        done: WriteAck | Problem = await self._call("write", write)
        if isinstance(done, Problem):
            raise done
        return done


class RemoteShard(_Remote):
    """Client of one shard."""

    def __init__(self, handle: DeploymentHandle, number: int) -> None:
        super().__init__(
            handle,
            lambda: Problem(
                "shard-unavailable",
                f"shard {number} of the index is being restarted; no exact answer is possible until it is available.",
                headers={"Retry-After": _RETRY_AFTER_S},
                shard=number,
            ),
        )

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]:
        return await self._call("search", release, groups)

    async def keyword_statistics(self, release: str, terms: Sequence[str]) -> KeywordStatistics:
        return await self._call("keyword_statistics", release, terms)

    async def search_keywords(self, release: str, queries: Sequence[KeywordQuery]) -> list[KeywordResult]:
        return await self._call("search_keywords", release, queries)

    async def documents(
        self, release: str, wanted: Sequence[tuple[list[int], tuple[str, ...]]]
    ) -> list[list[dict[str, Any]]]:
        return await self._call("documents", release, wanted)

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]:
        return await self._call("codes_of", release, ids)

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        return await self._call("vectors_of", release, ids)

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None:
        return await self._call("document", release, document_id)

    async def count(self, release: str, where: Where | None) -> int:
        return await self._call("count", release, where)

    async def facets(
        self, release: str, matches: Matches, types: Mapping[str, FacetType]
    ) -> tuple[int, dict[str, ValueCounts]]:
        return await self._call("facets", release, matches, types)

    async def page(
        self, release: str, where: Where | None, sort: Sort | None, after: After | None, limit: int
    ) -> tuple[int, Listed]:
        return await self._call("page", release, where, sort, after, limit)

    async def example(self, release: str) -> str | None:
        return await self._call("example", release)

    async def sample(self, release: str, count: int) -> list[str]:
        return await self._call("sample", release, count)

    async def ping(self, release: str) -> bool:
        return await self._call("ping", release)
