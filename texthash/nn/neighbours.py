"""Neighbours of the documents of a batch: drawing one by rank, weight or agreement, and the union of their words.

Two rules hold for every function. A neighbour of similarity 0 shares nothing with its document and counts as none. An
isolated document, which has no neighbour then, is its own: a pair term becomes the document's own term, and the union
of the words of its neighbours is empty.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from texthash.nn.bags import Bag, Words


def neighbour_probabilities(similarities: Tensor, temperature: float | None = None) -> Tensor:
    """Return the probability of each neighbour to be drawn.

    By rank, p_r = 1/n for the n neighbours of the list (NbrReg, PairRec; Hansen et al., 2020); by weight,
    p_r = exp(s_r / alpha) / sum_r' exp(s_r' / alpha) (SNUH; Ou et al., 2021).

    Args:
        similarities: s [B, k], at least 0; 0 where there is no neighbour.
        temperature: alpha > 0; None draws by rank.

    Returns:
        Tensor [B, k]; each row sums to 1, that of an isolated document to 0.
    """
    there = similarities > 0
    if temperature is None:
        return there / there.sum(dim=1, keepdim=True).clamp(min=1)
    scores = (similarities / temperature).masked_fill(~there, -math.inf)
    return torch.softmax(scores, dim=1).nan_to_num(nan=0.0)


def agreeing_probabilities(
    similarities: Tensor, own: Tensor, near: Tensor, sharpness: float, rank_power: float = 0.0
) -> Tensor:
    """Return the probability of each neighbour to be drawn, the higher the more its code agrees with the document's.

    p_r = r^-gamma exp(beta c . c_r / m) / Z, r = 1, 2, ... the rank of the neighbour in the list.

    Args:
        similarities: s [B, k], at least 0; 0 where there is no neighbour.
        own: Codes c of the documents [B, m], -1 and 1, or 0 where they are not known yet.
        near: Codes c_r of their neighbours [B, k, m], likewise.
        sharpness: beta; with 0 codes do not matter.
        rank_power: gamma; with 0 ranks do not matter.

    Returns:
        Tensor [B, k]; each row sums to 1, that of an isolated document to 0.
    """
    agreement = torch.einsum("bm,bkm->bk", own, near) / own.shape[1]
    ranks = torch.arange(1, near.shape[1] + 1, device=near.device)
    scores = (sharpness * agreement - rank_power * ranks.log()).masked_fill(similarities <= 0, -math.inf)
    return torch.softmax(scores, dim=1).nan_to_num(nan=0.0)


def draw_neighbours(
    rows: Tensor, near: Tensor, probabilities: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw one neighbour of each document.

    Args:
        rows: Train row of each document, int64 [B].
        near: Train rows of its neighbours, int64 [B, k].
        probabilities: Probabilities of the neighbours [B, k], from :func:`neighbour_probabilities`.
        generator: Random generator.

    Returns:
        Train rows, int64 [B]; the document's own where all probabilities are 0.
    """
    reached = probabilities.cumsum(dim=1)
    total = reached[:, -1:]
    target = total * torch.rand((len(rows), 1), generator=generator, device=rows.device, dtype=reached.dtype)
    # The first place above the target, and never one behind the last neighbour of a positive probability.
    place = ((reached <= target) & (reached < total)).sum(dim=1, keepdim=True)
    return torch.where(total[:, 0] > 0, near.gather(1, place)[:, 0], rows)


def union_of_words(bag: Bag, owner: Tensor, owners: int, words: int) -> Words:
    """Return the union of the words of the bags of each owner: U(d) = union over n in N(d) of {w : x_nw > 0}.

    Source: Chaidaroon, Ebesu & Fang, 2018.

    Args:
        bag: Bags of D documents, the neighbours.
        owner: Owner of each of them, 0..owners-1, int64 [D].
        owners: Number B of owners.
        words: Size V of the vocabulary.

    Returns:
        B bags; ``values`` are the numbers of an owner's bags that have the word.
    """
    counts = torch.bincount(owner[bag.document] * words + bag.indices, minlength=owners * words)
    present = counts.nonzero()[:, 0]
    document = present // words
    sizes = torch.bincount(document, minlength=owners)
    offsets = sizes.cumsum(dim=0) - sizes
    return Words(present - document * words, offsets, counts[present].to(bag.values.dtype), document)
