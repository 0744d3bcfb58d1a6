"""Splits with labels on some documents only, for semi-supervised methods."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.io.ragged import indptr_of, take_rows


class PartlyLabelled(Split):
    """Documents of a split, of which each keeps its labels with the probability ``share`` and else has none.

    The choice depends on the seed and the row alone, so all workers and all epochs agree. Relevance is judged by the
    full labels of the corpus.

    Args:
        whole: Split of the documents.
        share: Probability that a document keeps its labels, 0 to 1.
        seed: Seed of the choice.
    """

    def __init__(self, whole: Split, share: float, seed: int) -> None:
        super().__init__(whole.name, whole._corpus)
        self._share, self._seed = share, seed

    @cached_property
    def label_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and label numbers, sorted within a document; empty for an unlabelled document."""
        indptr, indices = super().label_ids
        kept = np.random.default_rng(self._seed).random(len(self)) < self._share
        _, entries = take_rows(indptr, np.flatnonzero(kept))
        return indptr_of(np.where(kept, np.diff(indptr), 0)), np.asarray(indices)[entries]

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_share": self._share, "_seed": self._seed}


def partly_labelled(split: Split, share: float, seed: int) -> Split:
    """Return a split whose documents keep their labels with a probability; the split itself if all keep them."""
    return split if share == 1 else PartlyLabelled(split, share, seed)
