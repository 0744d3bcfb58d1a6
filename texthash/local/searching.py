"""Search over the shards of an index in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from texthash.index.ranked import Ranked
from texthash.index.rescoring import search_rescored
from texthash.index.search import SearchOptions, search_index
from texthash.index.shard import merge
from texthash.local.result import SearchResult

if TYPE_CHECKING:
    from texthash.config import VectorKind
    from texthash.index.searched import SearchedShard
    from texthash.models.query_encoder import EncodedQueries, QueryEncoder


def search_shards(
    encoder: QueryEncoder,
    shards: Sequence[SearchedShard],
    texts: list[str],
    vectors: Any,
    options: SearchOptions,
    kind: VectorKind | None = None,
) -> list[SearchResult]:
    """Search for the documents of Q queries.

    Args:
        encoder: Encoder of the queries, which a search by words does not need.
        shards: All shards of the index.
        texts: Texts of the queries; empty ones beside vectors alone.
        vectors: Vectors of the queries, numbers [Q, D]; None for those that the model makes.
        options: Options of the search.
        kind: Kind of the vectors that the index stores, for rescoring by them.
    """
    if options.mode == "keyword":
        return [_of_words(shards, text, options) for text in texts]
    read = encoder.read(texts, kind if options.rescoring == "float" else None, vectors)
    if options.mode == "hybrid":
        return [_of_words(shards, text, options, read, row) for row, text in enumerate(texts)]
    return _by_meaning(shards, read, options)


def _of_words(
    shards: Sequence[SearchedShard],
    text: str,
    options: SearchOptions,
    read: EncodedQueries | None = None,
    row: int = 0,
) -> SearchResult:
    """Search by words, or by words and the code of a query."""
    code = values = None
    if read is not None and read.known[row]:
        code, values = read.codes[row], _values(read)[row]
    terms = shards[0].keywords.query(text)
    return SearchResult.of(shards, search_index(shards, options, code=code, values=values, terms=terms).page)


def _by_meaning(shards: Sequence[SearchedShard], read: EncodedQueries, options: SearchOptions) -> list[SearchResult]:
    """Search by meaning for all queries at once."""
    if options.rescoring is None:
        parts = [
            shard.search(read.codes, options.limit, radius=options.radius, where=options.where, threads=options.threads)
            for shard in shards
        ]
        hits, owners = merge(parts, options.limit)
        scores: list[Any] = [None] * len(owners)
    else:
        rescored = search_rescored(
            shards,
            read.codes,
            _values(read),
            options.limit,
            kind=options.rescoring,
            oversample=options.oversample,
            radius=options.radius,
            where=options.where,
        )
        hits, owners = rescored.hits, rescored.shards
        scores = [own.tolist() for own in rescored.scores]
    return [
        SearchResult.of(shards, Ranked(hits.numbers[row], owners[row], hits.distances[row].tolist(), scores[row]))
        if known
        else SearchResult.of(shards, Ranked.nothing())
        for row, known in enumerate(read.known.tolist())
    ]


def _values(read: EncodedQueries) -> Any:
    """Return the values of the queries for rescoring: the vectors where they were asked for, or the margins."""
    return read.margins if read.vectors is None else read.vectors
