"""Compiled fusion of the lists of all shards, for several queries; :mod:`texthash.index.fusion` has the equation.

Each shard's list by meaning comes by (distance, number), and its list by words by (score descending, number), so that
merging them needs no sort. A table of the document numbers finds those that are in both lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.io.kernel_cache import compiled

_ABSENT = -1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing


def _slot(table: Any, listed: Any, number: int, shift: int) -> Any:
    """Return the slot of a document number in a table of positions in ``listed``, or the free one where it belongs."""
    slot = np.int64((np.uint64(number) * _MULTIPLIER) >> np.uint64(shift))
    while table[slot] != _ABSENT and listed[table[slot]] != number:
        slot = (slot + 1) & (len(table) - 1)
    return slot


def _merged(keys: Any, numbers: Any, bounds: Any, first: int, shards: int, depth: int, places: Any, owners: Any) -> int:
    """Merge the lists of the shards of a query by (key, number), and return the size of the merged list.

    Output: the places of its first ``depth`` documents in ``numbers``, and their shards.
    """
    at = bounds[first : first + shards].copy()
    size = 0
    while size < depth:
        best = _ABSENT
        for shard in range(shards):
            place = at[shard]
            if place == bounds[first + shard + 1]:
                continue
            if (
                best == _ABSENT
                or keys[place] < keys[at[best]]
                or (keys[place] == keys[at[best]] and numbers[place] < numbers[at[best]])
            ):
                best = shard
        if best == _ABSENT:
            break
        places[size], owners[size] = at[best], best
        at[best] += 1
        size += 1
    return size


_slot = compiled(_slot)
_merged = compiled(_merged)


def _fuse(near: Any, words: Any, settings: Any, shares: Any, shards: int, found: Any, scores: Any) -> None:
    """Fuse the lists of several queries.

    Args:
        near: Distances int64, numbers int64 and bounds int64 [Q * shards + 1] of the lists by meaning.
        words: Negative scores float64, numbers and bounds of the lists by words.
        settings: Limit, offset and depth of each query, int64 [Q, 3].
        shares: Weight of the meaning and constant of each query, float64 [Q, 2].
        shards: Number of shards.
        found: Output, int64 [Q, limit + 1, 4]: number, shard, place in ``near`` and place in ``words`` of each hit, -1
            where it is not there, and ranks, from 0, in the upper half of these; the last row begins with the size.
        scores: Output, float64 [Q, limit]: fused scores.
    """
    most = settings[:, 2].max()
    slots, shift = 4, 62
    while slots < 4 * most:
        slots, shift = 2 * slots, shift - 1
    table = np.empty(slots, np.int64)
    near_places, near_owners = np.empty(most, np.int64), np.empty(most, np.int64)
    word_places, word_owners = np.empty(most, np.int64), np.empty(most, np.int64)
    listed = np.empty(2 * most, np.int64)
    near_ranks, word_ranks = np.empty(2 * most, np.int64), np.empty(2 * most, np.int64)
    sums, best = np.empty(2 * most, np.float64), np.empty(2 * most, np.int64)
    for query in range(len(settings)):
        limit, offset, depth = settings[query, 0], settings[query, 1], settings[query, 2]
        first = query * shards
        nearest = _merged(near[0], near[1], near[2], first, shards, depth, near_places, near_owners)
        worded = _merged(words[0], words[1], words[2], first, shards, depth, word_places, word_owners)
        weight, constant = shares[query, 0], shares[query, 1] + 1.0
        if (weight == 0.0 and not worded) or (weight == 1.0 and not nearest):
            weight = 1.0 - weight
        table[:] = _ABSENT
        size = 0
        for rank in range(nearest):
            number = near[1][near_places[rank]]
            table[_slot(table, listed, number, shift)] = size
            listed[size], near_ranks[size], word_ranks[size] = number, rank, _ABSENT
            sums[size] = weight / (constant + rank) if weight > 0 else 0.0
            size += 1
        for rank in range(worded):
            number = words[1][word_places[rank]]
            slot = _slot(table, listed, number, shift)
            entry = table[slot]
            if entry == _ABSENT:
                entry = size
                table[slot] = entry
                listed[entry], near_ranks[entry], sums[entry] = number, _ABSENT, 0.0
                size += 1
            word_ranks[entry] = rank
            if weight < 1:
                sums[entry] += (1.0 - weight) / (constant + rank)
        kept = 0
        for entry in range(size):
            score, number = sums[entry], listed[entry]
            if score == 0.0:
                continue
            place = kept
            while place > 0 and (
                sums[best[place - 1]] < score or (sums[best[place - 1]] == score and listed[best[place - 1]] > number)
            ):
                place -= 1
            if place >= offset + limit:
                continue
            kept = min(kept + 1, offset + limit)
            for later in range(kept - 1, place, -1):
                best[later] = best[later - 1]
            best[place] = entry
        for place in range(offset, kept):
            row, entry = place - offset, best[place]
            rank, word = near_ranks[entry], word_ranks[entry]
            found[query, row, 0] = listed[entry]
            found[query, row, 1] = near_owners[rank] if rank >= 0 else word_owners[word]
            found[query, row, 2] = near_places[rank] | (rank << 32) if rank >= 0 else _ABSENT
            found[query, row, 3] = word_places[word] | (word << 32) if word >= 0 else _ABSENT
            scores[query, row] = sums[entry]
        found[query, found.shape[1] - 1, 0] = max(0, kept - offset)


fuse = compiled(_fuse)
