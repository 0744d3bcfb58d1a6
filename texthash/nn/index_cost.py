"""Costs of codes in an index that is searched by multi-index hashing: a memory of codes, and what to change in them.

A code of m bits is divided into J blocks, each with a table. A search of the k nearest opens, for s = 0, 1, ..., the
buckets of table s mod J at distance s div J from the query's block, until the k-th nearest is at distance s or less
(Norouzi et al., 2014). Two kinds of documents make it slow (MISH; Hansen et al., 2021): those that a bucket holds
though they are farther than the k-th nearest (false candidates), and the k-th nearest themselves where they are so far
that many buckets are opened (costly neighbours).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CodeMemory(nn.Module):
    """Codes of the training documents that were seen last, first in, first out; each document is in it once.

    Args:
        documents: Number N of training documents.
        bits: Length m of the code.
        size: Largest number S of codes.
    """

    codes: Tensor
    rows: Tensor
    place: Tensor
    written: Tensor

    def __init__(self, documents: int, bits: int, size: int = 20_000) -> None:
        super().__init__()
        size = min(size, documents)
        self.register_buffer("codes", torch.zeros(size, bits, dtype=torch.int8))
        self.register_buffer("rows", torch.full((size,), -1))
        self.register_buffer("place", torch.full((documents,), -1))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.written), len(self.rows))

    @torch.no_grad()
    def write(self, rows: Tensor, codes: Tensor) -> None:
        """Store codes [B, m] in {-1, +1} of the documents ``rows`` [B], all different.

        Known documents keep their position.
        """
        new = rows[self.place[rows] < 0][-len(self.rows) :]
        places = (self.written + torch.arange(len(new), device=rows.device)) % len(self.rows)
        gone = self.rows[places]
        self.place[gone[gone >= 0]] = -1
        self.rows[places], self.place[new] = new, places
        self.written += len(new)
        there = self.place[rows] >= 0
        self.codes[self.place[rows[there]]] = codes[there].to(self.codes.dtype)


def block_masks(bits: int, blocks: int) -> Tensor:
    """Return which bits of a code each block has, float32 [J, m].

    Blocks are consecutive bits, of which the first ``m mod J`` have one more: the substrings of
    :class:`texthash.hamming.multi_index.Tables` over codes whose bits keep their order.
    """
    widths = torch.full((blocks,), bits // blocks)
    widths[: bits % blocks] += 1
    of_bit = torch.repeat_interleave(torch.arange(blocks), widths)
    return (of_bit == torch.arange(blocks)[:, None]).float()


def nearest_radius(distances: Tensor, k: int) -> Tensor:
    """Return the distance of the k-th nearest of each query, [B], from distances [B, M]; the last if there are fewer.

    Distances of infinity are of documents that do not count.
    """
    found: Tensor = distances.kthvalue(min(k, distances.shape[1]), dim=1).values
    farthest = distances.masked_fill(distances.isinf(), -1.0).amax(dim=1)
    return torch.where(found.isinf(), farthest, found)


def farthest(
    distances: Tensor, allowed: Tensor, generator: torch.Generator | None = None, jitter: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the place of the farthest allowed document of each query, and whether there is one.

    Args:
        distances: D [B, M].
        allowed: bool [B, M].
        generator: Random generator of the jitter.
        jitter: Standard deviation of the noise that is added to D.

    Returns:
        Places, int64 [B], 0 where there is none; bool [B].
    """
    query, place = allowed.nonzero(as_tuple=True)
    seen = distances[query, place]
    if jitter:
        seen = seen + jitter * torch.randn(seen.shape, generator=generator, device=seen.device, dtype=seen.dtype)
    scores = distances.new_full(distances.shape, -math.inf).index_put_((query, place), seen)
    best = scores.max(dim=1)
    return best.indices, ~best.values.isinf()


def bucket_push(anchors: Tensor, others: Tensor, mask: Tensor, radius: Tensor) -> Tensor:
    """Return <c^(j), c'^(j)> where it is at least w_j - 2 r, which is where c' is within r bits of block j, else 0.

    It falls as bits of the block part, down to the first code outside of the bucket.

    Args:
        anchors: c [B, m] in {-1, +1}.
        others: c' [B, m] in {-1, +1}.
        mask: Bits of the block j of each, [B, m], w_j of them.
        radius: r [B].

    Returns:
        Tensor [B].
    """
    products = (anchors * others * mask).sum(dim=1)
    return products * (products.detach() >= mask.sum(dim=1) - 2 * radius)


def pull(anchors: Tensor, others: Tensor, threshold: float) -> Tensor:
    """Return - <c, c'> where the codes differ in at least ``threshold`` bits, else 0; codes [B, m] in {-1, +1}."""
    products = (anchors * others).sum(dim=1)
    return -products * ((anchors.shape[1] - products.detach()) / 2 >= threshold)
