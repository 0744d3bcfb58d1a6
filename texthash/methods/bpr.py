"""BPR: a binary passage retriever, whose float questions rank the bits of the documents that their own bits find.

towers     e_q, e_d in R^m of a question and of a document: one bit a dimension (:mod:`texthash.methods.towers`)
relaxed    h~ = tanh(beta e),  beta = sqrt(1 + gamma t) at step t, so that it ends at the given value
candidate  L_c = mean over i and j of max(0, alpha - (<h~_qi, h~_di> - <h~_qi, h~_dj>)),  d_j not an answer of q_i
rerank     L_r = - (1/B) sum_i log [ exp s_ii / sum_j exp s_ij ],  s_ij = <e_qi, h~_dj> / (m tau)
loss       L_c + L_r
bits       1[e > 0]
search     candidates by the Hamming distance of the bits, ordered again by <e_q, h_d> of the float question and the
           bits of the document, in {-1, 1}: an index keeps no vectors (``rescore: asymmetric``)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, GradientStage, Optimizers, Printed, Progress, Role, Stage
from texthash.methods.towers import TwoTowers
from texthash.nn.passages import in_batch_hinge, in_batch_softmax
from texthash.nn.quantization import root_scale, scaled_tanh
from texthash.nn.spaces import LogUniform, Uniform


class BPR(TwoTowers):
    """Binary passage retriever."""

    card = Card(
        name="bpr",
        title="Efficient Passage Retrieval with Hashing for Open-domain Question Answering",
        venue="ACL'2021",
        survey_entry=10,
        tags=("SFR", "Quan(STanh)"),
        citation="Yamada, Asai & Hajishirzi, 2021, arXiv:2106.00882",
        inputs_needed=frozenset({"pairs"}),
        supervision="pairs",
        fidelity="code, other encoder",
        deviations=(
            "towers are linear maps of words or of the vectors of a frozen sentence encoder, not two BERTs that are "
            "trained; the code is as wide as asked for, not of 768 bits",
            "towers start from the iterative quantization of the documents and are trained as floats first",
            "vectors of the towers have the length sqrt(m), and the softmax a temperature",
            "gamma is chosen so that beta ends at a given value, whatever the number of steps; in the code it is 0.1",
            "the margin is the paper's 2, not the default of the code, 0.1",
            "a hard negative is drawn in each epoch from the 20 best by BM25; another known answer is no negative",
        ),
        serving_mode="hamming+rerank",
        paper=Printed(
            "the paper's appendices as quoted by BEIR (margin), and the authors' code (studio-ousia/bpr)",
            {"margin": 2.0, "learning_rate": 2e-5, "epochs": 40, "batch_size": 128},
        ),
    )
    search_space = {**TwoTowers.search_space, "margin": Uniform(0.5, 8.0), "final_scale": LogUniform(2.0, 50.0)}

    margin: float = Field(2.0, ge=0, description="Margin alpha of the candidate loss; 2 is one bit.")
    final_scale: float = Field(10.0, ge=1, description="Scale beta at the end of training.")

    def stages(self) -> Sequence[Stage]:
        return (*super().stages(), GradientStage("hash", self.optimizers, self.epochs, self.batch_size, self.step))

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate)}

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        questions, documents, answers = self.pairs(batch, progress)
        scale = root_scale(progress.fraction, self.final_scale)
        bits_of_questions, bits_of_documents = scaled_tanh(questions, scale), scaled_tanh(documents, scale)
        rerank = questions @ bits_of_documents.T / (self.bits * self.temperature)
        return {
            "candidate": in_batch_hinge(bits_of_questions @ bits_of_documents.T, answers, self.margin),
            "rerank": in_batch_softmax(rerank, answers),
        }

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.encoded(batch, role)
