"""Search with a quota for each of several labels: the nearest documents of each, as many as its share says.

A quota of N candidates over k labels (Gu et al., CoSHC, 2022, equation 7), of which each has one at least:

    R_i = 1 + floor(p_i (N - k)),  and the rest, one each, to the largest fractional parts
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.index.filters.language import Labels
from texthash.index.memory.flat import Hits
from texthash.index.searched import SearchedShard


def quotas(shares: NDArray[np.floating], total: int) -> NDArray[np.int64]:
    """Return the number of candidates of each label, int64 [Q, k], whose sum is ``total``.

    Args:
        shares: Share p_i of each label, [Q, k]; a row sums to 1.
        total: Number N of candidates.

    Raises:
        UsageError: There are fewer candidates than labels, or a share is negative or not finite.
    """
    labels = shares.shape[1]
    if total < labels:
        raise UsageError(f"{total} candidates cannot be divided over {labels} labels.", f"ask for {labels} or more.")
    if not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise UsageError("a share of a label is negative or not finite.", "give probabilities.")
    exact = shares.astype(np.float64) / shares.sum(axis=1, keepdims=True) * (total - labels)
    whole = np.floor(exact).astype(np.int64)
    left = total - labels - whole.sum(axis=1)
    order = np.argsort(whole - exact, axis=1, kind="stable")  # the largest fraction first
    place = np.argsort(order, axis=1)
    return 1 + whole + (place < left[:, None])


def search_quotas(
    shards: Sequence[SearchedShard], codes: NDArray[np.uint8], labels: Sequence[str], wanted: NDArray[np.int64]
) -> list[Hits]:
    """Return for each shard the nearest documents of each label, by (distance, number), for rescoring.

    A document with several of the labels is found once. A label with fewer documents than its quota gives all of them;
    the rest of the quota is lost.

    Args:
        shards: Shards of one index.
        codes: Codes of the queries, uint8 [Q, bits / 8].
        labels: Labels, k.
        wanted: Number of documents of each label, int64 [Q, k], over all shards.
    """
    found: list[list[list[tuple[int, int]]]] = [[[] for _ in codes] for _ in shards]
    for query, code in enumerate(codes):
        for label, quota in zip(labels, wanted[query].tolist(), strict=True):
            near = [
                (int(distance), int(number), shard)
                for shard, one in enumerate(shards)
                for distance, number in _of_label(one, code, label, quota)
            ]
            for distance, number, shard in sorted(near)[:quota]:
                found[shard][query].append((distance, number))
    return [_hits(of_shard) for of_shard in found]


def _of_label(shard: SearchedShard, code: NDArray[np.uint8], label: str, quota: int) -> zip[tuple[np.uint16, np.int64]]:
    hits = shard.search(code[None], quota, where=Labels((label,)))
    return zip(hits.distances[0], hits.numbers[0], strict=True)


def _hits(pairs: list[list[tuple[int, int]]]) -> Hits:
    distinct = [sorted(set(of_query)) for of_query in pairs]
    distances = [np.array([distance for distance, _ in own], np.uint16) for own in distinct]
    numbers = [np.array([number for _, number in own], np.int64) for own in distinct]
    return Hits(distances, numbers, ["quotas"] * len(pairs), np.array([len(own) for own in pairs], np.int64))
