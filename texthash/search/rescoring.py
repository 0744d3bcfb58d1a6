"""Ordering the nearest documents again by the real-valued code of the query, which the cut to bits has coarsened.

Asymmetric: score = sum_b a_b (2 bit_b - 1), with a_b the query's activation less the threshold of bit b. The documents
keep their bits and nothing else is stored. For a = +-1 the score is bits - 2 distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.codes import check_codes
from texthash.search.costs import Plan
from texthash.search.flat import Hits, check_window
from texthash.search.shard import Shard, merge

MAX_OVERSAMPLE = 100
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
    values = np.asarray(activations, np.float64)
    if not np.isfinite(values).all():
        raise TexthashError("an activation of the query is not finite", "train the model again.")
    scores = np.zeros(len(codes))
    for byte, eight in enumerate(values.reshape(-1, 8)):
        scores += (_SIGNS * eight).sum(axis=1)[codes[:, byte]]
    return scores


def signs_of(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Activations that stand for codes of which no others are known: +-1, float32 [N, bits]."""
    return (2.0 * np.unpackbits(codes, axis=1) - 1.0).astype(np.float32)


def scores_of(shard: Shard, activations: NDArray[np.floating], hits: Hits) -> list[NDArray[np.float64]]:
    """Scores of what one shard found, from the codes in its memory, for each hit of each query.

    Args:
        shard: That found them.
        activations: Of the queries, less the thresholds, [Q, bits].
        hits: Of the same queries.
    """
    return [asymmetric(values, shard.codes(numbers)) for values, numbers in zip(activations, hits.numbers, strict=True)]


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


def search_asymmetric(
    shards: Sequence[Shard],
    codes: NDArray[np.uint8],
    activations: NDArray[np.floating],
    limit: int,
    offset: int = 0,
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
        activations: Of the queries, less the thresholds, [Q, bits].
        limit: Hits per query at most.
        offset: Hits to leave out first.
        oversample: 1 to 100.
        radius: Only documents at most so many bits away.
        labels: Only documents with one of these labels.
        plan: How each shard searches.

    Raises:
        ModelMismatchError: codes or activations have another width than the index.
        TexthashError: a limit, offset or oversample that cannot be.
    """
    check_window(limit, offset)
    if not 1 <= oversample <= MAX_OVERSAMPLE:
        raise TexthashError(f"oversample={oversample} cannot be.", f"give 1 to {MAX_OVERSAMPLE}.")
    if activations.shape != (len(codes), 8 * codes.shape[1]):
        raise ModelMismatchError(
            f"activations of shape {activations.shape} came with codes of shape {codes.shape}.",
            "give one activation for each bit of each query.",
        )
    wanted = oversample * limit
    chosen = None if labels is None else list(labels)
    parts = [shard.search(codes, wanted, radius=radius, labels=chosen, plan=plan) for shard in shards]
    scores = [scores_of(shard, activations, part) for shard, part in zip(shards, parts, strict=True)]
    return merge_rescored(parts, scores, limit, offset, oversample)
