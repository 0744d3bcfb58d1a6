"""RBSH: codes that explain their document's words, and keep the order of its neighbours.

encoder    p = sigma(g(x * i)), g: V -> H -> H -> m with ReLU and dropout, i in R^V the importance of words
code       z_j = 1[p_j > u_j], u ~ U(0, 1), straight-through gradient;  z~ = z + sigma eps, sigma falling by steps
decoder    p(w | z~) = softmax(z~ (i * (E U + u))^T + b)_w, E in R^{V x d} word vectors
triples    of each x two neighbours x1, x2 at two of the 10 ranks that divide its k nearest evenly
loss       - R(x | z~) - R(x1 | z~1) - R(x2 | z~2)  +  w_KL KL(Bern(p) || Bern(1/2))  +  r_t L_rank
           L_rank = mean of max(0, 1 - o (D_2 - D_1)) over triples with an order o = sign(s_1 - s_2)
                    + mean of |D_2 - D_1| over those without,   D_j = ||z - z_j||^2
bits       1[p > 1/2]

s are the similarities of the graph; those of ``hamming:sth-64`` are whole bits, so that many are equal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.neighbouring import neighbours_of
from texthash.methods.word_importance import WordImportanceMethod
from texthash.nn.priors import bernoulli_kl
from texthash.nn.ranking import triple_hinge
from texthash.nn.schedules import by_steps, linear_ramp
from texthash.nn.spaces import Choice, LogUniform

RANKS = 10


class RBSH(WordImportanceMethod):
    """Ranking-based semantic hashing."""

    card = Card(
        name="rbsh",
        title="Unsupervised Neural Generative Semantic Hashing",
        venue="SIGIR'2019",
        survey_entry=28,
        tags=("Rec", "Prior(B)", "Pse", "CB", "Quan(Sgn)", "Robustness"),
        citation="Hansen et al., 2019, arXiv:1906.00671",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code",
        deviations=(
            "neighbours by BM25; in the code, by the codes of Self-Taught Hashing (graph: hamming:sth-64)",
            "one of the 45 triples of a document at each step; an epoch of the code has all",
            "a triple of two documents that share no word with x is not ranked",
            "batches of 128 documents at learning rate 5e-3, not of 40 at 5e-4",
            "no noise, importance from 1, dropout 0.5 and KL 0.3: the settings of NASH here",
            "H = 500, not 1000; word vectors start Xavier-uniform, not in [-0.05, 0.05]",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=Printed(
            "the authors' code (casperhansen/RBSH); of the paper the abstract was read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.1,
                "lowest_importance": 0.1,
                "noise": 1.0,
                "noise_fall": 1e-6,
                "kl_weight": 0.04,
                "ranking": 0.5,
                "ranking_rise": 1 / 300_000,
                "graph": "hamming:sth-64",
                "neighbours": 200,
                "learning_rate": 5e-4,
                "batch_size": 40,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        **WordImportanceMethod.search_space,
        "neighbours": Choice(20, 50, 100, 200),
        "ranking": LogUniform(0.1, 30.0),
    }
    word_vectors = 300

    neighbours = 200
    ranking: float = Field(0.5, ge=0, description="Weight r of the order of neighbours at the first step.")
    ranking_rise: float = Field(1 / 300_000, ge=0, description="Amount by which r rises at every step, up to 30.")

    def triples(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor, Tensor]:
        """Draw two neighbours of each document, the nearer first.

        Returns:
            Train rows [B, 2], the order o [B] of their similarities, 0 or 1, and whether the triple counts, bool [B].
        """
        near, similarities = neighbours_of(batch)
        count = min(RANKS, self.neighbours)
        ranks = torch.from_numpy(np.linspace(0, self.neighbours - 1, count).astype(np.int64)).to(near.device)
        pairs = torch.combinations(ranks) if count > 1 else ranks.repeat(1, 2)
        drawn = torch.randint(0, len(pairs), (len(batch),), generator=progress.generator, device=near.device)
        two = similarities.gather(1, pairs[drawn])
        return near.gather(1, pairs[drawn]), torch.sign(two[:, 0] - two[:, 1]), two.sum(dim=1) > 0

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        rows, order, counts = self.triples(batch, progress)
        # A document and its neighbours take turns, so that one pass encodes all.
        bags = self.bags(torch.cat([batch.rows[:, None], rows], dim=1).flatten())
        logits = self.encode(bags)
        codes = self.draw_codes(logits, progress)
        words = self.word_likelihood(self.decoder(self.add_noise(codes, progress)), bags).unflatten(0, (-1, 3))
        kl_weight = linear_ramp(progress.fraction, 0.0, self.kl_weight, over=self.kl_ramp)
        ranking = by_steps(progress.step, self.ranking, max(30.0, self.ranking), self.ranking_rise)
        return {
            "reconstruction": -words[:, 0].mean(),
            "neighbours": -words[:, 1:].sum(dim=1).mean(),
            "kl": kl_weight * bernoulli_kl(logits[::3]).mean(),
            "ranking": ranking * self.order_term(codes, order, counts, progress),
        }

    def order_term(self, codes: Tensor, order: Tensor, counts: Tensor, progress: Progress) -> Tensor:
        """Return L_rank of codes [3 B, m], each kind of triples averaged over those of all workers."""
        own, one, other = codes.unflatten(0, (-1, 3)).unbind(dim=1)
        losses = triple_hinge(own, one, other, order)
        total = losses.new_zeros(())
        for kind in (counts & (order != 0), counts & (order == 0)):
            members = progress.workers.mean(kind.sum().float()).clamp(min=0.5 / progress.workers.size)
            total = total + (losses * kind).sum() / members
        return total
