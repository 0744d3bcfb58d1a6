"""Interface of a shard that is searched: that of a release, or the documents of an index in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from texthash.index.filters.language import Where
    from texthash.index.filters.parts import Part
    from texthash.index.filters.selection import Selection
    from texthash.index.keywords.bm25 import KeywordStatistics
    from texthash.index.keywords.postings import KeywordHits
    from texthash.index.memory.cost_model import Plan
    from texthash.index.memory.hits import Hits


class SearchedKeywords(Protocol):
    """Words of its documents."""

    def query(self, text: str) -> dict[str, int]: ...

    def statistics(self, terms: Sequence[str]) -> KeywordStatistics: ...

    def containing(self, terms: Sequence[str]) -> NDArray[np.int64]: ...

    def search(
        self, query: Mapping[str, int], statistics: KeywordStatistics, limit: int, where: Where | None = None
    ) -> KeywordHits: ...


class SearchedShard(Protocol):
    """Shard of an index."""

    @property
    def keywords(self) -> SearchedKeywords: ...

    def __len__(self) -> int: ...

    def search(
        self,
        codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        *,
        radius: int | None = None,
        where: Where | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits: ...

    def select(self, where: Where) -> Selection: ...

    def parts(self, selected: Selection | None = None) -> list[Part]: ...

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]: ...

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]: ...

    def distances(self, code: bytes, numbers: NDArray[np.int64]) -> NDArray[np.int64]: ...

    def scores(
        self, values: NDArray[np.floating], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.float64]: ...

    def documents(self, numbers: NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]: ...
