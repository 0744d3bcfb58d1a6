"""Pages of hybrid searches: the lists of all shards merged and fused, for several queries in one call of a kernel.

Loading the kernel takes as long as hundreds of fusions by numpy, which a program that searches once does not need. The
pages are those of :func:`texthash.index.ranked.hybrid_page`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.index.keywords.postings import KeywordHits
from texthash.index.memory.hits import Hits
from texthash.index.ranked import Ranked, hybrid_page
from texthash.index.shard import merge

Page = tuple[Ranked, list[dict[str, Any]]]
_RANK_BITS, _PLACE_MASK = 32, 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class HybridLists:
    """Lists of one query, and what its page is made of.

    Attributes:
        near: Hits by meaning of each shard, of this query alone; none for a query without a code.
        words: Hits by words of each shard; none for a query without words.
        distances: Distances of the hits by words of each shard, int64; -1 where one of the codes is missing, and behind
            the first ``limit + offset``, which alone can be shown without a rank by meaning.
        limit: Largest number of hits.
        offset: Number of hits to skip.
        depth: Number of documents of each list that are fused.
        weight: Weight of the meaning.
        constant: Constant of the ranks.
    """

    near: Sequence[Hits] = ()
    words: Sequence[KeywordHits] = ()
    distances: Sequence[NDArray[np.int64]] = field(default=())
    limit: int
    offset: int
    depth: int
    weight: float
    constant: float


def plain_page(lists: HybridLists) -> Page:
    """Return the page of one query, and the members of each hit, by numpy."""
    near, words = Ranked.nothing(), Ranked.nothing()
    if lists.near:
        hits, owners = merge(lists.near, lists.depth)
        near = Ranked(hits.numbers[0], owners[0], hits.distances[0].tolist())
    if lists.words:
        words = Ranked.by_words(lists.words, lists.distances, lists.depth)
    return hybrid_page(near, words, lists.limit, lists.offset, weight=lists.weight, constant=lists.constant)


_kernels: list[Any] = []


def load_kernel() -> None:
    """Load or compile the kernel, which later pages of this process use."""
    if not _kernels:
        from texthash.index._fused import fuse

        _kernels.append(fuse)
        _fused([HybridLists(limit=1, offset=0, depth=1, weight=0.5, constant=1.0)])


def hybrid_pages(queries: Sequence[HybridLists]) -> list[Page]:
    """Return the page of each query, and the members of each hit."""
    return _fused(queries) if _kernels and queries else [plain_page(lists) for lists in queries]


def _fused(queries: Sequence[HybridLists]) -> list[Page]:
    shards = max(max(len(lists.near), len(lists.words)) for lists in queries)
    near = [(hits.distances[0], hits.numbers[0]) for lists in queries for hits in _each(lists.near, shards, _NO_HITS)]
    words = [(hits.scores, hits.numbers) for lists in queries for hits in _each(lists.words, shards, _NO_WORDS)]
    distances = np.concatenate([part for lists in queries for part in lists.distances] or [_NOTHING])
    near_keys, word_keys = _joined(near, np.int64), _joined(words, np.float64)
    settings = np.array([(lists.limit, lists.offset, lists.depth) for lists in queries], np.int64)
    shares = np.array([(lists.weight, lists.constant) for lists in queries], np.float64)
    most = int(settings[:, 0].max())
    found, scores = np.empty((len(queries), most + 1, 4), np.int64), np.empty((len(queries), most))
    by_score = (-word_keys[0], word_keys[1], word_keys[2])
    _kernels[0](near_keys, by_score, settings, shares, shards, found, scores)
    pages = []
    for own, fused, size in zip(found, scores, found[:, -1, 0].tolist(), strict=True):
        members = []
        for (_, _, at, word), score in zip(own[:size].tolist(), fused[:size].tolist(), strict=True):
            distance = near_keys[0][at & _PLACE_MASK] if at >= 0 else distances[word & _PLACE_MASK]
            by_words = None
            if word >= 0:
                by_words = {"rank": (word >> _RANK_BITS) + 1, "score": float(word_keys[0][word & _PLACE_MASK])}
            members.append(
                {
                    "distance": None if distance < 0 else int(distance),
                    "score": score,
                    "semantic": {"rank": (at >> _RANK_BITS) + 1} if at >= 0 else None,
                    "keyword": by_words,
                }
            )
        shown = [member["distance"] for member in members]
        pages.append((Ranked(own[:size, 0], own[:size, 1], shown, fused[:size].tolist()), members))
    return pages


_NOTHING = np.empty(0, np.int64)
_NO_HITS = Hits([np.empty(0, np.uint16)], [_NOTHING])
_NO_WORDS = KeywordHits(_NOTHING, np.empty(0))


def _each(parts: Sequence[Any], shards: int, nothing: Any) -> Sequence[Any]:
    """Return the part of each shard."""
    return parts or [nothing] * shards


def _joined(parts: Sequence[tuple[NDArray[Any], NDArray[np.int64]]], kind: Any) -> tuple[NDArray[Any], ...]:
    """Return keys and numbers of all parts, one after the other, and where each begins."""
    keys = np.concatenate([np.empty(0, kind), *(key for key, _ in parts)], dtype=kind)
    numbers = np.concatenate([_NOTHING, *(own for _, own in parts)])
    return keys, numbers, np.cumsum([0, *(len(own) for _, own in parts)])
