"""What methods share that learn, in one stage, codes from which a decoder tells the words of a document."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.batches import Batch
from texthash.corpora.dataset import CorpusShape, Split
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Stage
from texthash.parts.decoders import WordDecoder
from texthash.parts.reconstruction import word_log_likelihood
from texthash.parts.schedules import linear_ramp


class GenerativeMethod(HashMethod):
    """Base of methods with a decoder over words, trained by Adam in one stage.

    A subclass sets ``decoder`` and gives ``loss`` and ``activations``. The loss of most is a negative bound on the
    likelihood of the words, - E log p(x | z) + w_KL KL(q(z | x) || p(z)): :meth:`bound`.

    Args:
        shape: Sizes of the corpus.
        bits: Length of the code.
        weighting: Of the words of the input.
        learning_rate: Of Adam.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
        kl_weight: Final weight w_KL.
        kl_ramp: Share of training over which w_KL rises from 0.
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
        kl_weight: float = 1.0,
        kl_ramp: float = 0.0,
    ) -> None:
        super().__init__(shape, bits, weighting)
        self.learning_rate, self.epochs, self.batch_size = learning_rate, epochs, batch_size
        self.kl_weight, self.kl_ramp = kl_weight, kl_ramp

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

    def bound(self, z: Tensor, kl: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The terms of the bound; each distinct word of a document counts once.

        Args:
            z: What the decoder sees of each document, [B, m].
            kl: KL(q(z | x) || p(z)) of each document, [B].
            batch: The documents.
            progress: Says how far w_KL has risen.
        """
        weight = linear_ramp(progress.fraction, 0.0, self.kl_weight, over=self.kl_ramp)
        return {"reconstruction": -word_log_likelihood(self.decoder(z), batch).mean(), "kl": weight * kl.mean()}
