"""Ordering the nearest documents again by what the cut to bits has coarsened.

* asymmetric: score = sum_b a_b (2 bit_b - 1), with a_b the query's activation less the threshold of bit b. The
  documents keep their bits and nothing else is stored. For a = +-1 the score is bits - 2 distance.
* float: score = the cosine of the query's vector and the document's, which an index may keep in half precision
  (``index.vectors``, :mod:`texthash.models.vectors`). They are read from disk for the candidates alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.codes import check_codes
from texthash.index.memory.cost_model import Plan
from texthash.index.memory.flat import Hits, check_window
from texthash.index.shard import Shard, merge

Rescoring = Literal["asymmetric", "float"]
MAX_OVERSAMPLE = 100
# Vectors in memory at a time: so many rows, or those of one query.
_ROWS_AT_ONCE = 16_384
_SIGNS = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1.0


@dataclass(frozen=True)
class Rescored:
    """Hits by (score descending, distance, number).

    Attributes:
        hits: In this order.
        shards: Of each hit of each query, its place among the shards, int64.
        scores: Of each hit of each query, float64.
    """

    hits: Hits
    shards: list[NDArray[np.int64]]
    scores: list[NDArray[np.float64]]


def asymmetric(activations: NDArray[np.floating], codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Scores of codes for one query, float64 [N].

    Sums a table of 256 values for each byte, in the order of the bytes: bits / 8 look-ups a code, and a score that
    does not depend on which other codes are scored with it, as a matrix product may.

    Args:
        activations: Of the query, less the thresholds, [bits].
        codes: uint8 [N, bits / 8], most significant bit first.

    Raises:
        ModelMismatchError: the codes have another width than the query.
        TexthashError: an activation that is not finite.
    """
    check_codes(codes, len(activations))
    values = _finite(activations)
    scores = np.zeros(len(codes))
    for byte, eight in enumerate(values.reshape(-1, 8)):
        scores += (_SIGNS * eight).sum(axis=1)[codes[:, byte]]
    return scores


