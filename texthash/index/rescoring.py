"""Rescoring: reordering of the nearest documents by real values that binarization has coarsened.

* asymmetric: score = sum_b a_b (2 bit_b - 1), with a_b the query's activation minus the threshold of bit b, shifted
  where the method has learned to (:func:`texthash.models.encoding.query_values`). It needs only the bits of the
  documents. For a = +-1 the score is bits - 2 distance.
* float: score = cosine of the vectors of query and document. An index may store vectors in half precision
  (``index.vectors``, :mod:`texthash.models.vectors`); they are read from disk for the candidates alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.index.memory.hits import Hits, check_window, hits_at, nearest_places
from texthash.index.searched import SearchedShard

if TYPE_CHECKING:
    from texthash.index.filters.language import Where
    from texthash.index.memory.cost_model import Plan

Rescoring = Literal["asymmetric", "float"]
MAX_OVERSAMPLE = 100
# Vectors in memory at a time: at most this number of rows, or those of one query.
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Rescored:
    """Rescored hits of several queries, by (score descending, distance, number).

    Attributes:
        hits: Hits in this order.
        shards: Position of the shard of each hit of each query, int64.
        scores: Score of each hit of each query, float64.
    """

    hits: Hits
    shards: list[NDArray[np.int64]]
    scores: list[NDArray[np.float64]]


def cosines(query: NDArray[np.floating], vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosines of the vector of one query with those of documents, float64 [N].

    Each row is summed separately: unlike in a matrix product, a score does not depend on the other rows.

    Args:
        query: Unit vector of the query, [width].
        vectors: Unit vectors of documents, [N, width].

    Raises:
        ModelMismatchError: Query and documents differ in width.
        TexthashError: A value of the query is not finite.
    """
    if vectors.shape[1:] != query.shape:
        raise ModelMismatchError(
            f"the vector of the query has shape {query.shape}, those of the index have {vectors.shape[1:]}.",
            "encode the query with the model of the index.",
        )
    scores: NDArray[np.float64] = (np.ascontiguousarray(vectors, np.float64) * _finite(query)).sum(axis=1)
    return scores


