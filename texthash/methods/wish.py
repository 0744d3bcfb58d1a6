"""WISH: unsupervised semantic hashing of few bits, which switch on implicit topics.

encoder    mu = sigma(g(x)), g: V -> H -> H -> m with ReLU and dropout
code       z_j = 1[mu_j > u_j], u ~ U(0, 1) in training, u = 1/2 for the bits;  straight-through gradient
topics     t = z T (or the mean of the topics that are on), T in R^{m x d}, as many topics as bits
decoder    p(w | z) = softmax(t W + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(Bern(mu) || Bern(1/2))  +  alpha ||T T^T - I||_F^2

NASH is the case d = m, T = I, alpha = 0.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress
from texthash.methods.generative import LABELS_OF_TOOLBOX, Supervised
from texthash.methods.nash import NASH
from texthash.nn.decoders import TopicDecoder
from texthash.nn.few_bit import orthogonality
from texthash.nn.spaces import Choice, LogUniform


class WISH(NASH):
    """Few-bit hashing with implicit topics."""

    decoder: TopicDecoder
    card = Card(
        name="wish",
        title="Unsupervised Few-Bits Semantic Hashing with Implicit Topics Modeling",
        venue="EMNLP'2020",
        survey_entry=20,
        tags=("Rec", "Prior(B)", "CB", "FE", "Quan(Sgn)"),
        citation="Ye, Manotumruksa & Yilmaz, Findings of EMNLP 2020",
        fidelity="code, loss re-weighted",
        deviations=(
            "each distinct word of a document counts once in the reconstruction, not by its tf-idf weight "
            "(word_weights: input)",
            "w_KL is 1 from the first step; the code adds 5e-6 a batch and gets to 0.04 in 50 epochs",
            "T starts orthonormal, not at U(0, 1), from which all codes collapsed into one within an epoch",
            "the decoder's bias starts at the log frequencies of the words, W Xavier-uniform",
            "the straight-through gradient of a bit is 1, where the code, by way of signs, has 1/2",
            "batches of 64 documents at learning rate 3e-3 for 40 epochs, not of 100 at 1e-3 for up to 1,000",
            "no dropout when documents are encoded; the code leaves it on",
        ),
        paper=Printed(
            "the authors' code (smartyfh/WISH); epochs are the most that it takes",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.2,
                "topic_width": 100,
                "average": False,
                "orthogonality": 1.0,
                "stochastic": True,
                "learning_rate": 1e-3,
                "epochs": 1000,
                "batch_size": 100,
                "weighting": "tfidf",
                "word_weights": "input",
            },
        ),
    )
    search_space = {
        **NASH.search_space,
        "topic_width": Choice(50, 100, 200),
        "orthogonality": LogUniform(1e-3, 10.0),
        "average": Choice(False, True),
    }

    hidden = 1000
    topic_width: int = Field(
        100, ge=1, description="Dimension d of a topic; topics can be orthonormal only where d >= m."
    )
    average: bool = Field(False, description="Decode from the mean of the active topics rather than from their sum.")
    orthogonality: float = Field(1.0, ge=0, description="Weight alpha of the orthogonality of topics.")

    def make_layers(self) -> None:
        super().make_layers()
        self.decoder = TopicDecoder(self.bits, self.shape.vocabulary, self.topic_width, self.average)

    def bound(self, z: Tensor, kl: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        terms = super().bound(z, kl, batch, progress)
        return {**terms, "orthogonality": self.orthogonality * orthogonality(self.decoder.topics)}


class SupervisedWISH(Supervised, WISH):
    """WISH whose code also predicts labels."""

    card = WISH.card.supervised("wish_s", "WISH-S", LABELS_OF_TOOLBOX)
    search_space = {**WISH.search_space, "label_weight": LogUniform(10.0, 300.0)}
