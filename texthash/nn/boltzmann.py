"""Restricted Boltzmann machines, trained by contrastive divergence of one step (CD-1; Hinton, 2002).

    p(v, h) ~ exp(-E),  free energy F(v) = -log sum_h exp(-E(v, h))
    CD-1       dF(v)/dtheta - dF(v')/dtheta,  v -> h ~ p(h | v) -> v' ~ p(v | h)

A machine's :meth:`contrastive_loss` is mean F(v) - F(v') with v' held fixed: its gradient is that of CD-1, and its
value is not a likelihood. Machines are stacked greedily, each on the hidden probabilities of the one below (Hinton &
Salakhutdinov, 2006), and are used afterwards as plain layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.nn.bags import Bag, Words
from texthash.nn.encoders import SparseLinear


@dataclass(frozen=True)
class CountedWords(Words):
    """Bags of words with counts; ``lengths`` [B] are sums of ``values``."""

    lengths: Tensor


def frequent_words(bag: Bag, places: Tensor, counts: Tensor) -> CountedWords:
    """Return the bag restricted to a selection of words, with the ids of the selection.

    Args:
        bag: Documents over V words.
        places: Id of each word in the selection, or -1, int64 [V].
        counts: Number of occurrences of each word of the bag, [nnz].
    """
    kept = places[bag.indices] >= 0
    document = bag.document[kept]
    per_document = torch.bincount(document, minlength=len(bag.offsets))
    values = counts[kept]
    lengths = values.new_zeros(len(bag.offsets)).index_add_(0, document, values)
    return CountedWords(places[bag.indices[kept]], per_document.cumsum(0) - per_document, values, document, lengths)


class CountRBM(nn.Module):
    """Word counts v in N^V below, h in {0, 1}^H above; D = sum_w v_w, the length of the document.

    p(h_j = 1 | v) = sigma(D b_j + sum_w v_w W_wj)                          (replicated softmax)
    p(h_j = 1 | v) = sigma(  b_j + sum_w v_w W_wj)                          (constrained Poisson)
    v | h          D words from softmax_w(a_w + sum_j W_wj h_j)
    F(v)         = - sum_w a_w v_w - sum_j log(1 + exp(hidden input_j))

    Rates D softmax of the constrained Poisson are those of the D words: Poisson counts of a given sum are multinomial.
    (Salakhutdinov & Hinton, 2009, for both.)

    Args:
        words: Number V of words.
        hidden: Number H of hidden units.
        replicated: Scale the hidden biases by D.
        std: Standard deviation of the initial W.
    """

    def __init__(self, words: int, hidden: int, replicated: bool = True, std: float = 0.01) -> None:
        super().__init__()
        self.up = SparseLinear(words, hidden)
        nn.init.normal_(self.up.weight, std=std)
        self.visible_bias = nn.Parameter(torch.zeros(words))
        self.replicated = replicated

    def hidden_input(self, v: CountedWords) -> Tensor:
        """Return the logits of h, [B, H]."""
        bias = self.up.bias
        return self.up(v) + (v.lengths[:, None] - 1) * bias if self.replicated else self.up(v)

    def word_logits(self, h: Tensor) -> Tensor:
        """Return the logits of the words [B, V] from h [B, H]."""
        return torch.addmm(self.visible_bias, h, self.up.weight.T)

    def free_energy(self, v: CountedWords) -> Tensor:
        """Return the free energy F, [B]."""
        visible = v.lengths.new_zeros(len(v.lengths)).index_add_(0, v.document, v.values * self.visible_bias[v.indices])
        return -visible - F.softplus(self.hidden_input(v)).sum(dim=1)

    @torch.no_grad()
    def reconstruct(self, v: CountedWords, generator: torch.Generator | None = None) -> CountedWords:
        """Return v' with the lengths of v: h ~ p(h | v), then D words from p(. | h)."""
        h = _coin(torch.sigmoid(self.hidden_input(v)), generator)
        rates = torch.softmax(self.word_logits(h), dim=1)
        cumulative = rates.double().cumsum(dim=1)
        document = torch.repeat_interleave(torch.arange(len(h), device=h.device), v.lengths.long())
        u = torch.rand(len(document), generator=generator, device=h.device, dtype=torch.float64)
        # One search serves all documents, since their concatenated distribution functions rise from 0 to B.
        total = cumulative / cumulative[:, -1:] + torch.arange(len(h), device=h.device)[:, None]
        drawn = torch.searchsorted(total.flatten(), document + u, right=True)
        drawn = (drawn - document * rates.shape[1]).clamp(0, rates.shape[1] - 1)
        per_document = v.lengths.long()
        values = torch.ones(len(drawn), device=h.device)
        return CountedWords(drawn, per_document.cumsum(0) - per_document, values, document, v.lengths)

    def contrastive_loss(self, v: CountedWords, generator: torch.Generator | None = None) -> Tensor:
        """Return mean F(v) - F(v'), a scalar with the gradient of CD-1."""
        return (self.free_energy(v) - self.free_energy(self.reconstruct(v, generator))).mean()


class RBM(nn.Module):
    """Machine with binary visible units, v in [0, 1]^A, and binary or unit-variance Gaussian hidden ones, h in R^H.

    p(h_j = 1 | v) = sigma(b_j + sum_i v_i W_ij)   or   h | v ~ N(b + v W, I)
    p(v_i = 1 | h) = sigma(a_i + sum_j W_ij h_j)
    F(v) = - a . v - sum_j log(1 + exp(b_j + v W_j))   or   - a . v - ||b + v W||^2 / 2

    Args:
        visible: Number A of visible units.
        hidden: Number H of hidden units.
        gaussian: Use Gaussian hidden units.
        std: Standard deviation of the initial W.
    """

    def __init__(self, visible: int, hidden: int, gaussian: bool = False, std: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(visible, hidden).normal_(std=std))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.gaussian = gaussian

    def hidden_input(self, v: Tensor) -> Tensor:
        """Return the logits, or means, of h: [B, A] to [B, H]."""
        return torch.addmm(self.hidden_bias, v, self.weight)

    def visible_input(self, h: Tensor) -> Tensor:
        """Return the logits of v: [B, H] to [B, A]."""
        return torch.addmm(self.visible_bias, h, self.weight.T)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return the free energy F, [B]."""
        inputs = self.hidden_input(v)
        hidden = inputs.square() / 2 if self.gaussian else F.softplus(inputs)
        return -(v @ self.visible_bias) - hidden.sum(dim=1)

    @torch.no_grad()
    def reconstruct(self, v: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the probabilities of v' given a sample of h, [B, A]."""
        inputs = self.hidden_input(v)
        if self.gaussian:
            h = inputs + torch.randn(inputs.shape, generator=generator, device=v.device, dtype=v.dtype)
        else:
            h = _coin(torch.sigmoid(inputs), generator)
        return torch.sigmoid(self.visible_input(h))

    def contrastive_loss(self, v: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return mean F(v) - F(v'), a scalar with the gradient of CD-1."""
        return (self.free_energy(v) - self.free_energy(self.reconstruct(v, generator))).mean()


def _coin(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.bernoulli(probabilities, generator=generator)
