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

    Of the ``oversample * (offset + limit)`` nearest by (distance, number) over all shards, those that come first by
    (score descending, distance, number). The answer does not depend on how the index is cut into shards, nor on the
    other queries of the call.

    Args:
        shards: Of one index.
        codes: Of the queries, uint8 [Q, bits / 8].
        activations: Of the queries, less the thresholds, [Q, bits].
        limit: Hits per query at most.
        offset: Hits to leave out first. A later page looks at more documents than an earlier one, so a document may
            come on both; ask for a larger limit instead where that matters.
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
    wanted = oversample * (offset + limit)
    chosen = None if labels is None else list(labels)
    parts = [shard.search(codes, wanted, radius=radius, labels=chosen, plan=plan) for shard in shards]
    near, owners = merge(parts, wanted)
    distances, numbers, places, scores = [], [], [], []
    for query, values in enumerate(activations):
        found = asymmetric(values, _stored(shards, near.numbers[query], owners[query], codes.shape[1]))
        order = np.lexsort((near.numbers[query], near.distances[query], -found))[offset : offset + limit]
        distances.append(near.distances[query][order])
        numbers.append(near.numbers[query][order])
        places.append(owners[query][order])
        scores.append(found[order])
    return Rescored(Hits(distances, numbers, near.plans, near.candidates), places, scores)


def _stored(
    shards: Sequence[Shard], numbers: NDArray[np.int64], owners: NDArray[np.int64], width: int
) -> NDArray[np.uint8]:
    """Stored codes of documents, uint8 [N, width], in their order."""
    codes = np.empty((len(numbers), width), np.uint8)
    for place, shard in enumerate(shards):
        mine = owners == place
        if not mine.any():
            continue
        rows = shard.documents(numbers[mine], ["code"])
        codes[mine] = np.frombuffer(b"".join(row["code"] for row in rows), np.uint8).reshape(-1, width)
    return codes
