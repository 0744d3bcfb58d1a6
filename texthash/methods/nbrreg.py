"""NbrReg: a code explains the words of its document, and those of the document's neighbours.

encoder    t = ReLU MLP(x), V -> H -> H;  mu = t W_mu + b;  log s^2 = sigma(t W_s + b)             (as VDSH)
sample     z = mu + s * eps,  eps ~ N(0, I)
decoders   p(w | z) = softmax(z R^T + b)_w,   q(w | z) = softmax(z N^T + c)_w, of weights of their own
loss       - sum_{w in x} log p(w | z)  -  w_n sum_{w in U(x)} log q(w | z)  +  w_KL KL(N(mu, s^2) || N(0, I))
           U(x) = union of the words of the k nearest training documents, each word once
code       bit_j = 1[mu_j > median of mu_j over the training documents]

Without the second decoder it is VDSH. U(x) has far more words than x, so that at w_n = 1 the neighbours decide.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.neighbouring import NeighbourMethod, neighbours_of
from texthash.methods.vdsh import VDSH
from texthash.nn.bags import Words
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.neighbours import union_of_words
from texthash.nn.spaces import Choice, LogUniform


class NbrReg(NeighbourMethod, VDSH):
    """Generative hashing regularised by the words of neighbours."""

    card = Card(
        name="nbrreg",
        title="Deep Semantic Text Hashing with Weak Supervision",
        venue="SIGIR'2018",
        survey_entry=32,
        tags=("Rec", "Prior(G)", "Pse"),
        citation="Chaidaroon, Ebesu & Fang, 2018",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code",
        deviations=(
            "the decoders start at N(0, 0.1^2) with biases at the log frequencies of the words, not at torch's default",
            "batches of 256 documents at learning rate 6e-3 for 24 epochs, not of 100 at 1e-3 for 30",
            "w_KL reaches its end after half of training, not after 5,000 steps",
            "dropout 0.2, not 0.1; H = 500, not 1000",
            "sublinear tf-idf in the input, not BM25",
            "no encoder of the neighbours' words (the variant NbrReg+Doc), which would need the neighbours of queries",
        ),
        paper=Printed(
            "the authors' code (unsuthee/SemanticHashingWeakSupervision); of the paper the abstract was read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.1,
                "bounded_variance": True,
                "kl_weight": 1.0,
                "neighbours": 20,
                "neighbour_weight": 1.0,
                "graph": "cosine:bm25",
                "learning_rate": 1e-3,
                "epochs": 30,
                "batch_size": 100,
                "weighting": "bm25",
            },
        ),
    )
    search_space = {
        **VDSH.search_space,
        "neighbours": Choice(5, 10, 20, 50),
        "neighbour_weight": LogUniform(0.03, 3.0),
    }

    weighting = "sublinear_tfidf"
    epochs = 24
    neighbour_weight: float = Field(1.0, ge=0, description="Weight w_n of the words of the neighbours.")

    def make_layers(self) -> None:
        super().make_layers()
        self.neighbour_decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary, std=self.decoder_std)

    def start_decoder(self, train: Split) -> None:
        super().start_decoder(train)
        self.neighbour_decoder.start_at(torch.from_numpy(train.vocabulary.document_frequency))

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        z, kl = self.sample(batch, progress)
        words = self.word_likelihood(self.neighbour_decoder(z), self.neighbour_words(batch))
        return {**self.bound(z, kl, batch, progress), "neighbours": -self.neighbour_weight * words.mean()}

    def neighbour_words(self, batch: Batch) -> Words:
        """Return U(x) of each document of the batch."""
        near, similarities = neighbours_of(batch)
        owner, rank = (similarities > 0).nonzero(as_tuple=True)
        return union_of_words(self.bags(near[owner, rank]), owner, len(batch), self.shape.vocabulary)
