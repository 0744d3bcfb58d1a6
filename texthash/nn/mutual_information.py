"""Exact mutual information of documents and codes, for codes whose bits form a Markov chain.

A chain of order k over z in {0, 1}^m is a table of logits l [..., m, 2^k]: P(z_i = 1 | c) = sigma(l_{i, c}), where the
context c = sum_{t=1..k} z_{i-t} 2^{t-1} holds the k bits before z_i, the last one as its lowest digit, and bits before
the first are 0. Order 0 is independent bits. Everything is a sum over windows of bits, computed from left to right
(Stratos & Wiseman, 2020), in nats:

    I(Y; Z)  =  H(Z) - H(Z | Y)  <=  H(mean_y p(. | y), q) - H(Z | Y)     for any q, with equality at the mixture itself
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def lift(logits: Tensor, order: int) -> Tensor:
    """Return the same chain as one of a higher order: [..., m, 2^k] -> [..., m, 2^order]."""
    return logits.repeat(*[1] * (logits.dim() - 1), 2**order // logits.shape[-1])


def window_marginals(logits: Tensor) -> Tensor:
    """Return P(c, z_i) for each bit, the distribution of every window of k + 1 bits, by the forward recursion.

    Args:
        logits: Chains of order k, [B, m, 2^k].

    Returns:
        [B, m, 2^k, 2]; each window sums to 1.
    """
    batch, _, contexts = logits.shape
    probabilities = torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
    context = torch.zeros(batch, contexts, device=logits.device, dtype=logits.dtype)
    context[:, 0] = 1.0
    windows = []
    for conditional in probabilities.unbind(dim=1):
        window = context[:, :, None] * conditional
        windows.append(window)
        # The window's number is 2 c + z; the next context is the window without its oldest bit.
        context = window.reshape(batch, 2, contexts).sum(dim=1)
    return torch.stack(windows, dim=1)


def cross_entropy(windows: Tensor, logits: Tensor) -> Tensor:
    """Return H(p, q) = - sum_z p(z) log q(z) = - sum_i sum_{c, z_i} P(c, z_i) log q(z_i | c).

    It is linear in p: the windows of a mixture are the mean of those of its components.

    Args:
        windows: Windows of p, of the order k of q, [..., m, 2^k, 2].
        logits: Logits of q, [..., m, 2^k].

    Returns:
        Tensor [...]. With the logits of p itself it is the entropy H(p).
    """
    log_probabilities = torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=-1)
    return -(windows * log_probabilities).sum(dim=(-3, -2, -1))


def max_marginals(logits: Tensor) -> Tensor:
    """Return the log ratio of the most likely code with bit j on to that with it off.

    It is positive exactly for the bits of the most likely code (that of Viterbi's algorithm, if it is unique).

    a_j = max_{z: z_j = 1} log p(z)  -  max_{z: z_j = 0} log p(z)

    Args:
        logits: Chains of order k, [B, m, 2^k].

    Returns:
        Tensor [B, m]; for k = 0 the logits.
    """
    batch, bits, contexts = logits.shape
    log_probabilities = torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=-1)
    after = logits.new_zeros(bits + 1, batch, contexts)
    successor = (2 * torch.arange(contexts)[:, None] + torch.arange(2)) % contexts
    for i in reversed(range(bits)):
        after[i] = (log_probabilities[:, i] + after[i + 1][:, successor]).amax(dim=2)
    before = logits.new_full((batch, contexts), -torch.inf)
    before[:, 0] = 0.0
    margins = []
    for i in range(bits):
        window = before[:, :, None] + log_probabilities[:, i]
        best = (window + after[i + 1][:, successor]).amax(dim=1)
        margins.append(best[:, 1] - best[:, 0])
        before = window.reshape(batch, 2, contexts).amax(dim=1)
    return torch.stack(margins, dim=1)
