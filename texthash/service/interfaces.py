"""Interfaces of the encoder and of the shards, by which the coordinator calls them wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from texthash.index.filters.language import Where
from texthash.index.shard import StoredCode
from texthash.service.browsing import BrowsedShard
from texthash.service.keyword_search import KeywordShard
from texthash.service.replicas.encoder import Encoded, Texts
from texthash.service.replicas.shard_calls import QueryGroup, ShardResult


class Encoder(Protocol):
    """Interface of the encoder."""

    async def encode(self, call: Texts) -> Encoded: ...

    async def ping(self, release: str) -> bool: ...


class ShardClient(KeywordShard, BrowsedShard, Protocol):
    """Interface of a shard; the methods are those of :class:`~.replicas.shard.ShardServer`."""

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]: ...

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]: ...

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]: ...

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None: ...

    async def count(self, release: str, where: Where | None) -> int: ...

    async def example(self, release: str) -> str | None: ...

    async def sample(self, release: str, count: int) -> list[str]: ...

    async def ping(self, release: str) -> bool: ...
