"""SSE: short texts with the concepts of their words and the words that go with them, hashed by a deep autoencoder.

words      1 where a word occurs; else w_w min(1, sum_t P(w | t)), P of the words of highest PPMI with t
concepts   w_c g_c / max g,  g_c = mean_t P(c | t), of the C best of a text
code       three sigmoid layers, learned one by one and then together: :mod:`texthash.methods.extended_text`
bits       1[sigma(f(x)) > 1/2]

Two texts without a common word are near where their words share concepts or company.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card
from texthash.methods.extended_text import ExtendedTextMethod
from texthash.nn.enrichment import Enrichment, cooccurrence_table
from texthash.nn.spaces import Uniform

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class SSE(ExtendedTextMethod):
    """Semantic enrichment and hashing of short texts."""

    card = Card(
        name="sse",
        title="Understanding short texts through semantic enrichment and hashing",
        venue="TKDE'2015",
        survey_entry=35,
        tags=("Rec", "SFC", "Robustness"),
        citation="Yu, Wang, Lin & Wang, 2015",
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract, and from that of the authors' earlier paper",
            "clusters of word vectors in place of the concepts of Probase, and co-occurrence in the training documents "
            "in place of its statistics",
            "no fine-tuning by categories, which the survey's tag may mean: the abstract claims none",
            "words that go with a text are not filtered by its concepts",
        ),
    )
    search_space = {**ExtendedTextMethod.search_space, "company_weight": Uniform(0.0, 1.0)}

    company_weight: float = Field(
        0.5, ge=0, le=1, description="Weight of a word that goes with those of a text; 0 for none."
    )
    company: int = Field(10, ge=1, description="Number of words that go with each.")
    concepts_kept: int = Field(10, ge=1, description="Number C of concepts that a text keeps.")

    extra = 0

    def make_layers(self) -> None:
        super().make_layers()
        self.words_beside = Enrichment(self.shape.vocabulary, self.company, self.shape.vocabulary)

    def tables(self, counts: csr_matrix, information: csr_matrix, train: Split) -> None:
        self.words_beside.set(cooccurrence_table(counts, information, self.company))

    def extended(self, words: Tensor, concepts: Tensor, batch: Batch) -> Tensor:
        read = torch.argsort(torch.where(self.places < 0, len(self.places), self.places), stable=True)[: self.read]
        beside = self.words_beside(batch).clamp(max=1)[:, read]
        least = concepts.topk(min(self.concepts_kept, concepts.shape[1]), dim=1).values[:, -1:]
        kept = torch.where(concepts >= least, concepts, 0.0)
        kept = kept / kept.amax(dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([torch.maximum(words, self.company_weight * beside), self.concept_weight * kept], dim=1)
