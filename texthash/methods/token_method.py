"""Base of the methods that convolve the word pieces of a text, as a sentence encoder gives them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.token_vectors import projection_of, token_width
from texthash.corpora.prepared.inputs import Inputs
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Stage
from texthash.nn.spaces import Choice, LogUniform
from texthash.nn.tokens import TokenConvolution, TokenProjection


class TokenMethod(HashMethod):
    """Base class: frozen vectors of word pieces, convolutions with windows of 1, 3 and 5, Adam in one stage.

    Attributes:
        projection: Reduces the vectors of raw texts as those of the corpus are.
        convolution: Features of each piece.
    """

    search_space = {"learning_rate": LogUniform(1e-4, 3e-3), "batch_size": Choice(16, 32, 64, 128)}

    filters: int = Field(256, ge=1, description="Number of filters of each of the three windows.")
    max_length: int = Field(256, ge=1, description="Number of word pieces after which a text is truncated.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    clip: float = Field(10.0, gt=0, description="Norm to which gradients are clipped.")
    epochs: int = Field(100, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(64, ge=2, description="Documents in a batch; the others of it are the negatives.")

    def make_layers(self) -> None:
        width = self.shape.dense
        self.projection = TokenProjection(width, token_width(width))
        self.convolution = TokenConvolution(token_width(width), self.filters, (1, 3, 5))
        self.inputs = Inputs(
            self.weighting, self.card.inputs_needed, max_length=self.max_length, encoder=self.shape.encoder
        )

    @property
    def reads_words(self) -> bool:
        return False

    @property
    def encoding_inputs(self) -> Inputs:
        return self.inputs.only(frozenset({"token_vectors"}))

    def stages(self) -> Sequence[Stage]:
        return (
            ClosedForm("word pieces", self.set_projection),
            GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step),
        )

    def set_projection(self, train: Split) -> None:
        """Set the components to which the vectors of the corpus are reduced."""
        fit_projection(self.projection, train, self.shape.encoder or "")

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate)}

    def pieces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return features of the word pieces [B, T, H] and their mask [B, T]."""
        assert batch.token_vectors is not None
        assert batch.token_mask is not None
        return self.convolution(self.projection(batch.token_vectors), batch.token_mask), batch.token_mask


def fit_projection(projection: TokenProjection, train: Split, encoder: str) -> None:
    """Set a projection to the components to which a corpus reduces the vectors of word pieces by an encoder."""
    mean, weight = projection_of(train, encoder)
    projection.mean.copy_(torch.from_numpy(mean))
    projection.weight.copy_(torch.from_numpy(weight))
