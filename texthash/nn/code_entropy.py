"""Entropy of the codes of all documents: a bound by few earlier bits for each bit, without samples and a prior.

The bits of one document are independent, z_j ~ Bern(p_bj), and the code of a document that is drawn at random is the
mixture q(z) = mean_b prod_j p_bj^z_j (1 - p_bj)^(1 - z_j). By the chain rule, and since leaving out a condition never
lowers an entropy,

    H(z)  =  sum_j H(z_j | z_1 ... z_{j-1})  <=  sum_j H(z_j | z_S(j)),   S(j) a set of at most r bits before j

Every term is exact: a sum over 2^(r+1) values of the mixture's marginal. As in a dependency tree (Chow & Liu, 1968,
for r = 1), S(j) are the bits that tell most about z_j, here those of the largest correlation, so that the bound is
close and a bit that repeats an earlier one adds nothing to it. AMMI bounds the same entropy by a Markov chain whose
parameters an adversary learns (:mod:`texthash.nn.mutual_information`).

Conditions are earlier bits alone: the first m' terms are the bound of the code that is cut after m' bits.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def closest_earlier_bits(probabilities: Tensor, count: int) -> Tensor:
    """Return the earlier bits S(j) of the largest absolute correlation with each bit over the documents.

    Args:
        probabilities: p [n, m].
        count: Number r of bits, at most m.

    Returns:
        int64 [m, r]; m stands for none, where fewer are before it or no other correlates.
    """
    bits = probabilities.shape[1]
    centred = probabilities - probabilities.mean(dim=0)
    covariance = centred.T @ centred
    scale = covariance.diagonal().sqrt().clamp(min=torch.finfo(covariance.dtype).tiny)
    best = (covariance / scale / scale[:, None]).abs().tril(diagonal=-1).topk(count, dim=1)
    return torch.where(best.values > 0, best.indices, bits)


def nested_blocks(bits: int) -> Tensor:
    """Return the block of each bit, int64 [m]: 0 for the first 16 bits, 1 for those up to 32, 2 up to 64, and so on."""
    widths = [16 * 2**n for n in range(bits.bit_length()) if 16 * 2**n < bits]
    return torch.bucketize(torch.arange(bits), torch.tensor(widths, dtype=torch.int64), right=True)


def entropy_bound(probabilities: Tensor, given: Tensor, blocks: Tensor | None = None) -> Tensor:
    """Return sum_j H(z_j | z_S(j)) of the mixture, in nats; for S(j) of all earlier bits it is H(z).

    Args:
        probabilities: p [n, m]; n documents of all workers.
        given: S [m, r], from :func:`closest_earlier_bits`.
        blocks: Block of each bit, ascending, int64 [m]; a term has no gradient for conditions in an earlier block, so
            that the codes that end with it are learned as if nothing followed. None: gradients for all conditions.

    Returns:
        Scalar.
    """
    documents, bits = probabilities.shape
    # The bit with number m, which stands for none, is off in all documents.
    condition = torch.cat([probabilities, probabilities.new_zeros(documents, 1)], dim=1)
    if blocks is not None:
        earlier = torch.cat([blocks, blocks[-1:]])[given] < blocks[:, None]
    values = probabilities.new_ones(documents, bits, 1)
    for place, bit in enumerate(given.unbind(dim=1)):
        on = condition[:, bit]
        if blocks is not None:
            on = torch.where(earlier[:, place], on.detach(), on)
        on = on.unsqueeze(2)
        values = torch.cat([values * (1 - on), values * on], dim=2)
    context = values.mean(dim=0)
    on = (values * probabilities.unsqueeze(2)).mean(dim=0)
    both = torch.stack([context - on, on]).clamp(min=torch.finfo(on.dtype).tiny)
    return -(both * (both.log() - both.sum(dim=0).log())).sum()
