"""Hard negatives: for each training question, the documents with the best BM25 score that do not answer it.

The score is Robertson's BM25 with Lucene's idf, as in :mod:`~.weighting`; repeated words of a question count each time.
The search is exact: every training document is scored (:mod:`~.neighbours.kernel`), block by block on threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.csr_cache import make_once
from texthash.corpora.prepared.neighbours.cosine import CosineSearch
from texthash.corpora.prepared.neighbours.search import Neighbours, blocks_of
from texthash.corpora.prepared.pairs import Queries
from texthash.errors import CorpusError, UsageError
from texthash.io.atomic import exclusive
from texthash.progress import track

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Bm25Search:
    """Search for the best training documents of each question by BM25; a :class:`~.neighbours.search.Search`.

    Attributes:
        search: Search by inner product; its first rows are empty placeholders, one per document, so that no question
            has the number of a document.
        first: Row of the first question.
    """

    search: CosineSearch
    first: int

    @classmethod
    def of(cls, queries: Queries) -> Bm25Search:
        documents = queries.answers
        indptr, words, counts = queries.counts
        padded = np.concatenate([np.zeros(len(documents), np.int64), indptr])
        bags = padded, np.asarray(words), np.asarray(counts, np.float32)
        return cls(CosineSearch(*bags, CosineSearch.tiles_of(documents.matrix("bm25"))), len(documents))

    @property
    def documents(self) -> int:
        return self.search.documents - self.first

    def nearest(self, start: int, stop: int, k: int) -> Neighbours:
        return self.search.nearest(self.first + start, self.first + stop, k)


def hard_negatives(train: Split, k: int) -> Rows:
    """Return hard negatives of each training question: training documents that resemble answers but are not.

    Those given by the corpus come first, then the best by exact BM25. Computed once, then memory-mapped from the cache.

    Returns:
        Train rows int32 [questions, k], best first, -1 where no further document has a word of the question.

    Raises:
        CorpusError: The split is not train, or the corpus is not a pair corpus.
        UsageError: k is below 1.
    """
    if train.name != "train":
        raise CorpusError(f"the {train.name} split has no hard negatives.", "they are for training: use train.")
    queries = Queries(train)
    if k < 1:
        raise UsageError(f"k={k} negatives.", "choose 1 or more.")
    directory = queries.cache / f"negatives-{k}"
    if not directory.is_dir():
        # All workers of a training ask at once: one finds them, the others wait for it.
        with exclusive(queries.cache / f".negatives-{k}.lock"):
            make_once(directory, partial(_fill, queries, k))
    return np.load(directory / "rows.npy", mmap_mode="r")


def _fill(queries: Queries, k: int, directory: Path) -> None:
    positives_indptr, positives = _positives(queries)
    most = int(np.diff(positives_indptr).max(initial=0))
    wanted = min(k + most, len(queries.answers))
    rows = np.lib.format.open_memmap(directory / "rows.npy", "w+", np.int32, (len(queries), k))
    given_indptr, given = queries.given_negatives
    documents = queries.documents_of_rows
    for start, found, scores in track(blocks_of(Bm25Search.of(queries), wanted), "hard negatives"):
        some = np.arange(start, start + len(found))
        own = _table(positives_indptr, positives, some, most)
        named = _without(_table(given_indptr, given, documents[some], k), own)
        mined = _without(_without(np.where(scores > 0, found, -1).astype(np.int32), own), named)
        rows[some] = _first(np.concatenate([named, mined, np.full((len(some), k), -1, np.int32)], axis=1), k)
    rows.flush()


def _positives(queries: Queries) -> tuple[NDArray[np.int64], Rows]:
    """Return the training documents that answer each question, over all rows of the same question; CSR."""
    _, numbers = np.unique(queries.digests, return_inverse=True)
    documents = queries.documents_of_rows
    order = np.argsort(numbers, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(numbers))])
    sizes = np.diff(starts)[numbers]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.arange(indptr[-1]) + np.repeat(starts[numbers] - indptr[:-1], sizes)
    return indptr, documents[order[entries]].astype(np.int32)


def _table(indptr: NDArray[np.int64], values: Rows, rows: NDArray[np.int64], width: int) -> Rows:
    """Return the first ``width`` values of chosen rows, [rows, width], -1 where there are fewer."""
    column = np.arange(width)
    starts = np.asarray(indptr[rows])[:, None]
    exists = starts + column < np.asarray(indptr[rows + 1])[:, None]
    if not exists.any():
        return np.full(exists.shape, -1, np.int32)
    return np.where(exists, values[np.where(exists, starts + column, 0)], -1).astype(np.int32)


def _without(rows: Rows, others: Rows) -> Rows:
    """Replace values that also occur in the same row of ``others`` by -1."""
    found = np.zeros(rows.shape, np.bool_)
    for column in others.T:
        found |= rows == column[:, None]
    return np.where(found, -1, rows).astype(np.int32)


def _first(rows: Rows, k: int) -> Rows:
    """Return the first k values of each row that are not -1, in order."""
    return np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable")[:, :k], axis=1)


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
