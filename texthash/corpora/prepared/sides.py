"""Choice of a question and of a hard negative of each training document, epoch by epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.negatives import hard_negatives
from texthash.corpora.prepared.pairs import Queries


class Sides:
    """Choice of a question of each training document, and of a hard negative of it, for one epoch.

    Args:
        train: Training split of a pair corpus.
        negatives: Number of hard negatives of each question, of which one is drawn.
        seed: Seed of the epoch; None takes the first question and negative.
    """

    def __init__(self, train: Split, negatives: int, seed: int | None) -> None:
        self._indptr = Queries(train).indptr
        self._negatives = hard_negatives(train, negatives)
        self._documents = len(train)
        # This seed differs from that of the order, whose generator would draw the same numbers.
        generator = None if seed is None else np.random.default_rng([seed, 1])
        self._chance = generator.random((2, len(train))) if generator else np.zeros((2, len(train)))

    def of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows of questions and of negatives for documents that answer a question.

        A question without a hard negative gets any other document.
        """
        of_question, of_negative = self._chance[:, rows]
        starts = np.asarray(self._indptr[rows])
        questions = starts + (of_question * (self._indptr[rows + 1] - starts)).astype(np.int64)
        near = np.asarray(self._negatives[questions])
        count = (near >= 0).sum(axis=1)  # existing negatives come first
        hard = near[np.arange(len(rows)), (of_negative * count).astype(np.int64)]
        other = (rows + 1 + (of_negative * (self._documents - 1)).astype(np.int64)) % self._documents
        return questions, np.where(count > 0, hard, other)
