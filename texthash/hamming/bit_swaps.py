"""Order of bits that a multi-index search likes: greedy swaps that lower the number of its candidates.

What a search returns does not depend on the order of bits, what it looks at does. For one query, with d the distance of
its k-th nearest, the search of J blocks opens block j up to radius r_j = floor((d - j) / J) (Norouzi et al., 2014), and
its candidates are the codes within r_j of the query in any block j. Swaps of two bits of different blocks are made as
long as they lower the mean over queries (MISH; Hansen et al., 2021), for codes of any method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.hamming.codes import check_codes


def candidates_per_query(
    codes: NDArray[np.uint8], queries: NDArray[np.uint8], k: int, blocks: int, order: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the number of candidates of each query, int64 [Q].

    Args:
        codes: Codes of the database, uint8 [N, bits / 8].
        queries: Codes of the queries, uint8 [Q, bits / 8].
        k: Number of results.
        blocks: Number J of blocks.
        order: Order of the bits, int64 [bits], as in :class:`~texthash.hamming.multi_index.BitOrder`; None: their own.
    """
    start = np.arange(check_codes(codes)) if order is None else order
    return _Blocks.of(codes, queries, k, blocks, start).candidates()


def swapped_order(
    codes: NDArray[np.uint8],
    queries: NDArray[np.uint8],
    k: int,
    blocks: int,
    order: NDArray[np.int64] | None = None,
    sweeps: int = 64,
) -> NDArray[np.int64]:
    """Return an order of bits from which no swap of two bits lowers the mean number of candidates.

    The time is that of ``bits^2 / 2`` passes over ``Q N`` distances for each swap that is made, so that a sample of a
    few hundred queries and a few thousand codes is plenty.

    Args:
        codes: Sample of the database, uint8 [N, bits / 8].
        queries: Sample of queries that are not in it, uint8 [Q, bits / 8].
        k: Number of results; for a sample, reduced in proportion to its size.
        blocks: Number J of blocks.
        order: Order to start from; None: the bits' own.
        sweeps: Largest number of swaps.

    Returns:
        int64 [bits]: bit ``order[p]`` of a code moves to position p.
    """
    order = np.arange(check_codes(codes)) if order is None else order.copy()
    state = _Blocks.of(codes, queries, k, blocks, order)
    best = int(state.candidates().sum())
    for _ in range(sweeps):
        swaps = [(a, b) for a in range(len(order)) for b in range(a) if state.block[a] != state.block[b]]
        counts = [state.after(order, a, b) for a, b in swaps]
        if not counts or min(counts) >= best:
            break
        best = min(counts)
        a, b = swaps[int(np.argmin(counts))]
        state.swap(order, a, b)
        order[[a, b]] = order[[b, a]]
    return order


@dataclass
class _Blocks:
    """Distances of queries from codes, block by block.

    Attributes:
        differ: Whether query and code differ in a bit, bool [bits, Q, N].
        block: Block of each position, int64 [bits].
        distances: int16 [J, Q, N].
        reach: r_j of each query, int64 [J, Q]; below 0 where block j is not opened.
    """

    differ: NDArray[np.bool_]
    block: NDArray[np.int64]
    distances: NDArray[np.int16]
    reach: NDArray[np.int64]

    @classmethod
    def of(
        cls, codes: NDArray[np.uint8], queries: NDArray[np.uint8], k: int, blocks: int, order: NDArray[np.int64]
    ) -> _Blocks:
        bits = check_codes(codes)
        check_codes(queries, bits, "queries")
        if not 1 <= blocks <= bits or not 1 <= k <= len(codes):
            raise TexthashError(
                f"{blocks} blocks of {bits} bits, {k} results of {len(codes)} codes",
                "choose 1 to bits blocks, and 1 to as many results as there are codes",
            )
        widths = np.full(blocks, bits // blocks)
        widths[: bits % blocks] += 1
        block = np.repeat(np.arange(blocks), widths)
        rows, asked = (np.unpackbits(array, axis=1).T.astype(np.bool_) for array in (codes, queries))
        differ = asked[:, :, None] != rows[:, None, :]
        total = differ.sum(axis=0, dtype=np.int16)
        radius = np.partition(total, k - 1, axis=1)[:, k - 1].astype(np.int64)
        distances = np.stack([differ[order[block == j]].sum(axis=0, dtype=np.int16) for j in range(blocks)])
        reach = (radius - np.arange(blocks)[:, None]) // blocks
        return cls(differ, block, distances, reach)

    def candidates(self) -> NDArray[np.int64]:
        """Return the candidates of each query, int64 [Q]."""
        return (self.distances <= self.reach[:, :, None]).any(axis=0).sum(axis=1)

    def after(self, order: NDArray[np.int64], a: int, b: int) -> int:
        """Return the candidates of all queries after the bits at positions a and b were swapped."""
        met = np.zeros(self.distances.shape[1:], np.bool_)
        change = self.differ[order[b]].astype(np.int16) - self.differ[order[a]]
        for j, distances in enumerate(self.distances):
            if j == self.block[a]:
                distances = distances + change
            elif j == self.block[b]:
                distances = distances - change
            met |= distances <= self.reach[j][:, None]
        return int(met.sum())

    def swap(self, order: NDArray[np.int64], a: int, b: int) -> None:
        """Swap the bits at positions a and b of ``order``, which the caller changes."""
        change = self.differ[order[b]].astype(np.int16) - self.differ[order[a]]
        self.distances[self.block[a]] += change
        self.distances[self.block[b]] -= change
