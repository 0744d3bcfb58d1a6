"""Keyword search without an index: BM25 and the cosine of sublinear tf-idf over a sparse matrix of all documents.

A document without a word of the query is not listed. Statistics are those of all documents, as in a search engine; the
words of a query count once for each time that they occur in it.

BM25 (Robertson and Zaragoza, 2009; with the idf of Lucene, which is never negative):

    score(q, d) = sum_{w in q} ln(1 + (N - df_w + 0.5) / (df_w + 0.5)) tf / (tf + k1 (1 - b + b |d| / avgdl))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from texthash.config import Edition
from texthash.corpora.prepared.weighting import BM25_B, BM25_K1
from texthash.corpora.words import Analyzer
from texthash.errors import UsageError
from texthash.evaluation.retrieval.ranked import Ranked

STEMMED = Edition(stemmer="porter")
"""Words of keyword search: in lower case, without English stop words, Porter's stems."""


class Lexical:
    """Counts of the words of N documents, from which the lists of queries are made.

    Args:
        documents: Texts of the documents.
        analyzer: Rule that turns texts into words; None: that of :data:`STEMMED`.
    """

    def __init__(self, documents: Sequence[str], analyzer: Analyzer | None = None) -> None:
        self.analyzer = analyzer or Analyzer.from_edition(STEMMED)
        indptr, words, terms = self.analyzer.intern(list(documents))
        self._terms = {term: number for number, term in enumerate(terms.to_pylist())}
        shape = len(documents), len(self._terms)
        self.counts: csr_matrix = csr_matrix((np.ones(len(words)), words, indptr), shape=shape)
        self.counts.sum_duplicates()
        self.document_frequency: NDArray[np.int64] = np.bincount(self.counts.indices, minlength=shape[1])

    def query_counts(self, queries: Sequence[str]) -> csr_matrix:
        """Return the counts of the known words of queries, [Q, words]."""
        indptr, words, terms = self.analyzer.intern(list(queries))
        numbers = np.array([self._terms.get(term, -1) for term in terms.to_pylist()], np.int64)[words]
        rows = np.repeat(np.arange(len(queries)), np.diff(indptr))[numbers >= 0]
        known = numbers[numbers >= 0]
        return csr_matrix((np.ones(len(known)), (rows, known)), (len(queries), len(self._terms)))

    def bm25(self, queries: Sequence[str], k1: float = BM25_K1, b: float = BM25_B) -> Iterator[Ranked]:
        """Yield the list of each query by BM25.

        Args:
            queries: Texts of the queries.
            k1: Saturation of the frequency of a word in a document, 0 or more.
            b: Weight of the length of a document, 0 to 1.

        Raises:
            UsageError: ``k1`` or ``b`` is out of range.
        """
        if not (k1 >= 0 and 0 <= b <= 1):
            raise UsageError(f"BM25 with k1={k1:g} and b={b:g} is not defined.", "give k1 >= 0 and 0 <= b <= 1.")
        counts, documents = self.counts, self.counts.shape[0]
        idf = np.log1p((documents - self.document_frequency + 0.5) / (self.document_frequency + 0.5))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        relative = lengths / max(lengths.mean(), 1.0) if documents else lengths
        pivot = np.repeat(k1 * (1 - b + b * relative), np.diff(counts.indptr))
        weights = idf[counts.indices] * counts.data / (counts.data + pivot)
        return _lists(self.query_counts(queries), csr_matrix((weights, counts.indices, counts.indptr), counts.shape))

    def cosine(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield the list of each query by the cosine of the weights (1 + ln tf) (ln((1 + N) / (1 + df)) + 1)."""
        idf = np.log((1 + self.counts.shape[0]) / (1 + self.document_frequency)) + 1
        return _lists(_weighted(self.query_counts(queries), idf), _weighted(self.counts, idf))


def _weighted(counts: csr_matrix, idf: NDArray[np.float64]) -> csr_matrix:
    """Return sublinear tf-idf of counts, each row of unit length; an empty one stays empty."""
    out = csr_matrix((1 + np.log(counts.data), counts.indices, counts.indptr), counts.shape)
    out.data *= idf[out.indices]
    norms = np.sqrt(np.asarray(out.multiply(out).sum(axis=1)).ravel())
    out.data /= np.repeat(norms, np.diff(out.indptr))
    return out


def _lists(queries: csr_matrix, documents: csr_matrix) -> Iterator[Ranked]:
    """Yield, for each query, the documents that share a word with it and the sums of the products of their weights."""
    columns: csc_matrix = documents.T.tocsr()
    for query in queries:
        scores = query @ columns
        order = np.argsort(scores.indices, kind="stable")
        yield Ranked(scores.indices[order].astype(np.int64), scores.data[order])
