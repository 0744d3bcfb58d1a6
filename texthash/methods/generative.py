"""What methods share that learn, in one stage, codes from which a decoder tells the words of a document."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from texthash.config import Weighting
from texthash.corpora.dataset import CorpusShape, Split
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Stage
from texthash.parts.decoders import WordDecoder


class GenerativeMethod(HashMethod):
    """Base of methods with a decoder over words, trained by Adam in one stage.

    A subclass sets ``decoder`` and gives ``loss`` and ``activations``.

    Args:
        shape: Sizes of the corpus.
        bits: Length of the code.
        weighting: Of the words of the input.
        learning_rate: Of Adam.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
    """

    decoder: WordDecoder

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        weighting: Weighting,
        *,
        learning_rate: float,
        epochs: int,
        batch_size: int,
    ) -> None:
        super().__init__(shape, bits, weighting)
        self.learning_rate, self.epochs, self.batch_size = learning_rate, epochs, batch_size

    def stages(self) -> Sequence[Stage]:
        return (
            ClosedForm("word frequencies", self.start_decoder),
            GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step, self.rate),
        )

    def start_decoder(self, train: Split) -> None:
        """Start the decoder's bias at the log frequencies of the words, from the number of documents with each."""
        self.decoder.start_at(torch.from_numpy(train.vocabulary.document_frequency))

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)}

    def rate(self, progress: Progress) -> float:
        """Factor on the learning rate; constant unless a method says otherwise."""
        return 1.0
