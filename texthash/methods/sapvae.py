"""SAPVAE: one code of a document's words and of its sentence vector, aligned with both and with its neighbours.

views      a_t = f(x), x the weighted words, V -> H -> m;   a_e = g(e), e the standardised vector, D -> H -> m
fusion     p = sigma(a),  a = w a_t + (1 - w) a_e,  w = sigma(W [a_t; a_e] + b): a gate of each bit
code       z_j = 1[p_j > u_j], u ~ U(0, 1);  straight-through gradient dz/dp := 1
decoders   p(w | z) = softmax(z E + c)_w;   p(e | z) = N(e; z U + d, s^2 I)
loss       - sum_{w in x} log p(w | z)  +  w_e ||e - z U - d||^2 / (2 s^2)  +  w_KL KL(Bern(p) || Bern(1/2))
           + w_v [ KL(q_t || q) + KL(q_e || q) ]  +  w_n ||p - p_n||^2,   n one of the k nearest by e, drawn anew
bits       1[p > 1/2]

The paper could not be read: its abstract says that a variational autoencoder models several kinds of features from one
latent code, that inference promotes their alignment, and that related documents of a graph are aligned. All formulas
above are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, Progress, Role, Stage
from texthash.methods.generative import VariationalMethod
from texthash.methods.neighbouring import VectorNeighbourMethod
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.dense import DenseEncoder, GaussianDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.experts import ProductOfExperts
from texthash.nn.priors import bernoulli_divergence, bernoulli_kl
from texthash.nn.spaces import LogUniform


class SAPVAE(VectorNeighbourMethod, VariationalMethod):
    """Generative hashing of words and sentence vectors together."""

    card = Card(
        name="sapvae",
        title="Exploiting Multiple Features for Hash Codes Learning with Semantic-Alignment-Promoting Variational "
        "Auto-encoder",
        venue="NLPCC'2023",
        survey_entry=6,
        tags=("Rec", "Prior(B)", "Pse", "CB", "Quan(Sgn)"),
        citation="Chen & Su, 2023",
        inputs_needed=frozenset({"dense", "neighbours"}),
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract and the survey's tags, with what the same authors' SNUH and DHIM do",
            "another sentence encoder than BERT: the one of corpus.features",
            "the graph is of the nearest neighbours by the sentence vectors",
            "the decoder's bias starts at the log frequencies of the words",
        ),
    )
    search_space = {
        **VariationalMethod.search_space,
        "feature_weight": LogUniform(0.01, 3.0),
        "view_weight": LogUniform(0.01, 3.0),
        "neighbour_weight": LogUniform(0.1, 30.0),
    }

    layers = 1
    kl_weight = 0.1
    learning_rate = 1e-3
    batch_size = 128
    feature_weight: float = Field(1.0, ge=0, description="Weight w_e of the reconstruction of the vector.")
    feature_deviation: float = Field(1.0, gt=0, description="Standard deviation s of the vector given the code.")
    view_weight: float = Field(1.0, ge=0, description="Weight w_v of the alignment of the two views with the code.")
    neighbour_weight: float = Field(1.0, ge=0, description="Weight w_n of the alignment of neighbours.")

    def make_layers(self) -> None:
        super().make_layers()
        bits, dense = self.bits, self.shape.dense
        self.of_words = xavier_linear(self.hidden, bits)
        self.dense_encoder = DenseEncoder(dense, self.hidden, self.layers, dropout=self.dropout)
        self.of_vector = xavier_linear(self.hidden, bits)
        self.fusion = ProductOfExperts(bits)
        self.decoder = SoftmaxDecoder(bits, self.shape.vocabulary)
        self.dense_decoder = GaussianDecoder(bits, dense, self.feature_deviation)

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("standardisation", self.standardise), *super().stages())

    def standardise(self, train: Split) -> None:
        """Set mean and scale of the vectors."""
        self.dense_encoder.standardization.fit(train.dense(self.shape.encoder or ""))

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits a_t and a_e of the two views, [B, m] each."""
        assert batch.dense is not None
        return self.of_words(self.encoder(batch)), self.of_vector(self.dense_encoder(batch.dense))

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        words, dense = self.views(batch)
        logits = self.fusion(words, dense)
        p = torch.sigmoid(logits)
        z = straight_through_bernoulli(p, progress.generator)
        assert batch.dense is not None
        vector = self.dense_encoder.standardization(batch.dense)
        views = bernoulli_divergence(words, logits) + bernoulli_divergence(dense, logits)
        terms = {
            **self.bound(z, bernoulli_kl(logits), batch, progress),
            "features": self.feature_weight * self.dense_decoder.error(z, vector).mean(),
            "views": self.view_weight * views.mean(),
        }
        if self.neighbour_weight:
            near = torch.sigmoid(self.activations(self.drawn_neighbours(batch, progress)))
            terms["neighbours"] = self.neighbour_weight * (p - near).square().sum(dim=1).mean()
        return terms

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.fusion(*self.views(batch))
