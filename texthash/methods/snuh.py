"""SNUH: codes of neighbours are correlated, by a Gaussian prior and posterior over the trees of a neighbour graph.

encoder    mu = sigma((x A + a) / T),  s = softplus(x S + b): one linear map;  z = mu + s * eps,  eps ~ N(0, I)
edges      g_ij = tanh(f_ij / 2),  f_ij = (x_i + x_j) C + c, symmetric in i and j
decoder    p(w | z) = softmax(z E + d)_w
prior      all codes of a bit ~ N(0, I + tau A), A the edges of a spanning tree; the posterior has g_ij in place of tau
loss       - sum_{w in x_i} log p(w | z_i)  +  beta [ KL(N(mu_i, s_i^2) || N(0, I))  +  1/2 W_i KL_edge(i, j) ]
           over M random spanning trees, w_ij the share of them with edge (i, j), j ~ w_ij, W_i = sum_j w_ij
bits       1[mu > 1/2]

Trees are of the graph of the k nearest neighbours, with p_ij = softmax_j(similarity_ij / alpha) on its edges.
KL_edge is in :mod:`texthash.nn.trees`. With tau near 1 it draws the codes of neighbours together.

The linear encoder has no dropout and learns the training documents by heart. On 20 Newsgroups (random60, 32 bits, 1,500
validation queries, learning rate 1e-2) P@100 at the published beta = T = 0.1 is .508 after 4 epochs and .436 after 16,
while the reconstruction still falls. A larger beta and a softer sigmoid put that off: .575 at beta 0.4, T 0.5 and 5e-3
after 12 epochs, .568 after 16. At beta 0.8 the divergence of single documents from N(0, I) outweighs: .535 after 20.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import WeighsWords
from texthash.methods.neighbouring import NeighbourMethod
from texthash.nn.bags import Bag
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import SparseLinear
from texthash.nn.neighbours import neighbour_probabilities
from texthash.nn.priors import gaussian_kl
from texthash.nn.spaces import Choice, IntUniform, LogUniform
from texthash.nn.trees import edge_kl, spanning_trees


class SNUH(NeighbourMethod, WeighsWords):
    """Generative hashing with codes that are correlated along spanning trees of a neighbour graph."""

    card = Card(
        name="snuh",
        title="Integrating Semantics and Neighborhood Information with Graph-Driven Generative Models for Document "
        "Retrieval",
        venue="ACL/IJCNLP'2021",
        survey_entry=12,
        tags=("Rec", "Prior(GA)", "Quan(Sigmoid)"),
        citation="Ou et al., 2021, arXiv:2105.13066",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code",
        deviations=(
            "the trees span the graph, as the paper says; those of the code are stars that leave most documents alone",
            "log(1 - g^2) in the divergence of an edge; the code has log(1 - g)",
            "KL of a node with its factor 1/2, which the code leaves to beta",
            "an edge of each document of the batch, drawn by its share of the trees; the code takes edges in order",
            "neighbours by BM25, not by tf-idf; sublinear tf-idf in the input",
            "learning rate 5e-3 for 16 epochs, not 1e-3 for 100 with early stopping; no clipping",
            "one setting for all widths and corpora, found on 20 Newsgroups at 32 bits: beta 0.4, T 0.5, not 0.1 and "
            "0.1, at which the linear encoder overfits from the fifth epoch on",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=Printed(
            "the authors' commands (J-zin/SNUH) for 20 Newsgroups at 32 bits; other corpora and widths differ",
            {
                "neighbours": 10,
                "graph": "cosine:tfidf",
                "trees": 20,
                "temperature": 0.1,
                "edge_temperature": 0.1,
                "prior_correlation": 0.99,
                "kl_weight": 0.1,
                "learning_rate": 1e-3,
                "epochs": 100,
                "batch_size": 128,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        "learning_rate": LogUniform(5e-4, 2e-2),
        "batch_size": Choice(64, 128, 256),
        "neighbours": Choice(5, 7, 10, 15, 20),
        "trees": IntUniform(5, 20),
        "temperature": LogUniform(0.05, 1.0),
        "edge_temperature": LogUniform(0.05, 1.0),
        "kl_weight": LogUniform(0.01, 1.0),
    }

    neighbours = 10
    weighting = "sublinear_tfidf"
    learning_rate = 5e-3
    epochs = 16
    batch_size = 128
    kl_weight: float = Field(0.4, ge=0, description="Weight beta of the divergence.")
    temperature: float = Field(0.5, gt=0, description="Temperature T of the sigmoid of mu.")
    trees: int = Field(20, ge=1, description="Number M of spanning trees.")
    edge_temperature: float = Field(0.1, gt=0, description="Temperature alpha at which trees prefer similar documents.")
    prior_correlation: float = Field(0.99, ge=0, lt=1, description="Correlation tau of neighbours in the prior.")

    def make_layers(self) -> None:
        super().make_layers()
        self.encoder = SparseLinear(self.shape.vocabulary, 2 * self.bits)
        self.edge = SparseLinear(self.shape.vocabulary, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)

    def setup(self, train: Split) -> None:
        """Grow the trees, which are the same in every process."""
        super().setup(train)
        near, similarities = train.neighbours(self.inputs.neighbours, self.inputs.graph)
        probabilities = neighbour_probabilities(torch.from_numpy(similarities.copy()), self.edge_temperature)
        self.tree_edges = spanning_trees(near, probabilities.numpy(), self.trees)

    def posterior(self, bag: Bag) -> tuple[Tensor, Tensor]:
        """Return mu and s of each document, [B, m] each."""
        logits, spread = self.encoder(bag).chunk(2, dim=1)
        return torch.sigmoid(logits / self.temperature), F.softplus(spread)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        others, weights = self.tree_edges.draw(batch.rows, progress.generator)
        # A document and the other end of its edge take turns, so that one pass encodes both.
        bags = self.bags(torch.stack([batch.rows, others], dim=1).flatten())
        means, stds = (both.unflatten(0, (-1, 2)).unbind(dim=1) for both in self.posterior(bags))
        correlation = self.edge(bags).unflatten(0, (-1, 2)).sum(dim=1)
        mean, std = means[0], stds[0]
        z = mean + std * torch.randn(mean.shape, generator=progress.generator, device=mean.device, dtype=mean.dtype)
        edges = 0.5 * weights * edge_kl((mean, means[1]), (std, stds[1]), correlation, self.prior_correlation)
        return {
            "reconstruction": -self.word_likelihood(self.decoder(z), batch).mean(),
            "kl": self.kl_weight * gaussian_kl(mean, 2 * std.log()).mean(),
            "edges": self.kl_weight * edges.mean(),
        }

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The threshold of the logit is zero, which is mu = 1/2.
        return self.encoder(batch)[:, : self.bits]
