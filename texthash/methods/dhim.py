"""DHIM: codes that share the most information with the word pieces and the sentence vector of their document.

input      vectors of word pieces x_i of a frozen sentence encoder, and its vector e of the document
pieces     h_i = [ReLU(conv_w(x))_i], windows w = 1, 3, 5;  H = mean_i h_i over the pieces of the document
codes      p_i = sigma(W h_i / a), P = sigma(W H / a), Q = sigma(W_e e / a);   b = 1[p > u], u ~ U(0, 1), db/dp := 1
scores     D_l(b_i, g) = (M_l g + m_l) . b_i  of a piece's code and a document's g;   D_x(q, g) = (M_x g + m_x) . q
loss       - ( I_{D_l}(pieces; g) + w I_{D_x}(sentence; g) ),  I the Jensen-Shannon estimate over the batch
bits       1[P > 1/2]

No decoder, no prior. The frozen vectors get no gradient: they are computed once and stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.token_method import TokenMethod
from texthash.nn.dense import Standardization
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.jensen_shannon import Bilinear, pairwise_information, token_information
from texthash.nn.spaces import LogUniform, Uniform
from texthash.nn.tokens import masked_mean


class DHIM(TokenMethod):
    """Mutual information of codes with word pieces and sentence vectors."""

    card = Card(
        name="dhim",
        title="Refining BERT embeddings for document hashing via mutual information maximization",
        venue="EMNLP'2021",
        survey_entry=11,
        tags=("MMI", "CB", "Quan(Sgn)"),
        citation="Ou et al., 2021, arXiv:2109.02867",
        inputs_needed=frozenset({"token_vectors", "dense"}),
        fidelity="code, other encoder",
        deviations=(
            "the sentence encoder of corpus.features, not BERT; its sentence vector has a layer of its own, where the "
            "code puts BERT's [CLS] through the layer of the pieces",
            "vectors of pieces are reduced to their 64 leading principal components",
            "scores are logits; the code squashes them by a sigmoid before the estimate (squashed=true)",
            "padding is masked in the mean and in the estimate, where the code counts it",
            "w is used; the code ignores its option",
            "the encoder is in evaluation mode; in the code its dropout stays on",
            "one setting for all widths; the authors tune temperature, w and batch size of each corpus and width",
        ),
        paper=Printed(
            "the authors' code (J-zin/DHIM), its command for NYT at 32 bits; other corpora and widths differ",
            {
                "filters": 256,
                "temperature": 0.3,
                "sentence_weight": 1.0,
                "squashed": True,
                "learning_rate": 1e-3,
                "batch_size": 32,
                "epochs": 100,
                "clip": 10.0,
            },
        ),
    )
    search_space = {
        **TokenMethod.search_space,
        "temperature": LogUniform(0.1, 1.0),
        "sentence_weight": Uniform(0.1, 1.0),
    }

    temperature: float = Field(0.3, gt=0, description="Temperature a of the codes.")
    sentence_weight: float = Field(1.0, ge=0, description="Weight w of the information about the sentence vector.")
    squashed: bool = Field(False, description="Squash the scores by a sigmoid before the estimate, as the code does.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.convolution.width, self.bits)
        self.standardization = Standardization(self.shape.dense)
        self.sentence = xavier_linear(self.shape.dense, self.bits)
        self.of_pieces, self.of_sentences = Bilinear(self.bits), Bilinear(self.bits)

    def set_projection(self, train: Split) -> None:
        super().set_projection(train)
        self.standardization.fit(train.dense(self.shape.encoder or ""))

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        features, mask = self.pieces(batch)
        assert batch.dense is not None
        generator = progress.generator
        local, whole, sentence = (
            straight_through_bernoulli(torch.sigmoid(logits / self.temperature), generator)
            for logits in (
                self.logits(features),
                self.logits(masked_mean(features, mask)),
                self.sentence(self.standardization(batch.dense)),
            )
        )
        everywhere, first = progress.workers.gather(whole), progress.workers.rank * len(batch)
        owner = torch.arange(len(batch), device=mask.device) + first
        pieces = token_information(self.scores(self.of_pieces, everywhere, local.flatten(0, 1)), mask, first)
        sentences = pairwise_information(self.scores(self.of_sentences, everywhere, sentence), owner)
        return {"pieces": -pieces.mean(), "sentences": -self.sentence_weight * sentences.mean()}

    def scores(self, discriminator: Bilinear, codes: Tensor, others: Tensor) -> Tensor:
        """Return D of all pairs of codes [N, m] and others [C, m], [N, C]."""
        scores: Tensor = discriminator(codes, others)
        return torch.sigmoid(scores) if self.squashed else scores

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The threshold of the logit is zero, which is P = 1/2 at any temperature.
        features, mask = self.pieces(batch)
        return self.logits(masked_mean(features, mask))
