"""PairRec: the words of a document are predicted from its own code, and from the code of a neighbour.

encoder    p = sigma(g(x * i)), g: V -> H -> H -> m with ReLU and dropout, i in R^V the importance of words
code       z_j = 1[p_j > u_j], u ~ U(0, 1), straight-through gradient;  z~ = z + sigma eps, sigma falling by steps
decoder    p(w | z~) = softmax(z~ (i * E)^T + b)_w
loss       - R(x | z~)  -  lambda R(x | z~')  +  w_KL KL(Bern(p) || Bern(1/2)),   R(x | c) = sum_{w in x} log p(w | c)
           z~' the code of one of the k nearest training documents x', drawn anew at every step
bits       1[p > 1/2]

The words are those of x in both terms: the neighbour's code has to explain them. With lambda = 0, sigma = 0 and i = 1
it is NASH.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.word_importance import WordImportanceMethod
from texthash.nn.priors import bernoulli_kl
from texthash.nn.spaces import Choice, LogUniform


class PairRec(WordImportanceMethod):
    """Generative hashing with pairwise reconstruction."""

    card = Card(
        name="pairrec",
        title="Unsupervised Semantic Hashing with Pairwise Reconstruction",
        venue="SIGIR'2020",
        survey_entry=23,
        tags=("Rec", "Prior(B)", "Pse", "CB", "Quan(Sgn)", "Robustness"),
        citation="Hansen et al., 2020, arXiv:2007.00380",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code",
        deviations=(
            "neighbours by BM25; in the code, by the codes of Self-Taught Hashing (graph: hamming:sth-64)",
            "a neighbour is drawn for each document at each step; an epoch of the code has all pairs",
            "batches of 128 documents at learning rate 5e-3, averaged, not sums of 40 at 1e-3",
            "no noise, importance from 1, dropout 0.5 and KL 0.3: the settings of NASH here",
            "words of negative importance stay in the loss; the code drops them from it",
            "H = 500, not 1000; E starts Xavier-uniform, not in [-1, 1]",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=Printed(
            "the authors' code (casperhansen/PairRec); of the paper the abstract was read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.2,
                "noise": 1.0,
                "noise_fall": 1e-6,
                "pair_weight": 1.0,
                "kl_weight": 0.0,
                "graph": "hamming:sth-64",
                "neighbours": 25,
                "learning_rate": 1e-3,
                "batch_size": 40,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        **WordImportanceMethod.search_space,
        "neighbours": Choice(5, 10, 20, 25, 50),
        "pair_weight": LogUniform(0.1, 5.0),
    }

    pair_weight: float = Field(1.0, ge=0, description="Weight lambda of the words given the neighbour's code.")

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return self.pair_terms(self.encode_pairs(batch, progress), batch, progress)

    def encode_pairs(self, batch: Batch, progress: Progress) -> Tensor:
        """Return the logits of each document and of a neighbour that is drawn, which take turns, [2 B, m]."""
        rows = torch.stack([batch.rows, self.draw(batch, progress)], dim=1)
        return self.encode(self.bags(rows.flatten()))  # one pass for both

    def pair_terms(self, logits: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the terms of the loss for the logits of :meth:`encode_pairs`."""
        codes = self.add_noise(self.draw_codes(logits, progress), progress)
        own, other = codes.unflatten(0, (-1, 2)).unbind(dim=1)
        pair = self.word_likelihood(self.decoder(other), batch)
        kl = bernoulli_kl(logits[::2])
        return {**self.bound(own, kl, batch, progress), "pair": -self.pair_weight * pair.mean()}
