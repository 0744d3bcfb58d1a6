"""Halves of documents: two paired splits made from the words of one, for metrics without labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.io.ragged import indptr_of, take_rows

MOST = 1_000
"""Maximum number of documents that are halved; they are drawn at random where there are more."""
_SEED = 0  # fixed, so that metrics of one corpus are comparable between runs
_SIDES = ("first-halves", "second-halves")


class Half(Split):
    """One half of the words of selected documents of a split, in reading order.

    Args:
        whole: Split that contains the documents.
        side: Name of the half.
        rows: Rows of the documents in ``whole``, int64 [N].
        words: Word numbers of each half, in the order of the text.
    """

    def __init__(self, whole: Split, side: str, rows: NDArray[np.int64], words: list[NDArray[np.int32]]) -> None:
        super().__init__(whole.name, whole._corpus)
        self.whole, self.rows = whole, rows
        self.name = f"{whole.name}-{side}"
        lengths = [len(numbers) for numbers in words]
        self._words = indptr_of(lengths), np.concatenate([*words, np.empty(0, np.int32)])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def tokens(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and word numbers in the order of the text."""
        return self._words

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """``indptr`` [N + 1], sorted word numbers and their counts [words]."""
        indptr, words = self._words
        bags = [np.unique(words[start:end], return_counts=True) for start, end in pairwise(indptr)]
        numbers, counts = (np.concatenate([*(bag[i] for bag in bags), []]).astype(np.int32) for i in (0, 1))
        return indptr_of([len(bag[0]) for bag in bags]), numbers, counts

    @property
    def label_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and label numbers of the whole documents."""
        indptr, indices = self.whole.label_ids
        part, entries = take_rows(indptr, self.rows)
        return part, indices[entries]

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the whole documents."""
        ids = self.whole.ids
        return [ids[row] for row in self.rows]

    @cached_property
    def texts(self) -> list[str]:
        """Words of each half, joined to a text."""
        (indptr, words), terms = self._words, self.vocabulary.terms
        return [" ".join(terms[w] for w in words[a:b]) for a, b in pairwise(indptr)]

    def dense(self, encoder: str) -> NDArray[np.float32]:
        """Return vectors of the halves by an encoder of texts, float32 [N, width]; this object caches them."""
        from texthash.corpora.prepared.embeddings.sources import open_embedder

        if encoder not in self._vectors:
            self._vectors[encoder] = open_embedder(encoder).encode(self.texts)
        return self._vectors[encoder]

    def documents(self, batch: int = 1024) -> Iterator[pa.Table]:
        """Yield tables of ``id``, ``text`` (the half), ``title`` (empty) and ``labels`` (none), in order."""
        for start in range(0, len(self), batch):
            texts = self.texts[start : start + batch]
            yield pa.table(
                {
                    "id": self.ids[start : start + batch],
                    "text": texts,
                    "title": [""] * len(texts),
                    "labels": pa.array([[] for _ in texts], pa.list_(pa.string())),
                }
            )

    @cached_property
    def _vectors(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "whole": self.whole, "rows": self.rows, "_words": self._words}


def can_be_halved(split: Split) -> bool:
    """Return whether a document of the split has two words or more."""
    return bool((np.diff(split.tokens[0]) > 1).any())


def halves(split: Split, most: int = MOST) -> tuple[Half, Half]:
    """Divide the words of up to ``most`` documents of a split into two halves with the same rows.

    Each occurrence of a word is assigned to a half at random. Documents of fewer than two words are left out.
    """
    indptr, tokens = split.tokens
    generator = np.random.default_rng(_SEED)
    rows = np.sort(generator.permutation(np.flatnonzero(np.diff(indptr) > 1))[:most])
    sides: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
    for row in rows:
        words = np.asarray(tokens[indptr[row] : indptr[row + 1]])
        first = generator.permutation(len(words)) < len(words) // 2
        sides[0].append(words[first])
        sides[1].append(words[~first])
    one, other = (Half(split, side, rows, words) for side, words in zip(_SIDES, sides, strict=True))
    return one, other
