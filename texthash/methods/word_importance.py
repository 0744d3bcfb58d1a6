"""Base class of RBSH, PairRec and MISH: binary codes, noise that falls step by step, and importance of words.

encoder    p = sigma(g(x * i)), g: V -> H -> H -> m with ReLU and dropout, i in R^V the importance of words
code       z_j = 1[p_j > u_j], u ~ U(0, 1);  straight-through gradient dz/dp := 1;  z~ = z + sigma eps, eps ~ N(0, I)
decoder    p(w | z~) = softmax(z~ (i * G)^T + b)_w, with the same i
bits       1[p > 1/2]
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Progress, Role
from texthash.methods.generative import VariationalMethod
from texthash.methods.neighbouring import NeighbourMethod
from texthash.nn.bags import Bag
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.importance import ImportanceDecoder
from texthash.nn.schedules import by_steps
from texthash.nn.spaces import LogUniform, Uniform


class WordImportanceMethod(NeighbourMethod, VariationalMethod):
    """Base class of methods with learned importance of words, noisy binary codes and neighbours.

    Attributes:
        decoder: Decoder from codes to words, which holds the importance of words.
        word_vectors: Width of the decoder's word vectors; None for a vector of m numbers a word.
        weighs_input: Whether the importance also scales the encoder's input.
    """

    decoder: ImportanceDecoder
    word_vectors: int | None = None
    weighs_input = True

    search_space = {
        **VariationalMethod.search_space,
        "learning_rate": LogUniform(1e-3, 1e-2),
        "noise": Uniform(0.0, 1.0),
    }

    # The settings of NASH: no noise, and all words of the same importance at the start.
    weighting = "sublinear_tfidf"
    learning_rate = 5e-3
    epochs = 24
    batch_size = 128
    dropout = 0.5
    kl_weight = 0.3
    lowest_importance: float = Field(
        1.0, ge=0, le=1, description="Lower bound l of the initial importance of words, uniform in [l, 1]."
    )
    noise: float = Field(0.0, ge=0, description="Standard deviation sigma of the decoder's noise at the first step.")
    noise_fall: float = Field(1e-6, ge=0, description="Amount by which sigma falls at every step, down to 0.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, self.bits)
        self.decoder = ImportanceDecoder(
            self.bits, self.shape.vocabulary, self.word_vectors, lowest=self.lowest_importance
        )

    def encode(self, bag: Bag) -> Tensor:
        """Return the logits of p of each document, [B, m]."""
        hidden: Tensor = self.encoder(self.decoder.weigh(bag) if self.weighs_input else bag)
        return self.logits(hidden)

    def draw_codes(self, logits: Tensor, progress: Progress) -> Tensor:
        """Return codes z [B, m] in {0, 1}."""
        return straight_through_bernoulli(torch.sigmoid(logits), progress.generator)

    def add_noise(self, codes: Tensor, progress: Progress) -> Tensor:
        """Return z~ = z + sigma eps [B, m]."""
        std = by_steps(progress.step, self.noise, 0.0, self.noise_fall)
        noise = torch.randn(codes.shape, generator=progress.generator, device=codes.device, dtype=codes.dtype)
        return codes + std * noise

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The threshold of the logit is zero, which is p = 1/2.
        return self.encode(batch)
