"""Words of short texts extended by what goes with them: concepts, and words that co-occur.

    s_j(T) = sum_{t in T} P(j | t)

for a table P of each word's few best j, kept as buffers of indices and weights. A word without entries adds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from texthash.nn.bags import Bag

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Table = tuple[NDArray[np.int64], NDArray[np.float32]]
_SMOOTHING = 0.1  # temperature of cosines, by which a word belongs to some of the nearest centres


class Enrichment(nn.Module):
    """s(T) of each text, dense.

    Args:
        words: Size V of the vocabulary.
        each: Number of entries of a word.
        outputs: Number J of what words are extended by.
    """

    index: Tensor
    weight: Tensor

    def __init__(self, words: int, each: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("index", torch.zeros(words, each, dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(words, each))

    def set(self, table: Table) -> None:
        """Set the table: indices int64 [V, each] and weights P float32 [V, each]."""
        self.index.copy_(torch.from_numpy(table[0]))
        self.weight.copy_(torch.from_numpy(table[1]))

    def forward(self, bag: Bag) -> Tensor:
        """Map B bags of words, each word once, to s [B, J]."""
        count = len(bag.offsets)
        places = bag.document[:, None] * self.outputs + self.index[bag.indices]
        sums = self.weight.new_zeros(count * self.outputs)
        sums.index_add_(0, places.flatten(), self.weight[bag.indices].flatten())
        return sums.view(count, self.outputs)


def cooccurrence_table(counts: csr_matrix, information: csr_matrix, each: int) -> Table:
    """Return for each word the words of the highest PPMI with it, and P(w | t) = n_wt / sum of n over these.

    Args:
        counts: n [V, V].
        information: PPMI [V, V].
        each: Number of words of each, where there are so many.
    """
    words = counts.shape[0]
    index, weight = np.zeros((words, each), np.int64), np.zeros((words, each), np.float32)
    for word in range(words):
        start, stop = information.indptr[word], information.indptr[word + 1]
        best = np.argsort(-information.data[start:stop], kind="stable")[:each]
        others = information.indices[start:stop][best]
        if len(others):
            found = np.asarray(counts[word, others].todense()).ravel()
            index[word, : len(others)], weight[word, : len(others)] = others, found / found.sum()
    return index, weight


def concept_table(vectors: NDArray[np.float32], concepts: int, each: int) -> Table:
    """Return the concepts of each word and P(c | t), a softmax of its cosines with the nearest centres of k-means.

    Args:
        vectors: Vectors of words, [V, d], whose directions are clustered; a word whose vector is 0 has no concept.
        concepts: Number of centres, more than V counting as V.
        each: Number of concepts of a word, at most ``concepts``.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import

    lengths = np.linalg.norm(vectors, axis=1)
    known = np.flatnonzero(lengths > 0)
    index, weight = np.zeros((len(vectors), each), np.int64), np.zeros((len(vectors), each), np.float32)
    if not len(known):
        return index, weight
    unit = vectors[known] / lengths[known, None]
    centres = MiniBatchKMeans(min(concepts, len(known)), n_init=3, random_state=0).fit(unit).cluster_centers_
    cosines = unit @ (centres / np.linalg.norm(centres, axis=1, keepdims=True).clip(min=1e-12)).T
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :each]
    scores = np.exp((np.take_along_axis(cosines, near, axis=1) - 1) / _SMOOTHING)
    index[known, : near.shape[1]] = near
    weight[known, : near.shape[1]] = scores / scores.sum(axis=1, keepdims=True)
    return index, weight
