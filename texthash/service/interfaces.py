"""Interfaces of the encoder and of the shards, by which the coordinator calls them wherever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from texthash.index.filters.facets import FacetType
from texthash.index.filters.language import Where
from texthash.index.filters.order import After, Listed, Sort
from texthash.index.filters.parts import ValueCounts
from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.index.matches import Matches
from texthash.index.shard import StoredCode
from texthash.service.replicas.encoder import Encoded, Texts
from texthash.service.replicas.shard_calls import KeywordQuery, KeywordResult, QueryGroup, ShardResult


class Encoder(Protocol):
    """Interface of the encoder."""

    async def encode(self, call: Texts) -> Encoded: ...

    async def ping(self, release: str) -> bool: ...


class ShardClient(Protocol):
    """Interface of a shard; the methods are those of :class:`~.replicas.shard.ShardServer`."""

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]: ...

    async def keyword_statistics(self, release: str, terms: Sequence[str]) -> KeywordStatistics: ...

    async def search_keywords(self, release: str, queries: Sequence[KeywordQuery]) -> list[KeywordResult]: ...

    async def documents(
        self, release: str, wanted: Sequence[tuple[list[int], tuple[str, ...]]]
    ) -> list[list[dict[str, Any]]]: ...

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]: ...

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]: ...

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None: ...

    async def count(self, release: str, where: Where | None) -> int: ...

    async def facets(
        self, release: str, matches: Matches, types: Mapping[str, FacetType]
    ) -> tuple[int, dict[str, ValueCounts]]: ...

    async def page(
        self, release: str, where: Where | None, sort: Sort | None, after: After | None, limit: int
    ) -> tuple[int, Listed]: ...

    async def example(self, release: str) -> str | None: ...

    async def sample(self, release: str, count: int) -> list[str]: ...

    async def ping(self, release: str) -> bool: ...
