"""Base of the methods that learn from pairs of a question and a document, and know all answers of a question."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.pairs import Queries
from texthash.methods.base import HashMethod
from texthash.nn.workers import Workers


class PairedMethod(HashMethod):
    """Base class of methods whose loss leaves out a document that answers a question but is not its pair."""

    training_only = frozenset({"answers", "question_numbers"})
    answers: Tensor
    question_numbers: Tensor

    def setup(self, train: Split) -> None:
        """Number the questions, and store which training documents answer each, as sorted keys.

        A key is the number of the question times the number of documents, plus the row of the document.
        """
        questions = Queries(train)
        _, numbers = np.unique(questions.digests, return_inverse=True)
        keys = np.unique(numbers.astype(np.int64) * self.shape.documents + questions.documents_of_rows)
        device = self.binarizer.thresholds.device
        self.register_buffer("question_numbers", torch.from_numpy(numbers.astype(np.int64)).to(device))
        self.register_buffer("answers", torch.from_numpy(keys).to(device))

    def sides(self, batch: Batch) -> tuple[Batch, Batch, Batch]:
        """Return the questions, their answers and their hard negatives."""
        query, positive, negative = batch.query, batch.positive, batch.negative
        assert query is not None, "card.inputs_needed has to include the pairs"
        assert positive is not None
        assert negative is not None
        return query, positive, negative

    def answering(self, batch: Batch, workers: Workers) -> Tensor:
        """Return which documents answer which question, bool [B, 2 B], over the batches of all workers.

        The documents are the answers, followed by the hard negatives.
        """
        query, positive, negative = self.sides(batch)
        rows = torch.cat([workers.gather(side.rows) for side in (positive, negative)])
        keys = workers.gather(self.question_numbers[query.rows])[:, None] * self.shape.documents + rows
        place = torch.searchsorted(self.answers, keys).clamp(max=len(self.answers) - 1)
        return self.answers[place] == keys
