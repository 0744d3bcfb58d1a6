"""MISH: pairwise reconstruction, with codes that a multi-index search finds quickly.

encoder    p = sigma(g(x)), g: V -> H -> H -> m with ReLU and dropout
code       c_j = 2 1[p_j > u_j] - 1, u ~ U(0, 1), straight-through gradient;  c~ = c + sigma eps, sigma falling by steps
decoder    p(w | c~) = softmax(c~ (i * E)^T + b)_w, i in R^V the importance of words
loss       - R(x | c~)  -  lambda R(x | c~')  +  w_KL KL(Bern(p) || Bern(1/2))  +  a_1 L_1  +  a_2 L_2   (R of PairRec)
memory     codes of up to 20,000 documents seen last; d the distance there of what is the 100-th nearest of all
L_1        false candidates: of a step s ~ U{0..d} of the search, r = s div J, j = s mod J, the farthest document with
           block j at distance r and beyond d:  <c^(j), c'^(j)>, where that is still in the bucket
L_2        costly neighbours: the farthest document within d and beyond 2 J - 1:  - <c, c'>, where that is still so
           c from the document and without gradient, c' from the other one, encoded again with its gradient
bits       1[p > 1/2]

The memory and what is looked up in it are in :mod:`texthash.nn.index_cost`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.pairrec import PairRec
from texthash.nn.index_cost import CodeMemory, block_masks, bucket_push, farthest, nearest_radius, pull
from texthash.nn.spaces import Choice, LogUniform

NEAREST = 100  # results of a search, whose distance is to be small


class MISH(PairRec):
    """Multi-index semantic hashing."""

    memory: CodeMemory
    training_only = frozenset({"memory"})
    card = Card(
        name="mish",
        title="Unsupervised Multi-Index Semantic Hashing",
        venue="WWW'2021",
        survey_entry=13,
        tags=("Rec", "Prior(B)", "Pse", "CB", "Quan(Sgn)", "Index"),
        citation="Hansen et al., 2021, arXiv:2103.14460",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code",
        deviations=(
            "neighbours by BM25 and of all documents; in the code, by the codes of Self-Taught Hashing and of those in "
            "the memory (graph: hamming:sth-64)",
            "the true neighbour that is encoded again is the one found; the code takes its place in the memory for it",
            "a document in the memory has its latest code; the code keeps older ones beside it",
            "batches of 128 documents at learning rate 5e-3, averaged, not sums of 40 at 1e-3",
            "no noise, importance from 1, dropout 0.5 and KL 0.3: the settings of NASH here",
            "H = 500, not 1000; E starts Xavier-uniform, not in [-1, 1]",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=Printed(
            "the authors' code (Varyn/MISH); of the paper the abstract was read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.2,
                "noise": 1.0,
                "noise_fall": 1e-6,
                "pair_weight": 1.0,
                "kl_weight": 0.0,
                "false_candidates": 1.0,
                "costly_neighbours": 0.0,
                "block": 16,
                "graph": "hamming:sth-64",
                "neighbours": 10,
                "learning_rate": 1e-3,
                "batch_size": 40,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        **PairRec.search_space,
        "false_candidates": LogUniform(0.3, 13.0),
        "costly_neighbours": Choice(0.0, 0.01, 0.05, 0.1, 0.2),
    }
    weighs_input = False

    neighbours = 10
    false_candidates: float = Field(1.0, ge=0, description="Weight a_1 of false candidates.")
    costly_neighbours: float = Field(0.0, ge=0, description="Weight a_2 of costly neighbours.")
    block: int = Field(16, ge=4, le=32, description="Bits of a block, at most; J = ceil(m / block).")

    def make_layers(self) -> None:
        super().make_layers()
        self.masks = block_masks(self.bits, -(-self.bits // self.block))

    def setup(self, train: Split) -> None:
        super().setup(train)
        self.memory = CodeMemory(len(train), self.bits).to(self.binarizer.thresholds.device)

    def draw_codes(self, logits: Tensor, progress: Progress) -> Tensor:
        """Return codes c [B, m] in {-1, +1}."""
        return 2 * super().draw_codes(logits, progress) - 1

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        logits = self.encode_pairs(batch, progress)
        terms = self.pair_terms(logits, batch, progress)
        if not (self.false_candidates or self.costly_neighbours):
            return terms
        codes = torch.where(logits[::2].detach() > 0, 1.0, -1.0)
        self.memory.write(progress.workers.gather(batch.rows), progress.workers.gather(codes))
        return {**terms, **self.index_terms(batch.rows, codes, progress)}

    def index_terms(self, rows: Tensor, codes: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the terms of codes c [B, m] of the training documents ``rows`` [B], which are in the memory."""
        remembered = self.memory.codes[: len(self.memory)].to(codes.dtype)
        masks = self.masks.to(codes.device)
        distances = (self.bits - codes @ remembered.T) / 2
        # Of a document itself nothing is learned. One whose place another of the batch has just taken has none.
        own = self.memory.place[rows]
        kept = own >= 0
        distances[kept, own[kept]] = torch.inf
        radius = nearest_radius(distances, max(1, NEAREST * len(self.memory) // len(self.memory.place)))
        u = torch.rand((len(rows),), generator=progress.generator, device=rows.device)
        step = torch.floor(u * (radius + 1)).long()
        reach, mask = step // len(masks), masks[step % len(masks)]
        in_block = (mask.sum(dim=1, keepdim=True) - (codes * mask) @ remembered.T) / 2
        beyond = (distances > radius[:, None]) & distances.isfinite()
        costly = 2 * len(masks) - 1
        picks = {
            "false_candidates": farthest(
                distances, beyond & (in_block == reach[:, None]), progress.generator, jitter=1.0
            )
        }
        if self.costly_neighbours:
            picks["costly_neighbours"] = farthest(distances, (distances <= radius[:, None]) & (distances > costly))
        places, found = (torch.stack(both, dim=1) for both in zip(*picks.values(), strict=True))
        others = torch.where(found, self.memory.rows[places], rows[:, None])
        again = self.draw_codes(self.encode(self.bags(others.flatten())), progress).unflatten(0, (-1, len(picks)))
        terms = {"false_candidates": self.false_candidates * bucket_push(codes, again[:, 0], mask, reach)}
        if self.costly_neighbours:
            terms["costly_neighbours"] = self.costly_neighbours * pull(codes, again[:, 1], costly)
        return {name: (term * found[:, at]).mean() for at, (name, term) in enumerate(terms.items())}
