"""DSE: short texts extended by their concepts and by tags that fit these, hashed by an autoencoder of sigmoid layers.

concepts   c_s(k) = mean_t P(k | t) of the words t of a text s
tags       the words of the most peaked concepts among the frequent ones; c_g = mean of c_s over texts with tag g
graph      A_gh = Jaccard of the training documents with g and with h
score      a cos(c_s, c_g) + (1 - a) mean_{h in s} A_gh;   the best tags that are not in s extend it
x          [1 where a word occurs; w_c c_s / max c_s; w_t score of the chosen tags]
loss       cross entropy of x and x^, with noise: :mod:`texthash.methods.extended_text`
bits       1[sigma(f(x)) > 1/2]

The paper's hashtags and followers are not in the corpora here: words are the tags, documents the users. Labels never
enter x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card
from texthash.methods.extended_text import ExtendedTextMethod
from texthash.nn.projections import unit_rows
from texthash.nn.spaces import Uniform

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class DSE(ExtendedTextMethod):
    """Dual semantic extension and deep hashing."""

    card = Card(
        name="dse",
        title="Short text analysis based on dual semantic extension and deep hashing in microblog",
        venue="TIST'2019",
        survey_entry=29,
        tags=("Rec", "SFC", "Quan(Sigmoid)", "Robustness"),
        citation="Cui et al., 2019, doi:10.1145/3326166",
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract alone",
            "clusters of word vectors in place of the concepts of a knowledge base",
            "tags are frequent words of one topic, in place of hashtags, and share documents in place of users who "
            "follow each other",
            "no term of categories, which the survey's tag names: labels are what codes are measured by",
        ),
    )
    search_space = {
        **ExtendedTextMethod.search_space,
        "concept_share": Uniform(0.0, 1.0),
        "tag_weight": Uniform(0.0, 1.0),
    }
    tags: Tensor
    tag_concepts: Tensor
    correlation: Tensor

    tag_count: int = Field(500, ge=1, description="Number of tags.")
    tags_added: int = Field(5, ge=1, description="Number of tags that extend a text.")
    tag_weight: float = Field(0.5, ge=0, le=1, description="Weight of a tag that extends a text; 0 for none.")
    concept_share: float = Field(
        0.5, ge=0, le=1, description="Share a of concepts in the score of a tag; the rest is of shared documents."
    )

    @property
    def extra(self) -> int:
        return min(self.tag_count, self.shape.vocabulary)

    def make_layers(self) -> None:
        super().make_layers()
        tags = self.extra
        self.register_buffer("tags", torch.full((self.shape.vocabulary,), -1))
        self.register_buffer("tag_concepts", torch.zeros(tags, self.concept_count))
        self.register_buffer("correlation", torch.zeros(tags, tags))

    def tables(self, counts: csr_matrix, information: csr_matrix, train: Split) -> None:
        """Choose the tags, and learn their concepts and which of them share documents."""
        has = train.matrix("binary").astype(np.float64)
        table = np.zeros((self.shape.vocabulary, self.concept_count))
        index, weight = self.concepts.index.cpu().numpy(), self.concepts.weight.cpu().numpy()
        np.add.at(table, (np.arange(len(table))[:, None], index), weight)
        frequency = np.asarray(has.sum(axis=0)).ravel()
        frequent = np.argsort(-frequency, kind="stable")[: max(self.extra, len(frequency) // 4)]
        chosen = frequent[np.argsort(-table[frequent].max(axis=1), kind="stable")][: self.extra]
        sums = has @ table
        texts = sums / sums.sum(axis=1, keepdims=True).clip(min=1)
        carriers = has[:, chosen]
        both = (carriers.T @ carriers).toarray()
        either = frequency[chosen][:, None] + frequency[chosen] - both
        jaccard = both / either.clip(min=1)
        np.fill_diagonal(jaccard, 0.0)
        self.tags.fill_(-1)
        self.tags[torch.from_numpy(chosen)] = torch.arange(len(chosen), device=self.tags.device)
        self.correlation.copy_(torch.from_numpy(jaccard))
        means = (carriers.T @ texts) / frequency[chosen].clip(min=1)[:, None]
        self.tag_concepts.copy_(torch.from_numpy(np.asarray(means)))

    def scores(self, concepts: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the score of each tag for each text [B, tags], and whether the text has it."""
        own = torch.zeros(len(batch), self.extra + 1, device=self.tags.device)
        own[batch.document, self.tags[batch.indices]] = 1.0  # tag -1, the last, of words that are none
        own = own[:, :-1]
        # In double precision: which tags are best must not depend on the order of a sum.
        by_concepts = unit_rows(concepts.double()) @ unit_rows(self.tag_concepts.double()).T
        by_documents = own.double() @ self.correlation.double() / own.sum(dim=1, keepdim=True).clamp(min=1)
        scores = self.concept_share * by_concepts + (1 - self.concept_share) * by_documents
        return scores.float(), own

    def extended(self, words: Tensor, concepts: Tensor, batch: Batch) -> Tensor:
        scores, own = self.scores(concepts, batch)
        free = scores.masked_fill(own > 0, 0.0)
        best, where = free.topk(min(self.tags_added, self.extra), dim=1)
        added = torch.zeros_like(free).scatter(1, where, best)
        strength = concepts / concepts.amax(dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([words, self.concept_weight * strength, self.tag_weight * added.clamp(0, 1)], dim=1)
