"""Robustness: the code of a document should not change when a part of the document does.

Corruptions act on the word weights of sparse bags and keep all entries: a removed word has weight 0, so an encoder sees
the corrupted bag while a loss still has the words of the clean one (denoising; Vincent et al., 2008). With a batch of
documents: ``replace(batch, values=mask_words(batch.values, ...))``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mask_words(values: Tensor, keep: float | Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return x~ = x * M, M ~ Bern(k) for each entry, without rescaling.

    Args:
        values: Weights x [nnz].
        keep: Probability k, one for all or one per entry [nnz].
        generator: Random generator of M.
    """
    return values * (_uniform(values, generator) < keep)


def folded_normal_keep(values: Tensor, noise: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw probabilities of keeping words, k = min(1, |n|), n ~ N(0, (1 - sigma)^2), one per entry (He et al., 2023).

    The mean is (1 - sigma) sqrt(2 / pi) (1 - e^{-c}) + 2 Phi(-1 / (1 - sigma)), c = 1 / (2 (1 - sigma)^2): 0.32 at
    sigma = 0.6.

    Args:
        values: Weights of words [nnz]; only the shape matters.
        noise: Noise sigma in [0, 1).
        generator: Random generator of n.
    """
    draws = torch.randn(values.shape, generator=generator, device=values.device, dtype=values.dtype)
    return ((1 - noise) * draws).abs().clamp(max=1)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
