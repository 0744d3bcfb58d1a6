"""Compiled loop of the asymmetric scores of `texthash.hamming.asymmetric`."""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.hamming._simd import compiled


@compiled
def add_scores(words: Any, rows: Any, queries: Any, unpermuted: Any, sums: Any, out: Any) -> None:
    """Set the scores of some rows.

    Args:
        words: Codes with their bits in another order, uint64 [w, rows].
        rows: Row of each score, int64 [N]; a negative one leaves its score as it is.
        queries: Query of each score, int64 [N].
        unpermuted: Bits that each value of each byte sets in the code as it was, uint64 [bytes, 256, w].
        sums: What the values of each four bits add to the score of each query, float64 [Q, 2 bytes, 16].
        out: Scores, float64 [N].
    """
    size = unpermuted.shape[0]
    code = np.empty(unpermuted.shape[2], np.uint64)
    for at in range(len(rows)):
        row, query = rows[at], queries[at]
        if row < 0:
            continue
        code[:] = 0
        for byte in range(size):
            value = words[byte // 8, row] >> np.uint64(8 * (byte % 8)) & np.uint64(0xFF)
            for word in range(len(code)):
                code[word] |= unpermuted[byte, value, word]
        score = 0.0
        for byte in range(size):
            value = code[byte // 8] >> np.uint64(8 * (byte % 8)) & np.uint64(0xFF)
            score += sums[query, 2 * byte, value >> np.uint64(4)] + sums[query, 2 * byte + 1, value & np.uint64(0xF)]
        out[at] = score