def cosines(query: NDArray[np.floating], vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Products of the vector of one query with those of documents, float64 [N]: their cosines, as both have length 1.

    Sums each row by itself, so that a score does not depend on which others are made with it, as in a matrix product.

    Args:
        query: [width].
        vectors: [N, width].

    Raises:
        ModelMismatchError: the two differ in width.
        TexthashError: a value of the query that is not finite.
    """
    if vectors.shape[1:] != query.shape:
        raise ModelMismatchError(
            f"the vector of the query has shape {query.shape}, those of the index {vectors.shape[1:]}.",
            "encode the query with the model of the index.",
        )
    scores: NDArray[np.float64] = (np.ascontiguousarray(vectors, np.float64) * _finite(query)).sum(axis=1)
    return scores


def _finite(values: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise TexthashError("a value of the query is not finite", "train the model again.")
    return found


def signs_of(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Activations that stand for codes of which no others are known: +-1, float32 [N, bits]."""
    return (2.0 * np.unpackbits(codes, axis=1) - 1.0).astype(np.float32)


def scores_of(shard: Shard, kind: Rescoring, values: NDArray[np.floating], hits: Hits) -> list[NDArray[np.float64]]:
    """Scores of what one shard found, for each hit of each query: from the codes in its memory, or its vectors on disk.

    Args:
        shard: That found them.
        kind: Of rescoring.
        values: Of the queries: activations less the thresholds, [Q, bits], or vectors, [Q, width].
        hits: Of the same queries.

    Raises:
        ModelMismatchError: the index keeps no vectors, or the queries have another width.
    """
    if kind == "asymmetric":
        return [asymmetric(own, shard.codes(numbers)) for own, numbers in zip(values, hits.numbers, strict=True)]
    scores: list[NDArray[np.float64]] = []
    for some in _together(hits.numbers):
        numbers = hits.numbers[some]
        vectors = np.split(shard.vectors(np.concatenate(numbers)), np.cumsum([len(own) for own in numbers])[:-1])
        scores += [cosines(own, kept) for own, kept in zip(values[some], vectors, strict=True)]
    return scores


def _together(numbers: Sequence[NDArray[np.int64]]) -> Iterator[slice]:
    """Queries in turn, as many as have a limited number of hits together; at least one."""
    first, rows = 0, 0
    for place, own in enumerate(numbers):
        if place > first and rows + len(own) > _ROWS_AT_ONCE:
            yield slice(first, place)
            first, rows = place, 0
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
    """Join what the shards found and scored for the same queries, exactly.

    Args:
        parts: One per shard, each with at least ``oversample * limit`` hits per query where it has so many.
        scores: Of these hits, by shard and query.
        limit: Hits per query at most.
        offset: Hits to leave out first.
        oversample: ``oversample * limit`` nearest documents over all shards are ordered again.
    """
    near, owners = merge(parts, oversample * limit)
    distances, numbers, places, kept = [], [], [], []
    for query, shards in enumerate(owners):
        found = np.empty(len(shards))
        for place, own in enumerate(scores):
            mine = shards == place
            found[mine] = own[query][: mine.sum()]  # both are in the order of distance and number
        order = np.lexsort((near.numbers[query], near.distances[query], -found))[offset : offset + limit]
        distances.append(near.distances[query][order])
        numbers.append(near.numbers[query][order])
        places.append(shards[order])
        kept.append(found[order])
    return Rescored(Hits(distances, numbers, near.plans, near.candidates), places, kept)


def search_rescored(
    shards: Sequence[Shard],
    codes: NDArray[np.uint8],
    values: NDArray[np.floating],
    limit: int,
    offset: int = 0,
    kind: Rescoring = "asymmetric",
    oversample: int = 4,
    radius: int | None = None,
    labels: Iterable[str] | None = None,
    plan: Plan = "auto",
) -> Rescored:
    """Search all shards and order what is nearest again.

    The ``oversample * limit`` nearest by (distance, number) over all shards, those within the radius and with the
    labels, are put in the order of (score descending, distance, number); ``offset`` and ``limit`` cut a page out of
    this list. So pages of one limit follow each other without a gap or a repetition, and end with the list. The answer
    does not depend on how the index is cut into shards, nor on the other queries of the call.

    Args:
        shards: Of one index.
        codes: Of the queries, uint8 [Q, bits / 8].
        values: Of the queries: for asymmetric the activations less the thresholds, [Q, bits]; for float the vectors,
            [Q, width].
        limit: Hits per query at most.
        offset: Hits to leave out first.
        kind: asymmetric or float.
        oversample: 1 to 100.
        radius: Only documents at most so many bits away.
        labels: Only documents with one of these labels.
        plan: How each shard searches.

    Raises:
        ModelMismatchError: codes or values have another width than the index, or it keeps no vectors.
        TexthashError: a limit, offset or oversample that cannot be.
    """
    check_window(limit, offset)
    if not 1 <= oversample <= MAX_OVERSAMPLE:
        raise TexthashError(f"oversample={oversample} cannot be.", f"give 1 to {MAX_OVERSAMPLE}.")
    bits = 8 * codes.shape[1]
    if len(values) != len(codes) or (kind == "asymmetric" and values.shape[1:] != (bits,)):
        raise ModelMismatchError(
            f"real values of shape {values.shape} came with codes of shape {codes.shape}.",
            "give those of each query: one activation a bit, or one vector.",
        )
    wanted = oversample * limit
    chosen = None if labels is None else list(labels)
    parts = [shard.search(codes, wanted, radius=radius, labels=chosen, plan=plan) for shard in shards]
    scores = [scores_of(shard, kind, values, part) for shard, part in zip(shards, parts, strict=True)]
    return merge_rescored(parts, scores, limit, offset, oversample)