def reranked(
    scores: Callable[[str, Sequence[str]], NDArray[np.floating]], question: str, texts: Sequence[str | None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Order hits by a model that reads question and text.

    A hit without a text is not read: it has no score, and follows the others. Equal hits keep their order.

    Args:
        scores: Function of the question and N texts to their scores [N]; a higher one is better.
        question: Question.
        texts: Text of each hit, None or blank for one without.

    Returns:
        Places of the hits in the new order, int64 [N], and the score of each hit, float32 [N] in the old order; NaN
        without a text.
    """
    found = np.full(len(texts), np.nan, np.float32)
    readable = [place for place, text in enumerate(texts) if text and text.strip()]
    if readable:
        found[readable] = scores(question, [texts[place] or "" for place in readable])
    return np.argsort(-np.where(np.isnan(found), -np.inf, found), kind="stable"), found


def _finite(values: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise TexthashError("a value of the query is not finite", "train the model again.")
    return found


def signs_of(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return +-1 in place of unknown activations of codes, float32 [N, bits]."""
    return (2.0 * np.unpackbits(codes, axis=1) - 1.0).astype(np.float32)


def scores_of(
    shard: SearchedShard, kind: Rescoring, values: NDArray[np.floating], hits: Hits
) -> list[NDArray[np.float64]]:
    """Return the scores of the hits of one shard, by query: from its codes in memory, or its vectors on disk.

    Args:
        shard: Shard that found the hits.
        kind: Kind of rescoring.
        values: Activations of the queries minus the thresholds, [Q, bits], or vectors of the queries, [Q, width].
        hits: Hits of the same queries.

    Raises:
        ModelMismatchError: The index stores no vectors, or the queries have another width.
    """
    if kind == "asymmetric":
        sizes = [len(own) for own in hits.numbers]
        found = shard.scores(values, np.repeat(np.arange(len(sizes)), sizes), np.concatenate(hits.numbers))
        return np.split(found, np.cumsum(sizes)[:-1])
    scores: list[NDArray[np.float64]] = []
    for batch in _batches(hits.numbers):
        numbers = hits.numbers[batch]
        vectors = np.split(shard.vectors(np.concatenate(numbers)), np.cumsum([len(own) for own in numbers])[:-1])
        scores += [cosines(query, stored) for query, stored in zip(values[batch], vectors, strict=True)]
    return scores


def _batches(numbers: Sequence[NDArray[np.int64]]) -> Iterator[slice]:
    """Yield consecutive queries with a limited total number of hits; at least one query at a time."""
    first, rows = 0, 0
    for query, own in enumerate(numbers):
        if query > first and rows + len(own) > _ROWS_AT_ONCE:
            yield slice(first, query)
            first, rows = query, 0
        rows += len(own)
    if first < len(numbers):
        yield slice(first, len(numbers))


def merge_rescored(
    parts: Sequence[Hits],
    scores: Sequence[Sequence[NDArray[np.float64]]],
    limit: int,
    offset: int = 0,
    oversample: int = 4,
) -> Rescored:
    """Merge the scored hits of the shards for the same queries, exactly.

    Args:
        parts: Hits of each shard, at least ``oversample * limit`` and ``offset + limit`` per query if the shard has
            that many.
        scores: Scores of these hits, by shard and query.
        limit: Largest number of hits per query.
        offset: Number of hits to skip.
        oversample: The ``oversample * limit`` nearest documents over all shards are reordered; later ones follow by
            distance.
    """
    window, chosen, kept = oversample * limit, [], []
    for query in range(len(parts[0])):
        places = nearest_places(parts, query, max(window, offset + limit))
        found = np.concatenate([own[query] for own in scores])[places]
        # Equal scores stay in the order of distance and number.
        order = np.argsort(-found[:window], kind="stable")
        order = np.concatenate([order, np.arange(window, len(found))])[offset : offset + limit]
        chosen.append(places[order])
        kept.append(found[order])
    hits, owners = hits_at(parts, chosen)
    return Rescored(hits, owners, kept)


def search_rescored(
    shards: Sequence[SearchedShard],
    codes: NDArray[np.uint8],
    values: NDArray[np.floating],
    limit: int,
    offset: int = 0,
    *,
    kind: Rescoring = "asymmetric",
    oversample: int = 4,
    radius: int | None = None,
    where: Where | None = None,
    plan: Plan = "auto",
) -> Rescored:
    """Search all shards and reorder the nearest documents.

    The ``oversample * limit`` nearest documents by (distance, number) over all shards, restricted by radius and
    condition, are sorted by (score descending, distance, number); later documents follow by distance; ``offset`` and
    ``limit`` select a page of this list. Pages of one limit therefore follow each other without gaps or repetitions.
    The result does not depend on the number of shards, nor on the other queries of the call.

    Args:
        shards: Shards of one index.
        codes: Query codes, uint8 [Q, bits / 8].
        values: Real values of the queries: for asymmetric the activations minus the thresholds, [Q, bits]; for float
            the vectors, [Q, width].
        limit: Largest number of hits per query.
        offset: Number of hits to skip.
        kind: Kind of rescoring, asymmetric or float.
        oversample: Number of reordered documents per hit, 1 to 100.
        radius: Largest Hamming distance of a hit in bits; None for no limit.
        where: Condition that a hit must fulfil; None for no restriction.
        plan: Search strategy of each shard.

    Raises:
        ModelMismatchError: Codes or values have another width than the index, or the index stores no vectors.
        TexthashError: ``limit``, ``offset`` or ``oversample`` is out of range.
    """
    check_window(limit, offset)
    if not 1 <= oversample <= MAX_OVERSAMPLE:
        raise TexthashError(f"oversample={oversample} is out of range.", f"give 1 to {MAX_OVERSAMPLE}.")
    bits = 8 * codes.shape[1]
    if len(values) != len(codes) or (kind == "asymmetric" and values.shape[1:] != (bits,)):
        raise ModelMismatchError(
            f"real values of shape {values.shape} came with codes of shape {codes.shape}.",
            "give the values of each query: one activation per bit, or one vector.",
        )
    candidates = max(oversample * limit, offset + limit)
    parts = [shard.search(codes, candidates, radius=radius, where=where, plan=plan) for shard in shards]
    scores = [scores_of(shard, kind, values, part) for shard, part in zip(shards, parts, strict=True)]
    return merge_rescored(parts, scores, limit, offset, oversample)
