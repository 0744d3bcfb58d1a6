"""Search over all shards of an index in one process: by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.api.requests import Mode, RescoringKind, resolved_order
from texthash.index.filters.language import Where
from texthash.index.fusion import DEPTH, Fusion
from texthash.index.keywords.postings import KeywordHits
from texthash.index.memory.hits import Hits, check_window, merge
from texthash.index.ranked import Ranked, hybrid_page
from texthash.index.rescoring import Rescoring, search_rescored
from texthash.index.searched import SearchedShard

if TYPE_CHECKING:
    from texthash.index.memory.cost_model import Plan
    from texthash.index.releases.release import Release


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of a search; the members of :class:`texthash.api.requests.SearchRequest` say more.

    Attributes:
        mode: By meaning, by words, or by both.
        limit: Largest number of hits.
        offset: Number of hits to skip.
        radius: Largest Hamming distance of a hit by meaning; None for no limit.
        where: Condition that a hit must fulfil; None for no restriction.
        plan: Search strategy of the codes.
        rescoring: Finer order of the nearest; None for the order of the distance.
        oversample: Number of rescored documents per hit.
        fusion: How the two lists of a hybrid search become one.
        depth: Number of documents of each list that are fused.
        threads: Number of threads of the search by meaning.
    """

    mode: Mode = "semantic"
    limit: int = 10
    offset: int = 0
    radius: int | None = None
    where: Where | None = None
    plan: Plan = "auto"
    rescoring: Rescoring | None = None
    oversample: int = 4
    fusion: Fusion = field(default_factory=Fusion)
    depth: int = DEPTH
    threads: int = 1

    @classmethod
    def resolved(
        cls,
        release: Release | None,
        mode: Mode | None,
        rescore: RescoringKind | None,
        *,
        texts: bool,
        weight: float | None = None,
        radius: int | None = None,
        **others: Any,
    ) -> SearchOptions:
        """Return options: where mode, kind of rescoring or weight is None, that of the release; None is in memory."""
        mode, kind = resolved_order(
            mode,
            rescore,
            texts=texts,
            radius=radius,
            keywords=release is not None and release.keywords is not None,
            rescoring="none" if release is None else release.rescoring,
        )
        fusion = Fusion() if release is None else release.fusion
        if weight is not None:
            fusion = replace(fusion, weight=weight)
        rescoring = None if kind == "none" else kind
        return cls(mode=mode, rescoring=rescoring, fusion=fusion, radius=radius, **others)

    @property
    def window(self) -> tuple[int, int]:
        """Limit and offset of each list; a hybrid search pages only through the fused one."""
        if self.mode == "hybrid":
            return max(self.depth, self.limit + self.offset), 0
        return self.limit, self.offset


@dataclass(frozen=True)
class Found:
    """Result of one query.

    Attributes:
        page: Documents of the page.
        members: Members of each hit besides its document.
        plan: Search strategy of the codes; None if these were not searched.
        candidates: Number of codes compared with the query.
    """

    page: Ranked
    members: list[dict[str, Any]]
    plan: str | None = None
    candidates: int = 0


def search_index(
    shards: Sequence[SearchedShard],
    options: SearchOptions,
    *,
    code: NDArray[np.uint8] | None = None,
    values: NDArray[np.floating] | None = None,
    terms: Mapping[str, int] | None = None,
) -> Found:
    """Search all shards for one query.

    Args:
        shards: All shards of the index.
        options: Options of the search.
        code: Code of the query, uint8 [bits / 8]; None if no word of it is known, or in a search by keyword.
        values: Values for rescoring: activations minus thresholds [bits], or the vector [width].
        terms: Words of the query: :meth:`texthash.index.keywords.stored.StoredKeywords.query`.

    Raises:
        NoKeywordsError: The index has no words, and ``mode`` needs them.
        TexthashError: A limit is out of range.
    """
    check_window(options.limit, options.offset)
    near, plan, candidates = Ranked.nothing(), None, 0
    if code is not None and options.mode != "keyword":
        (near,), hits = nearest(shards, options, code[None], None if values is None else values[None])
        plan, candidates = hits.plans[0], int(hits.candidates[0])
    if options.mode == "semantic":
        return Found(near, near.members(), plan, candidates)
    words = Ranked.nothing()
    if terms:
        parts = search_keywords(shards, terms, sum(options.window), options.where)
        # A hit by words alone has all that are better by words before it in the fused list.
        shown = 0 if code is None else options.limit + options.offset
        distances = [np.full(len(part.numbers), -1) for part in parts]
        for shard, part, own in zip(shards, parts, distances, strict=True):
            if code is not None:
                own[:shown] = shard.distances(code.tobytes(), part.numbers[:shown])
        words = Ranked.by_words(parts, distances, *options.window)
    if options.mode == "keyword":
        return Found(words, words.members())
    bits = 0 if code is None else 8 * len(code)
    page, members = hybrid_page(near, words, options.fusion, options.limit, options.offset, bits=bits)
    return Found(page, members, plan, candidates)


def nearest(
    shards: Sequence[SearchedShard],
    options: SearchOptions,
    codes: NDArray[np.uint8],
    values: NDArray[np.floating] | None,
) -> tuple[list[Ranked], Hits]:
    """Search all shards by meaning for several queries.

    Args:
        shards: All shards of the index.
        options: Options of the search.
        codes: Codes of the queries, uint8 [Q, bits / 8].
        values: Values of the queries for rescoring, as for :func:`search_index`, one row a query.

    Returns:
        List of each query, and the hits of all, which have the plans of their searches.
    """
    limit, offset = options.window
    if options.rescoring is None or values is None:
        parts = [
            shard.search(
                codes,
                limit + offset,
                radius=options.radius,
                where=options.where,
                threads=options.threads,
                plan=options.plan,
            )
            for shard in shards
        ]
        hits, owners = merge(parts, limit, offset)
        scores: list[Any] = [None] * len(owners)
    else:
        rescored = search_rescored(
            shards,
            codes,
            values,
            limit,
            offset,
            kind=options.rescoring,
            oversample=options.oversample,
            radius=options.radius,
            where=options.where,
            plan=options.plan,
        )
        hits, owners, scores = rescored.hits, rescored.shards, [own.tolist() for own in rescored.scores]
    near = [own.tolist() for own in hits.distances]
    return [Ranked(*row) for row in zip(hits.numbers, owners, near, scores, strict=True)], hits


def search_keywords(
    shards: Sequence[SearchedShard], query: Mapping[str, int], limit: int, where: Where | None = None
) -> list[KeywordHits]:
    """Return the best documents of each shard, with scores of the whole index.

    Args:
        shards: All shards of the index.
        query: Words of the query with their numbers of occurrences: :meth:`StoredKeywords.query`.
        limit: Largest number of hits of a shard.
        where: Condition that a hit must fulfil; None for no restriction.

    Raises:
        NoKeywordsError: The index has no words.
    """
    statistics = reduce(add, [shard.keywords.statistics(list(query)) for shard in shards])
    return [shard.keywords.search(query, statistics, limit, where) for shard in shards]
