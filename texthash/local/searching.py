"""Search over the shards of an index in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from texthash.index.ranked import Ranked
from texthash.index.search import SearchOptions, nearest, search_index
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
    found, _ = nearest(shards, options, read.codes, read.rescored_by)
    known = zip(found, read.known.tolist(), strict=True)
    return [SearchResult.of(shards, own if has_word else Ranked.nothing()) for own, has_word in known]


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
        code, values = read.codes[row], read.rescored_by[row]
    terms = shards[0].keywords.query(text)
    return SearchResult.of(shards, search_index(shards, options, code=code, values=values, terms=terms).page)
