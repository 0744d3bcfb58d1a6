"""A split of which only some documents have their labels: what semi-supervised methods learn from."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.io.ragged import indptr_of, take_rows


class PartlyLabelled(Split):
    """The documents of a split, each with its labels by a chance of ``share``, and else without any.

    Which of them have labels depends on the seed and the row alone, so all workers and all epochs agree. Relevance is
    judged by the corpus itself, whose labels are all there.

    Args:
        name: Of the split.
        corpus: Of the split.
        share: Chance of a document to keep its labels, 0 to 1.
        seed: Of the draw.
    """

    def __init__(self, name: str, corpus: PreparedCorpus, share: float, seed: int) -> None:
        super().__init__(name, corpus)
        self._share, self._seed = share, seed

    @cached_property
    def label_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and label numbers, sorted within a document; none of a document that is not labelled."""
        indptr, indices = super().label_ids
        kept = np.random.default_rng(self._seed).random(len(self)) < self._share
        _, entries = take_rows(indptr, np.flatnonzero(kept))
        return indptr_of(np.where(kept, np.diff(indptr), 0)), np.asarray(indices)[entries]

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_share": self._share, "_seed": self._seed}
