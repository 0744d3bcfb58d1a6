"""node2hash: a code explains the words of its document, and the documents that a walk from it visits.

encoder    t = ReLU MLP(x), V -> H -> H;  mu = t W_mu + b;  log s^2 = sigma(t W_s + b)             (as VDSH)
sample     z = mu + s * eps,  eps ~ N(0, I)
decoders   p(w | z) = softmax(z R^T + b)_w;   q(n | z) = softmax(z G^T + c)_n over the training documents
loss       - sum_{w in x} a_w log p(w | z)  -  e sum_{n in walk(x)} log q(n | z)  +  w_KL KL(N(mu, s^2) || N(0, I))
           a_w = x_w, the weights of the input (``weighted``), or 1;  walk(x) breadth-first over 20 documents, with x
code       bit_j = 1[mu_j > median of mu_j over the training documents]

Links are those of the nearest neighbours; the decoder of documents is not part of the model, and new documents need no
links. With e = 0 it is VDSH.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.neighbouring import NeighbourMethod
from texthash.methods.vdsh import VDSH
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import Choice, LogUniform
from texthash.nn.walks import NodeDecoder, Walk, walks


class Node2Hash(NeighbourMethod, VDSH):
    """Generative hashing with a decoder of linked documents."""

    node_decoder: NodeDecoder
    training_only = frozenset({"node_decoder"})
    card = Card(
        name="node2hash",
        title="node2hash: Graph Aware Deep Semantic Text Hashing",
        venue="Inf.Process.Manag.'2020",
        survey_entry=22,
        tags=("Rec", "Prior(G)", "Pse", "Drop"),
        citation="Chaidaroon et al., 2020",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="code, loss re-weighted",
        deviations=(
            "links are nearest neighbours by BM25; corpora have no links of their own here",
            "each distinct word of a document counts once, not by its weight in the input (word_weights: input), and e "
            "is 1",
            "five neighbours, not 20, of which a breadth-first walk over 20 documents would see no others",
            "one sample of z a document (the code's first version)",
            "the decoder of words starts at N(0, 0.1^2) with its bias at the log frequencies, that of documents at 0",
            "batches of 256 documents at learning rate 6e-3 for 24 epochs, not of 100 at 1e-3 for 50",
            "w_KL reaches its end after half of training, not after 5,000 steps",
            "dropout 0.2, not 0.1; H = 500, not 1000",
        ),
        paper=Printed(
            "the authors' code (unsuthee/node2hash) for 20 Newsgroups; of the paper the opening was read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.1,
                "bounded_variance": True,
                "kl_weight": 1.0,
                "neighbours": 20,
                "walk": "breadth",
                "walk_length": 20,
                "edge_weight": 10.0,
                "word_weights": "input",
                "learning_rate": 1e-3,
                "epochs": 50,
                "batch_size": 100,
            },
        ),
    )
    search_space = {
        **VDSH.search_space,
        "neighbours": Choice(3, 5, 10, 20),
        "walk": Choice("breadth", "random", "neighbours"),
        "edge_weight": LogUniform(0.1, 10.0),
    }

    neighbours = 5
    weighting = "sublinear_tfidf"
    epochs = 24
    edge_weight: float = Field(1.0, ge=0, description="Weight e of the documents that are visited.")
    walk: Walk = Field("breadth", description="Kind of walk from a document.")
    walk_length: int = Field(20, ge=1, description="Largest number of documents that a walk visits.")

    def setup(self, train: Split) -> None:
        super().setup(train)
        self.links = train.neighbours(self.inputs.neighbours, self.inputs.graph)
        self.node_decoder = NodeDecoder(len(train), self.bits).to(self.binarizer.thresholds.device)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        z, kl = self.sample(batch, progress)
        visited = walks(*self.links, batch.rows, self.walk_length, self.walk, progress.generator)
        words = self.word_likelihood(self.decoder(z), batch)
        nodes = self.node_decoder.log_likelihood(z, visited, progress.generator)
        weight = linear_ramp(progress.fraction, 0.0, self.kl_weight, over=self.kl_ramp)
        return {
            "reconstruction": -words.mean(),
            "nodes": -self.edge_weight * nodes.mean(),
            "kl": weight * kl.mean(),
        }
